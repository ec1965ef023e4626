// RunProcess: runs another program to its end and returns what it said. No shell comes between:
// arguments reach the program as they are. Any thread; the caller waits.

#ifndef KVASIR_BASE_SUBPROCESS_H_
#define KVASIR_BASE_SUBPROCESS_H_

#include <cstddef>
#include <string>
#include <vector>

#include "kvasir/base/status.h"

namespace kvasir {

struct ProcessResult {
  int exit_code = 0;   // 128 + the signal that ended it, as shells have it
  std::string output;  // standard output and standard error, in the order of writing
};

// What is kept of the output; more is read and dropped.
inline constexpr size_t kProcessOutputBytesMax = size_t{1} << 20;

// Runs arguments[0], looked for in PATH, with an empty standard input. kNotFound when there is no
// such program, kIoError when it cannot be started. REQUIRES an argument.
Result<ProcessResult> RunProcess(const std::vector<std::string>& arguments);

}  // namespace kvasir

#endif  // KVASIR_BASE_SUBPROCESS_H_
