// Interrupt: Ctrl-C as something that a program looks at instead of dying of it. While an
// InterruptScope lives, SIGINT only sets a flag and makes a file descriptor readable; before and
// after, it ends the process as usual. One scope at a time; the flag may be read on any thread.

#ifndef KVASIR_CLI_INTERRUPT_H_
#define KVASIR_CLI_INTERRUPT_H_

#include <csignal>

namespace kvasir {

class InterruptScope {
 public:
  InterruptScope();
  ~InterruptScope();
  InterruptScope(const InterruptScope&) = delete;
  InterruptScope& operator=(const InterruptScope&) = delete;

  // Whether Ctrl-C was pressed since the scope began or Clear was called.
  bool pressed() const;
  void Clear();
  // Readable while pressed(): for poll(). -1 when the system has no descriptor left.
  int fd() const;

 private:
  struct sigaction previous_;
};

}  // namespace kvasir

#endif  // KVASIR_CLI_INTERRUPT_H_
