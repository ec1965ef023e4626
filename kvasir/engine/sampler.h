// Sampler: a row of logits -> the next token of its sequence, by the sequence's own parameters. The
// draw depends on the seed, the position and the row alone (kernels/sampling.h). Keeps scratch
// memory between calls: one thread at a time.

#ifndef KVASIR_ENGINE_SAMPLER_H_
#define KVASIR_ENGINE_SAMPLER_H_

#include <span>

#include "kvasir/engine/sequence.h"
#include "kvasir/formats/token_id.h"
#include "kvasir/kernels/sampling.h"

namespace kvasir {

class Sampler {
 public:
  // The token that follows sequence.tokens(). Penalties are applied to `logits` [vocab_size] in
  // place.
  TokenId Next(const Sequence& sequence, std::span<float> logits);

 private:
  SamplingScratch scratch_;
};

}  // namespace kvasir

#endif  // KVASIR_ENGINE_SAMPLER_H_
