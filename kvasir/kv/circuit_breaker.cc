#include "kvasir/kv/circuit_breaker.h"

#include <algorithm>
#include <utility>

namespace kvasir {

CircuitBreaker::Answer CircuitBreaker::Ask(Time now) {
  if (!open_) return Answer::kPass;
  if (trying_ || now < next_try_) return Answer::kRefuse;
  trying_ = true;
  return Answer::kTry;
}

void CircuitBreaker::Succeeded() {
  failure_count_ = 0;
  open_ = trying_ = false;
  pause_ = kPauseMin;
}

void CircuitBreaker::Failed(Time now) {
  const bool was_try = std::exchange(trying_, false);
  if (open_ && !was_try) return;  // it began before the breaker opened
  if (!open_ && ++failure_count_ < kFailureCountMax) return;
  opened_count_ += !open_;
  if (open_) pause_ = std::min(2 * pause_, kPauseMax);
  open_ = true;
  next_try_ = now + pause_;
}

}  // namespace kvasir
