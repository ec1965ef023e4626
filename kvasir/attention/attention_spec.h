// AttentionSpec: what attention is computed: shapes, the mask and the variant, with FlashInfer's
// names. A value; the arrays and objects that it points at must outlive every plan made with it.

#ifndef KVASIR_ATTENTION_ATTENTION_SPEC_H_
#define KVASIR_ATTENTION_ATTENTION_SPEC_H_

#include <cstdint>
#include <span>

#include "kvasir/attention/rope_table.h"
#include "kvasir/attention/variant.h"

namespace kvasir {

struct AttentionSpec {
  uint32_t num_qo_heads = 0;
  uint32_t num_kv_heads = 0;  // divides num_qo_heads
  uint32_t head_dim = 0;      // of queries and keys, 1..576
  float sm_scale = 0;         // multiplies q.k
  int32_t window_left = -1;   // keys visible left of the query's own position; -1 = all
  float logits_soft_cap = 0;  // cap * tanh(x / cap) on scaled logits; 0 = off

  bool causal = true;        // right-aligned: query i of q_len sees keys 0 .. kv_len - q_len + i
  uint32_t head_dim_vo = 0;  // of values and outputs, 1..576; 0 = head_dim
  // ALiBi (Press et al., arXiv 2108.12409): slope * (key - query position) is added to the logit.
  // [num_qo_heads], or empty.
  std::span<const float> alibi_slopes = {};
  // Attention sinks: each head has one more logit, whose value is 0. [num_qo_heads], or empty.
  std::span<const float> sinks = {};
  // Which keys each query sees, instead of `causal`: for sequence b q_len x kv_len bits, row-major,
  // least significant bit first, from byte mask_indptr[b] on. mask_indptr [batch + 1]. Empty = off.
  std::span<const uint8_t> packed_custom_mask = {};
  std::span<const int32_t> mask_indptr = {};
  // Keys are stored before RoPE, and rotated with the queries while they are read; null = off.
  const RopeTable* rope = nullptr;
  // A variant of the user's own (variant.h) in the place of soft cap, ALiBi and custom mask; null =
  // off.
  const AttentionVariant* variant = nullptr;

  uint32_t v_dim() const { return head_dim_vo == 0 ? head_dim : head_dim_vo; }
  uint32_t group_size() const { return num_qo_heads / num_kv_heads; }
};

}  // namespace kvasir

#endif  // KVASIR_ATTENTION_ATTENTION_SPEC_H_
