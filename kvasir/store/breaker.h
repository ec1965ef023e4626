// Breaker: keeps a store from trying again and again what has just failed: after a failure it stays
// open for a while that doubles with every further failure, then lets one attempt through. Pure:
// time is given to it. Owned by the store, under its mutex.

#ifndef KVASIR_STORE_BREAKER_H_
#define KVASIR_STORE_BREAKER_H_

#include <algorithm>
#include <chrono>

namespace kvasir {

class Breaker {
 public:
  using Clock = std::chrono::steady_clock;

  // Opens at the `failures_max`-th failure in a row, for `first`, at most for `longest`.
  Breaker(int failures_max, Clock::duration first, Clock::duration longest)
      : failures_max_(failures_max), first_(first), longest_(longest), wait_(first) {}

  // Whether Allows would say yes.
  bool WouldAllow(Clock::time_point now) const { return !is_open() || now >= retry_at_; }
  // Whether an attempt may be made now. While open, one at the end of each wait.
  bool Allows(Clock::time_point now) {
    if (!is_open()) return true;
    if (now < retry_at_) return false;
    retry_at_ = now + wait_;
    return true;
  }
  void Succeeded() {
    failure_count_ = 0;
    wait_ = first_;
  }
  void Failed(Clock::time_point now) {
    if (++failure_count_ < failures_max_) return;
    if (failure_count_ > failures_max_) wait_ = std::min(2 * wait_, longest_);
    retry_at_ = now + wait_;
  }
  bool is_open() const { return failure_count_ >= failures_max_; }

 private:
  const int failures_max_;
  const Clock::duration first_;
  const Clock::duration longest_;
  Clock::duration wait_;
  int failure_count_ = 0;
  Clock::time_point retry_at_;
};

}  // namespace kvasir

#endif  // KVASIR_STORE_BREAKER_H_
