// Sampling: logits -> a token. Basics of issue one: greedy, temperature, top-k, top-p, min-p and
// penalties, without a full sort of the vocabulary. A draw is a function of (seed, position) and
// the row alone: it never depends on the slot, the batch or the thread. Ties go to the lowest id.

#ifndef KVASIR_KERNELS_SAMPLING_H_
#define KVASIR_KERNELS_SAMPLING_H_

#include <cstdint>
#include <span>
#include <vector>

#include "kvasir/formats/token_id.h"

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
};

// The token with the largest logit, the lowest id among equals. NaN counts as -inf; all -inf gives
// 0.
TokenId ArgMax(std::span<const float> logits);

// Applies the penalties of `params` to logits in place. `prompt` and `generated` are the tokens so
// far; the repetition penalty looks at both, presence and frequency at `generated` only.
void ApplyPenalties(const SamplingParams& params, std::span<const TokenId> prompt,
                    std::span<const TokenId> generated, std::span<float> logits);

// Draws from softmax(logits / temperature) cut by top-k, then top-p, then min-p, renormalised.
// `position` is the index of the token in its sequence. `scratch` saves allocations between calls.
// Greedy when temperature is 0.
TokenId Sample(const SamplingParams& params, uint64_t position, std::span<const float> logits,
               std::vector<std::pair<float, TokenId>>* scratch);

// A uniform number in [0, 1) from the counter-based generator Philox4x32-10 (Salmon et al. 2011)
// keyed by (seed, position).
double UniformFromSeed(uint64_t seed, uint64_t position);

}  // namespace kvasir

#endif  // KVASIR_KERNELS_SAMPLING_H_
