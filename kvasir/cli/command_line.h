// CommandLine: reads the arguments of the program, runs the command, and turns its Status into a
// sentence on stderr and an exit code. Called once, from main, on the main thread.

#ifndef KVASIR_CLI_COMMAND_LINE_H_
#define KVASIR_CLI_COMMAND_LINE_H_

#include <string>
#include <vector>

#include "kvasir/base/status.h"
#include "kvasir/cli/command.h"
#include "kvasir/cli/version.h"

namespace kvasir {

// What a process ends with.
inline constexpr int kExitOk = 0;
inline constexpr int kExitFailure = 1;        // the machine failed: reading, writing
inline constexpr int kExitBadInput = 2;       // flags, files, prompts, or a plan beyond the memory
inline constexpr int kExitInterrupted = 130;  // Ctrl-C, as shells have it

int ExitCodeFor(const Status& status);

struct ParsedCommandLine {
  std::string text;     // --help or --version: print this and end
  CommandFunction run;  // otherwise
};

// kInvalidArgument says what is wrong with `arguments` (without the program's name) and names the
// nearest known command or flag.
Result<ParsedCommandLine> ParseCommandLine(std::vector<std::string> arguments);

// Returns the exit code.
int RunCommandLine(int argc, const char* const* argv);

}  // namespace kvasir

#endif  // KVASIR_CLI_COMMAND_LINE_H_
