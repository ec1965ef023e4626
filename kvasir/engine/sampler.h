// Sampler: a row of logits -> the next token of its sequence, by the sequence's own parameters. The
// draw depends on the seed, the position and the row alone (kernels/sampling.h). Keeps scratch
// memory between calls: one thread at a time.

#ifndef KVASIR_ENGINE_SAMPLER_H_
#define KVASIR_ENGINE_SAMPLER_H_

#include <span>
#include <utility>
#include <vector>

#include "kvasir/engine/request.h"
#include "kvasir/engine/sequence.h"
#include "kvasir/formats/token_id.h"

namespace kvasir {

class Sampler {
 public:
  // The token that follows sequence.tokens(), with its logprobs when the request wants them; those
  // are valid until the next call. Bias and penalties are applied to `logits` [vocab_size] in
  // place.
  SampledToken Next(const Sequence& sequence, std::span<float> logits);

 private:
  std::vector<std::pair<float, TokenId>> scratch_;
  std::vector<float> raw_logits_;
  TokenLogprobs logprobs_;
};

}  // namespace kvasir

#endif  // KVASIR_ENGINE_SAMPLER_H_
