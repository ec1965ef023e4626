// MergeState and its relatives: results of attention over disjoint sets of keys become the result
// over their union. A result is the pair (O, LSE) that a plan's Run writes, LSE with the natural
// logarithm:
//
//   v  [rows, num_heads * head_dim]   outputs O
//   s  [rows, num_heads]              LSE; -inf: no key was seen, and v is not read
//
// (0, -inf) is the identity, and a merge with it changes no bit. Free functions; the pool's owner
// calls them. kInvalidArgument names the array whose shape does not fit; then nothing is written.

#ifndef KVASIR_ATTENTION_MERGE_H_
#define KVASIR_ATTENTION_MERGE_H_

#include <cstddef>
#include <cstdint>
#include <span>

#include "kvasir/base/matrix_view.h"
#include "kvasir/base/status.h"
#include "kvasir/base/thread_pool.h"

namespace kvasir {

// v and s become a merged with b. v may be v_a and s may be s_a.
Status MergeState(MatrixView<const float> v_a, MatrixView<const float> s_a,
                  MatrixView<const float> v_b, MatrixView<const float> s_b, MatrixView<float> v,
                  MatrixView<float> s, ThreadPool& pool);

// Merges v_other and s_other into v and s. mask [rows]: rows with 0 stay as they are; empty = all
// rows are merged.
Status MergeStateInPlace(MatrixView<float> v, MatrixView<float> s, MatrixView<const float> v_other,
                         MatrixView<const float> s_other, std::span<const uint8_t> mask,
                         ThreadPool& pool);

// Merges `num_states` results of each row: v [rows, num_states * num_heads * head_dim] and s [rows,
// num_states * num_heads] into v_merged [rows, num_heads * head_dim] and s_merged [rows,
// num_heads].
Status MergeStates(MatrixView<const float> v, MatrixView<const float> s, size_t num_states,
                   MatrixView<float> v_merged, MatrixView<float> s_merged, ThreadPool& pool);

}  // namespace kvasir

#endif  // KVASIR_ATTENTION_MERGE_H_
