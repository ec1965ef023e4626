#include "kvasir/engine/sampler.h"

namespace kvasir {

TokenId Sampler::Next(const Sequence& sequence, std::span<float> logits) {
  const SamplingParams& params = sequence.sampling();
  ApplyPenalties(params, sequence.prompt(), sequence.generated(), logits);
  return Sample(params, sequence.tokens().size(), logits, &scratch_);
}

}  // namespace kvasir
