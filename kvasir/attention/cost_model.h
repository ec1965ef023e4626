// AttentionCosts: what pieces of attention cost one thread of this machine. The planner balances
// threads and chooses cascade levels with it; a wrong figure costs time, never changes a result.
// Plain values, any thread.

#ifndef KVASIR_ATTENTION_COST_MODEL_H_
#define KVASIR_ATTENTION_COST_MODEL_H_

#include <cstddef>

#include "kvasir/base/thread_pool.h"

namespace kvasir {

// Picoseconds of one thread while all threads work. The defaults are those of a 3 GHz core with
// AVX2 and 10 GB/s of memory bandwidth; MeasureAttentionCosts replaces them.
struct AttentionCosts {
  double kv_byte_ps = 100;      // reading a byte of keys or values from memory
  double widen_ps = 60;         // bringing a number of K or V into a tile of f32 once for many rows
  double pair_ps = 25;          // one multiply-add of a row with a number of K or V
  double score_ps = 400;        // the softmax of one logit
  double item_ps = 1e6;         // starting a work item and finishing its rows
  double merge_float_ps = 400;  // writing, reading and merging a number of a partial state

  // Of one key and its value, `numbers` long together and `bytes` in memory, for `rows` query rows
  // that share the reading. `is_widened`: the tile is widened for them.
  double KeyPs(size_t rows, size_t numbers, size_t bytes, bool is_widened) const {
    const double memory = double(bytes) * kv_byte_ps;
    const double compute = double(rows) * (double(numbers) * pair_ps + score_ps) +
                           (is_widened ? double(numbers) * widen_ps : 0.0);
    return memory > compute ? memory : compute;
  }
};

// Measures on all threads of `pool` with the target in force; takes about 30 ms and 64 MiB.
AttentionCosts MeasureAttentionCosts(ThreadPool& pool);

}  // namespace kvasir

#endif  // KVASIR_ATTENTION_COST_MODEL_H_
