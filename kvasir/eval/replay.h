// Replay: what share of the blocks of a trace would have been found in caches of several sizes and
// policies, and what a tier on disk would have written. A block is found when it and all before it
// in its request are there; that is asked before the request's blocks come. Pure functions; any
// thread.

#ifndef KVASIR_EVAL_REPLAY_H_
#define KVASIR_EVAL_REPLAY_H_

#include <cstddef>
#include <span>
#include <vector>

#include "kvasir/eval/block_caches.h"

namespace kvasir {

struct ReplayResult {
  CachePolicy policy = CachePolicy::kLru;
  size_t capacity_blocks = 0;
  size_t hit_blocks = 0;
};
ReplayResult ReplayCache(const ReplayTrace& trace, CachePolicy policy, size_t capacity_blocks);

// Which blocks are written to disk: all, those that were seen before, those that WriteAdmission
// chooses.
enum class WriteRule { kAll, kSecondTouch, kAdmission };
struct TierReplayResult {
  size_t ram_blocks = 0;
  size_t disk_blocks = 0;
  WriteRule rule = WriteRule::kAll;
  size_t hit_blocks = 0;  // in either tier
  size_t written_blocks = 0;
  // The same of the later half of the requests, when a disk that is not too large is full and what
  // can be learnt has been.
  size_t late_block_count = 0;
  size_t late_hit_blocks = 0;
  size_t late_written_blocks = 0;
};
// Both tiers under our policy.
TierReplayResult ReplayTiers(const ReplayTrace& trace, size_t ram_blocks, size_t disk_blocks,
                             WriteRule rule);
// The usual cache to compare with: LRU in both tiers, and everything is written.
TierReplayResult ReplayLruTiers(const ReplayTrace& trace, size_t ram_blocks, size_t disk_blocks);

// How many of the trace's blocks a cache without bounds would have found.
size_t UnboundedHitBlocks(const ReplayTrace& trace);

}  // namespace kvasir

#endif  // KVASIR_EVAL_REPLAY_H_
