// Output: what a command prints on standard output, and what it reads from standard input or a
// file. Answers are written piece by piece without a buffer, so that they stream into pipes. A
// reader that closes its pipe has had enough: that ends a command quietly. Main thread.

#ifndef KVASIR_CLI_OUTPUT_H_
#define KVASIR_CLI_OUTPUT_H_

#include <optional>
#include <string>
#include <string_view>

#include "kvasir/base/status.h"

namespace kvasir {

class Output {
 public:
  // Writes all of `text` to `fd`. False when nothing more can be written; status() then says why.
  explicit Output(int fd = 1) : fd_(fd) {}
  bool Write(std::string_view text);

  // False once a write has failed.
  bool open() const { return open_; }
  // OK while open and after the reader has closed its pipe; kIoError after any other failure.
  const Status& status() const { return status_; }

 private:
  int fd_;
  bool open_ = true;
  Status status_;
};

// Whole standard input or whole file; "-" is standard input. At most kInputBytesMax.
inline constexpr size_t kInputBytesMax = size_t{256} << 20;
Result<std::string> ReadInput(const std::string& path);

// `text` to a file that is made or replaced, "-" is standard output. kIoError names the path.
Status WriteOutput(const std::string& path, std::string_view text);

// Whether WriteOutput may write there, before the work whose result it would lose.
Status CheckOutput(const std::string& path);

bool StdinIsTerminal();
bool StderrIsTerminal();

// What somebody pipes into a command that already has its text: the whole of standard input when it
// is a file or a pipe with something in it, nullopt for a terminal and for a pipe on which nothing
// arrives within a second (one inherited from a program that never writes to it).
Result<std::optional<std::string>> ReadPipedInput();

}  // namespace kvasir

#endif  // KVASIR_CLI_OUTPUT_H_
