// LineEditor: reads lines from a terminal with editing and history (libedit, behind this one file).
// Main thread.

#ifndef KVASIR_CLI_LINE_EDITOR_H_
#define KVASIR_CLI_LINE_EDITOR_H_

#include <memory>
#include <string>

#include "kvasir/cli/interrupt.h"

namespace kvasir {

class LineEditor {
 public:
  enum class Outcome { kLine, kInterrupted, kEnd };

  // `history_path`: where lines are remembered between runs, empty for nowhere. A file that cannot
  // be read or written is no error. `interrupt` must outlive the editor.
  LineEditor(const std::string& history_path, InterruptScope& interrupt);
  ~LineEditor();
  LineEditor(const LineEditor&) = delete;
  LineEditor& operator=(const LineEditor&) = delete;

  // Shows `prompt` and reads one line into *line (UTF-8, without its newline), which joins the
  // history. kInterrupted after Ctrl-C, kEnd after Ctrl-D on an empty line or when the terminal is
  // gone.
  Outcome ReadLine(const std::string& prompt, std::string* line);

 private:
  struct Rep;
  std::unique_ptr<Rep> rep_;
};

}  // namespace kvasir

#endif  // KVASIR_CLI_LINE_EDITOR_H_
