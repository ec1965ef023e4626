// EngineStats: what an engine is doing and has done, as plain numbers for metrics. A value: a copy
// is a snapshot.

#ifndef KVASIR_ENGINE_ENGINE_STATS_H_
#define KVASIR_ENGINE_ENGINE_STATS_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

#include "kvasir/base/histogram.h"
#include "kvasir/engine/request.h"
#include "kvasir/kv/tier_stats.h"

namespace kvasir {

// Seconds: from a step of a small model alone to a chunk of a large one.
inline constexpr double kStepSecondsBounds[] = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1,
                                                0.25,  0.5,    1,     2.5,  5,     10};
// Rows and sequences of one forward pass.
inline constexpr double kBatchCountBounds[] = {1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024};

struct EngineStats {
  // Now.
  size_t waiting_count = 0;        // requests that are not let in yet
  size_t waiting_token_count = 0;  // of their prompts
  size_t running_count = 0;
  size_t running_count_max = 0;   // that run at once
  size_t unread_token_count = 0;  // still to be read, of waiting and running requests
  // Blocks: used + cached + free = block_count.
  size_t block_count = 0;
  size_t used_block_count = 0;    // running requests hold them, a pin, or a store
  size_t cached_block_count = 0;  // nobody holds them, their contents can be found again
  size_t free_block_count = 0;    // empty
  size_t pinned_block_count = 0;  // of the used ones
  size_t kv_bytes = 0;            // of the block pool and of blocks that are not encoded yet
  std::string kv_format;          // KvLayoutName
  double kv_bits_per_element = 0;
  bool kv_rotated = false;

  // Since the engine was created.
  uint64_t step_count = 0;
  uint64_t prompt_token_count = 0;  // computed, not counting recomputation after preemption
  uint64_t cached_token_count = 0;  // prompt tokens found in the cache instead
  uint64_t loaded_token_count = 0;  // of these, found in a store and not in memory
  uint64_t generated_token_count = 0;
  uint64_t preemption_count = 0;
  uint64_t evicted_block_count = 0;
  std::array<uint64_t, kFinishReasonCount> finished_counts = {};  // by FinishReason
  Histogram step_seconds{kStepSecondsBounds};
  Histogram batch_rows{kBatchCountBounds};       // rows of a step
  Histogram batch_sequences{kBatchCountBounds};  // sequences of a step
  TierStats tier;                                // the store below the pool, when there is one
};

}  // namespace kvasir

#endif  // KVASIR_ENGINE_ENGINE_STATS_H_
