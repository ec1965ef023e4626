// AttentionVariant: a user's own change to attention, as FlashInfer's variants (Ye et al. 2025,
// arXiv 2501.01005, section 3.2.3), without run-time compilation inside the program: the user
// writes a struct with one or two hooks (the concept is in variant-inl.h), and one macro compiles
// it for every instruction set. Only the softmax step is compiled anew: the kernels that multiply
// queries, keys and values are shared by all variants.

#ifndef KVASIR_ATTENTION_VARIANT_H_
#define KVASIR_ATTENTION_VARIANT_H_

#include <cstddef>
#include <cstdint>

namespace kvasir {

// What a variant may know of the query row whose logits it sees.
struct AttentionRow {
  int32_t sequence = 0;  // of the batch
  int32_t q_index = 0;   // of the query among those of its sequence
  int32_t q_len = 0;     // queries of the sequence
  int32_t kv_len = 0;    // keys of the sequence
  int32_t qo_head = 0;

  // Position of the query in its sequence; negative for queries before the first key.
  int32_t position() const { return kv_len - q_len + q_index; }
};

// The logits of one row for consecutive keys, which become weights in place. Keys [begin, end) of
// `scores` are those that the causal mask and the window leave; 16-aligned runs around them may be
// overwritten.
struct SoftmaxSpan {
  float* scores = nullptr;  // scores[0] is that of key first_key
  int32_t first_key = 0;    // position in the sequence
  size_t begin = 0;
  size_t end = 0;
  float max = 0;  // out: the reference of the weights, exp(logit - max); -inf: no key is visible
  float sum = 0;  // out: of the weights
};

struct AttentionVariant {
  // One row's logits -> weights; `params` is the one below.
  void (*softmax)(const void* params, const AttentionRow& row, SoftmaxSpan* span) = nullptr;
  const void* params = nullptr;  // the user's struct, read at every call
  bool use_softmax = true;       // false: logits are the weights, and nothing is normalised
};

}  // namespace kvasir

#endif  // KVASIR_ATTENTION_VARIANT_H_
