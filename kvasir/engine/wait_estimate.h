// WaitEstimate: how long a request that comes now will wait until it is let in, from how fast the
// engine has ended requests lately. A guess for Retry-After, not a promise. One thread at a time.

#ifndef KVASIR_ENGINE_WAIT_ESTIMATE_H_
#define KVASIR_ENGINE_WAIT_ESTIMATE_H_

#include <cstddef>
#include <cstdint>

#include "kvasir/engine/engine_stats.h"

namespace kvasir {

class WaitEstimate {
 public:
  // After each step.
  void Observe(const EngineStats& stats);

  // 0 when nobody waits and a seat is free. Otherwise everybody before it must be let in first, and
  // a seat becomes free when a request ends. While none has ended, the time to read what is unread
  // stands in; 1 second when nothing is known. At most an hour.
  double Seconds(size_t waiting_count, const EngineStats& stats) const;

 private:
  // Sums that lose a fiftieth with every step: of the last fifty steps or so.
  double recent_seconds_ = 0;
  double recent_tokens_ = 0;
  double recent_ends_ = 0;
  double step_seconds_seen_ = 0;  // totals at the last Observe
  uint64_t tokens_seen_ = 0;
  uint64_t ends_seen_ = 0;
};

}  // namespace kvasir

#endif  // KVASIR_ENGINE_WAIT_ESTIMATE_H_
