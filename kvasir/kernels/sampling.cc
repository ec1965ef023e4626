#include "kvasir/kernels/sampling.h"

#include <algorithm>
#include <cstddef>
#include <vector>

#include "kvasir/base/check.h"

namespace kvasir {

TokenId ArgMax(std::span<const float> logits) { return ArgMaxRow(logits); }

void ApplyPenalties(const SamplingParams& params, std::span<const TokenId> prompt,
                    std::span<const TokenId> generated, std::span<float> logits) {
  if (params.repetition_penalty != 1) {
    std::vector<bool> seen(logits.size());
    const auto penalise = [&](TokenId token) {
      if (seen[token]) return;
      seen[token] = true;
      float& logit = logits[token];
      logit = logit > 0 ? logit / params.repetition_penalty : logit * params.repetition_penalty;
    };
    std::for_each(prompt.begin(), prompt.end(), penalise);
    std::for_each(generated.begin(), generated.end(), penalise);
  }
  if (params.presence_penalty != 0 || params.frequency_penalty != 0) {
    // Runs of a sorted copy are the counts, whatever the size of the vocabulary.
    std::vector<TokenId> sorted(generated.begin(), generated.end());
    std::sort(sorted.begin(), sorted.end());
    for (size_t first = 0, end = 0; first < sorted.size(); first = end) {
      while (end < sorted.size() && sorted[end] == sorted[first]) ++end;
      const float count = static_cast<float>(end - first);
      logits[sorted[first]] -= params.presence_penalty + count * params.frequency_penalty;
    }
  }
}

void ApplyLogitBias(std::span<const LogitBias> biases, std::span<float> logits) {
  for (const LogitBias& bias : biases) {
    KVASIR_DCHECK(static_cast<size_t>(bias.token) < logits.size());
    logits[bias.token] += bias.bias;
  }
}

TokenId Sample(const SamplingParams& params, uint64_t position, std::span<const float> logits,
               SamplingScratch* scratch) {
  const RowFilter filter = {.kind = RowKind::kLogits,
                            .temperature = params.temperature,
                            .top_k = params.top_k,
                            .top_p = params.top_p,
                            .min_p = params.min_p,
                            .order = params.filter_apply_order};
  return SampleRow(filter, logits, UniformFromSeed(params.seed, position), scratch);
}

}  // namespace kvasir
