// ProgressBar: one line on standard error that shows how far a long piece of work is, and vanishes
// when it is done. Draws only on a terminal and only once the work has taken long enough to wonder
// about. One thread.

#ifndef KVASIR_CLI_PROGRESS_H_
#define KVASIR_CLI_PROGRESS_H_

#include <chrono>
#include <string>

namespace kvasir {

class ProgressBar {
 public:
  // Draws nothing when `enabled` is false (standard error is no terminal).
  ProgressBar(std::string label, bool enabled);
  ~ProgressBar() { Finish(); }
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;

  // `share` of the work that is done, 0..1; cheap enough to call often.
  void Update(double share);
  // Erases the line. Further updates draw nothing.
  void Finish();

  // "loading  [==============                ]   47 %"
  static std::string Line(const std::string& label, double share);

 private:
  using Clock = std::chrono::steady_clock;

  std::string label_;
  bool enabled_;
  bool drawn_ = false;
  Clock::time_point next_draw_;
};

}  // namespace kvasir

#endif  // KVASIR_CLI_PROGRESS_H_
