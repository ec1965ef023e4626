#include "kvasir/engine/sampler.h"

#include <limits>

#include "kvasir/engine/logprobs.h"
#include "kvasir/kernels/sampling.h"

namespace kvasir {
namespace {

// Takes every chance from the stop tokens while the answer is too short to end.
void ForbidStops(const Sequence& sequence, std::span<float> logits) {
  const Request& request = sequence.request();
  if (sequence.generated().size() >= request.token_count_min) return;
  for (const TokenId token : request.stop_tokens) {
    if (token < 0 || size_t(token) >= logits.size()) continue;
    logits[size_t(token)] = -std::numeric_limits<float>::infinity();
  }
}

}  // namespace

SampledToken Sampler::Next(const Sequence& sequence, std::span<float> logits) {
  const Request& request = sequence.request();
  if (request.logprobs) raw_logits_.assign(logits.begin(), logits.end());
  for (const auto& [token, bias] : request.logit_bias) logits[size_t(token)] += bias;
  ApplyPenalties(request.sampling, sequence.prompt(), sequence.generated(), logits);
  ForbidStops(sequence, logits);
  SampledToken sampled{Sample(request.sampling, sequence.tokens().size(), logits, &scratch_)};
  if (request.logprobs) {
    logprobs_ = LogprobsOf(raw_logits_, sampled.id, request.top_logprob_count);
    sampled.logprobs = &logprobs_;
  }
  return sampled;
}

}  // namespace kvasir
