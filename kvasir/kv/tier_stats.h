// TierStats: what loading from and storing to a tier below the pool is doing and has done, as plain
// numbers for metrics. What the store counts of itself is StoreStats. A value: a copy is a
// snapshot.

#ifndef KVASIR_KV_TIER_STATS_H_
#define KVASIR_KV_TIER_STATS_H_

#include <cstddef>
#include <cstdint>

#include "kvasir/base/histogram.h"

namespace kvasir {

// Seconds of a load: from a few blocks of a page cache to a long prompt from far away.
inline constexpr double kLoadSecondsBounds[] = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1,
                                                0.25,  0.5,    1,     2.5,  5,     10};

struct TierStats {
  bool enabled = false;
  // Now.
  size_t loading_block_count = 0;  // slots of the pool that the store fills
  size_t storing_block_count = 0;  // guarded: the store reads them
  size_t backlog_block_count = 0;  // to be stored
  bool loading_suspended = false;  // the breakers are open
  bool storing_suspended = false;
  double latency_seconds = 0;  // of loads, estimated
  double block_seconds = 0;

  // Since creation. Loads end in one of four ways: complete, given up, failed or withdrawn.
  uint64_t load_count = 0;          // begun, of those that somebody waited for
  uint64_t loaded_block_count = 0;  // that came and joined the pool
  uint64_t loaded_bytes = 0;
  uint64_t unknown_block_count = 0;   // asked for, not in the store
  uint64_t declined_load_count = 0;   // computing was the quicker way
  uint64_t refused_load_count = 0;    // the breaker was open
  uint64_t given_up_load_count = 0;   // too slow: computed after all
  uint64_t failed_load_count = 0;     // an error of the device
  uint64_t corrupt_block_count = 0;   // there, but bad
  uint64_t vanished_block_count = 0;  // found, but not there any more
  double saved_seconds = 0;           // of computing, less the wait: an estimate
  Histogram load_seconds{kLoadSecondsBounds};
  uint64_t offered_block_count = 0;  // complete blocks that could be stored
  uint64_t stored_block_count = 0;
  uint64_t stored_bytes = 0;
  uint64_t unwanted_block_count = 0;            // not admitted: not worth a write yet
  uint64_t lost_block_count = 0;                // evicted before they were written
  uint64_t failed_store_count = 0;              // blocks that the store refused
  Histogram store_seconds{kLoadSecondsBounds};  // of batches
};

}  // namespace kvasir

#endif  // KVASIR_KV_TIER_STATS_H_
