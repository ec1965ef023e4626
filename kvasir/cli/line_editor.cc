#include "kvasir/cli/line_editor.h"

#include <histedit.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <clocale>
#include <cstdio>
#include <cstdlib>
#include <cwchar>
#include <string_view>

namespace kvasir {

namespace {

constexpr int kHistoryLines = 1000;

// Waits for the terminal or Ctrl-C, whichever comes first. True when there is something to read.
bool AwaitInput(const InterruptScope& interrupt) {
  for (;;) {
    if (interrupt.pressed()) return false;
    pollfd waited[2] = {{STDIN_FILENO, POLLIN, 0}, {interrupt.fd(), POLLIN, 0}};
    const int n = poll(waited, 2, -1);
    if (n < 0 && errno != EINTR) return true;  // let read() tell what is wrong
    if (n > 0 && waited[0].revents != 0 && !interrupt.pressed()) return true;
  }
}

}  // namespace

struct LineEditor::Rep {
  EditLine* editor = nullptr;
  History* history = nullptr;
  std::string history_path;
  std::string prompt;
  InterruptScope* interrupt = nullptr;

  static Rep* Of(EditLine* editor) {
    void* rep = nullptr;
    el_get(editor, EL_CLIENTDATA, &rep);
    return static_cast<Rep*>(rep);
  }
  static char* Prompt(EditLine* editor) { return Of(editor)->prompt.data(); }
  static int ReadChar(EditLine* editor, wchar_t* out);
};

// One character for libedit: 1 when read, 0 at the end, -1 after Ctrl-C. libedit's own reader would
// try again after an interrupted read.
int LineEditor::Rep::ReadChar(EditLine* editor, wchar_t* out) {
  std::mbstate_t state = {};
  for (;;) {
    if (!AwaitInput(*Of(editor)->interrupt)) {
      errno = EINTR;
      return -1;
    }
    char byte;
    const ssize_t n = read(STDIN_FILENO, &byte, 1);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return 0;
    const size_t status = std::mbrtowc(out, &byte, 1, &state);
    if (status == static_cast<size_t>(-1)) {
      state = {};  // not UTF-8: skip the byte
    } else if (status != static_cast<size_t>(-2)) {
      return 1;
    }
  }
}

LineEditor::LineEditor(const std::string& history_path, InterruptScope& interrupt)
    : rep_(std::make_unique<Rep>()) {
  // Characters of several bytes need a locale that knows them, and containers often have none.
  std::setlocale(LC_CTYPE, "");
  if (MB_CUR_MAX == 1) std::setlocale(LC_CTYPE, "C.UTF-8");
  rep_->interrupt = &interrupt;
  rep_->history_path = history_path;
  rep_->history = history_init();
  HistEvent event;
  history(rep_->history, &event, H_SETSIZE, kHistoryLines);
  history(rep_->history, &event, H_SETUNIQUE, 1);
  if (!history_path.empty()) history(rep_->history, &event, H_LOAD, history_path.c_str());

  rep_->editor = el_init("kvasir", stdin, stdout, stderr);
  el_set(rep_->editor, EL_CLIENTDATA, rep_.get());
  el_set(rep_->editor, EL_SIGNAL, 0);  // Ctrl-C belongs to InterruptScope
  el_set(rep_->editor, EL_PROMPT, &Rep::Prompt);
  el_set(rep_->editor, EL_EDITOR, "emacs");
  el_set(rep_->editor, EL_HIST, history, rep_->history);
  el_set(rep_->editor, EL_BIND, "^R", "em-inc-search-prev", nullptr);
  el_set(rep_->editor, EL_GETCFN, &Rep::ReadChar);
  el_source(rep_->editor, nullptr);  // ~/.editrc, as every program with libedit
}

LineEditor::~LineEditor() {
  HistEvent event;
  if (!rep_->history_path.empty()) {
    const mode_t mask = umask(0077);  // what people write to a model is theirs
    history(rep_->history, &event, H_SAVE, rep_->history_path.c_str());
    umask(mask);
  }
  el_end(rep_->editor);
  history_end(rep_->history);
}

LineEditor::Outcome LineEditor::ReadLine(const std::string& prompt, std::string* line) {
  line->clear();
  rep_->prompt = prompt;
  int count = 0;
  const char* text = el_gets(rep_->editor, &count);
  if (text == nullptr || count <= 0) {
    if (rep_->interrupt->pressed()) {
      el_reset(rep_->editor);
      return Outcome::kInterrupted;
    }
    return Outcome::kEnd;
  }
  line->assign(text, static_cast<size_t>(count));
  while (!line->empty() && (line->back() == '\n' || line->back() == '\r')) line->pop_back();
  if (!line->empty()) {
    HistEvent event;
    history(rep_->history, &event, H_ENTER, line->c_str());
  }
  return Outcome::kLine;
}

}  // namespace kvasir
