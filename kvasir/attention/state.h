// AttentionStates: attention of some query rows over a set of keys I, in the form that can be
// merged. For a row with logits s_i and values v_i
//
//   max = the largest s_i     sum = sum over I of exp(s_i - max)     out = sum of exp(s_i - max)
//   v_i
//
// from which the attention output is O = out / sum and the log-sum-exp (natural logarithm) is LSE =
// max + log(sum). The pair (O, LSE) is the same state with sum = 1 and max = LSE. The state of no
// keys, the identity of the merge, is max = -inf and sum = 0 (its `out` is never read): it finishes
// as (0, -inf). Merging the states of two disjoint sets gives that of their union; everything that
// cuts the keys of a row (splits, shared prefixes, sinks) goes through it.
//
// A view of memory that somebody else owns; plain functions, any thread.

#ifndef KVASIR_ATTENTION_STATE_H_
#define KVASIR_ATTENTION_STATE_H_

#include <cstddef>

namespace kvasir {

struct AttentionStates {
  size_t row_count = 0;
  size_t out_stride = 0;  // floats, head_dim rounded up to a multiple of 16; padding is arbitrary
  float* max = nullptr;   // [row_count rounded up to a multiple of 16]
  float* sum = nullptr;   // the same
  float* out = nullptr;   // [row_count, out_stride]

  // Floats that the states of `row_count` rows take, a multiple of 16.
  static size_t FloatCount(size_t row_count, size_t head_dim);
  // The states in FloatCount floats at `memory`, which should be 64-byte aligned.
  static AttentionStates At(float* memory, size_t row_count, size_t head_dim);
};

// Makes every row the identity.
void ClearAttentionStates(const AttentionStates& states);

// into = into merged with from, row by row. A merge with the identity changes no bit. REQUIRES the
// same shapes; into's keys come before from's where the order of rounding matters.
void MergeAttentionStates(const AttentionStates& from, const AttentionStates& into);

// The finished output of one row, O [head_dim], 0 for a row without keys; returns its LSE.
float FinishAttentionState(const AttentionStates& states, size_t row, size_t head_dim, float* out);

}  // namespace kvasir

#endif  // KVASIR_ATTENTION_STATE_H_
