// Sampling one token: logits -> a token: greedy, temperature, top-k, top-p, min-p, penalties and
// biases, without a full sort of the vocabulary. A draw is a function of (seed, position) and the
// row alone: it never depends on the slot, the batch, the thread or the instruction set. Ties go to
// the lowest id. Free functions without state: any thread. batch_sampling.h has the same for
// batches, from logits and from probabilities.

#ifndef KVASIR_KERNELS_SAMPLING_H_
#define KVASIR_KERNELS_SAMPLING_H_

#include <cstdint>
#include <span>

#include "kvasir/formats/token_id.h"
#include "kvasir/kernels/philox.h"
#include "kvasir/kernels/sample_row.h"

namespace kvasir {

struct SamplingParams {
  float temperature = 0;         // 0 = greedy
  uint32_t top_k = 0;            // 0 = off
  float top_p = 1;               // 1 = off
  float min_p = 0;               // 0 = off
  float repetition_penalty = 1;  // 1 = off: divides positive, multiplies negative logits of tokens
                                 // seen (CTRL, arXiv 1909.05858)
  float presence_penalty = 0;    // subtracted once from every generated token
  float frequency_penalty = 0;   // subtracted per occurrence
  uint64_t seed = 0;
  FilterApplyOrder filter_apply_order = FilterApplyOrder::kTopKFirst;
};

// What is added to the logit of one token; -inf bans it.
struct LogitBias {
  TokenId token = 0;
  float bias = 0;
};

// The token with the largest logit, the lowest id among equals. NaN counts as -inf; all -inf gives
// 0.
TokenId ArgMax(std::span<const float> logits);

// Applies the penalties of `params` to logits in place. `prompt` and `generated` are the tokens so
// far; the repetition penalty looks at both and comes first, presence and frequency look at
// `generated` only. REQUIRES every token to be an index into logits.
void ApplyPenalties(const SamplingParams& params, std::span<const TokenId> prompt,
                    std::span<const TokenId> generated, std::span<float> logits);

// Adds each bias to its token's logit, in place; a token that occurs twice gets both. REQUIRES
// every token to be an index into logits.
void ApplyLogitBias(std::span<const LogitBias> biases, std::span<float> logits);

// Draws from softmax(logits / temperature) cut by top-k, then top-p, then min-p, renormalised; with
// kJoint top-p looks at the probabilities before top-k. `position` is the index of the token in its
// sequence. `scratch` saves allocations between calls. Greedy when temperature is not above 0. NaN
// and -inf are never drawn, unless there is nothing else: then 0; +inf logits share the draw
// equally.
TokenId Sample(const SamplingParams& params, uint64_t position, std::span<const float> logits,
               SamplingScratch* scratch);

}  // namespace kvasir

#endif  // KVASIR_KERNELS_SAMPLING_H_
