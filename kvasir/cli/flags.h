// Flags: adds options to a command whose bad values are refused in one sentence that names the
// flag, the value and what is allowed. CLI11 does the splitting of the command line (only this
// file's implementation and command_line.cc know it); the reading of values is here, so that every
// number is bounded. Used while the command line is read, on one thread.

#ifndef KVASIR_CLI_FLAGS_H_
#define KVASIR_CLI_FLAGS_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "kvasir/base/status.h"

namespace CLI {
class App;
}

namespace kvasir {

// A subcommand of `parent`, with a sentence for the list of commands and `footer` under its help.
CLI::App& AddCommand(CLI::App& parent, const std::string& name, const std::string& description,
                     const std::string& footer);

// Each writes its target only when the flag is given. The target must outlive the parsing.
// `names` as CLI11 has them: "-n,--count".
void AddCountFlag(CLI::App& app, const std::string& names, size_t* target, size_t min, size_t max,
                  const std::string& description);
// Several counts with commas: 256,512.
void AddCountsFlag(CLI::App& app, const std::string& names, std::vector<size_t>* target, size_t min,
                   size_t max, const std::string& description);
void AddNumberFlag(CLI::App& app, const std::string& names, float* target, float min, float max,
                   const std::string& description);
// A size like 512M or 2GiB (powers of 1024), from `min` bytes.
void AddBytesFlag(CLI::App& app, const std::string& names, size_t* target, size_t min,
                  const std::string& description);
// One of `choices`.
void AddChoiceFlag(CLI::App& app, const std::string& names, std::string* target,
                   std::vector<std::string> choices, const std::string& description);
// A text that `accepts` takes, one of `listed`.
void AddNameFlag(CLI::App& app, const std::string& names, std::string* target,
                 const std::string& listed, std::function<bool(const std::string&)> accepts,
                 const std::string& description);
// Any text, also the empty one.
void AddTextFlag(CLI::App& app, const std::string& names, std::optional<std::string>* target,
                 const std::string& type_name, const std::string& description);
// The same, or `fallback` when the flag stands alone.
void AddOptionalTextFlag(CLI::App& app, const std::string& names,
                         std::optional<std::string>* target, const std::string& type_name,
                         const std::string& fallback, const std::string& description);
// A text without a flag, at its place; the command cannot go without it.
void AddTextArgument(CLI::App& app, const std::string& name, std::optional<std::string>* target,
                     const std::string& description);
// The same where the command can go without it.
void AddOptionalTextArgument(CLI::App& app, const std::string& name,
                             std::optional<std::string>* target, const std::string& description);
// Any texts: the flag may be given several times.
void AddTextsFlag(CLI::App& app, const std::string& names, std::vector<std::string>* target,
                  const std::string& description);
// No value: true when given.
void AddSwitch(CLI::App& app, const std::string& names, bool* target,
               const std::string& description);

// Sets `chosen` when the command line names this command.
void NoteChosen(CLI::App& app, bool* chosen);

// The whole of `text` as a number; nullopt when it is none.
std::optional<uint64_t> ParseUnsigned(std::string_view text);
std::optional<float> ParseFloat(std::string_view text);
// "4096", "512K", "512M", "2GiB", "1.5g": bytes.
std::optional<size_t> ParseBytes(std::string_view text);

// "1.4 GiB", "96.0 MiB": for messages and tables.
std::string FormatBytes(double byte_count);

// The candidate with the smallest edit distance to `word`; empty when none is near enough to be
// meant (more than a third of its letters differ, or more than 3).
std::string NearestWord(std::string_view word, std::span<const std::string> candidates);

}  // namespace kvasir

#endif  // KVASIR_CLI_FLAGS_H_
