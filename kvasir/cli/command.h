// Command: one subcommand of the program `kvasir`. Each Add...Command registers its name, flags and
// help text with the parent and returns what to run once the command line has been read. The
// returned function owns the options that the flags wrote. A Status becomes an exit code in
// command_line.cc.

#ifndef KVASIR_CLI_COMMAND_H_
#define KVASIR_CLI_COMMAND_H_

#include <functional>

#include "kvasir/base/status.h"

namespace CLI {
class App;
}

namespace kvasir {

using CommandFunction = std::function<Status()>;

CommandFunction AddChatCommand(CLI::App& parent);
CommandFunction AddGenerateCommand(CLI::App& parent);
CommandFunction AddServeCommand(CLI::App& parent);
CommandFunction AddInfoCommand(CLI::App& parent);
// Runs by itself and has `bench serve` below it.
CommandFunction AddBenchCommand(CLI::App& parent);
CommandFunction AddBenchServeCommand(CLI::App& bench, bool* chosen);
CommandFunction AddPerplexityCommand(CLI::App& parent);
CommandFunction AddEvalCommand(CLI::App& parent);
CommandFunction AddEvalSelectCommand(CLI::App& parent);
CommandFunction AddKvCalibrateCommand(CLI::App& parent);
CommandFunction AddReplayCommand(CLI::App& parent);
CommandFunction AddQuantizeCommand(CLI::App& parent);
CommandFunction AddTokenizeCommand(CLI::App& parent);
// Groups: their own commands are below them.
CommandFunction AddCacheCommand(CLI::App& parent);
CommandFunction AddAttentionCommand(CLI::App& parent);

}  // namespace kvasir

#endif  // KVASIR_CLI_COMMAND_H_
