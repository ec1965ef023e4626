// StopSignals: SIGTERM and SIGINT as something that a server looks at. While an object lives, each
// of them only raises a count and makes a descriptor readable; before and after, they end the
// process as usual. One object at a time, main thread.

#ifndef KVASIR_CLI_STOP_SIGNALS_H_
#define KVASIR_CLI_STOP_SIGNALS_H_

#include <csignal>
#include <cstddef>

namespace kvasir {

class StopSignals {
 public:
  StopSignals();
  ~StopSignals();
  StopSignals(const StopSignals&) = delete;
  StopSignals& operator=(const StopSignals&) = delete;

  // Signals so far.
  size_t count() const;
  // Waits until count() is above `seen`, or `timeout_ms` (-1: for ever) have passed.
  void Wait(size_t seen, int timeout_ms);

 private:
  struct sigaction previous_term_;
  struct sigaction previous_int_;
};

}  // namespace kvasir

#endif  // KVASIR_CLI_STOP_SIGNALS_H_
