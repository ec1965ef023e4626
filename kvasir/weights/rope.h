// Rotary frequencies: from what model files say (theta, a kind of scaling) to RopeSpec's inverse
// frequencies. Computed in float, in the order of operations of the `transformers` library, so that
// the angles agree with it. Pure functions.

#ifndef KVASIR_WEIGHTS_ROPE_H_
#define KVASIR_WEIGHTS_ROPE_H_

#include <cstdint>
#include <vector>

#include "kvasir/weights/field_reader.h"
#include "kvasir/weights/hf_config.h"
#include "kvasir/weights/model_spec.h"

namespace kvasir {

enum class RopeScaling { kNone, kLinear, kLlama3, kDivisors };

struct RopeParameters {
  float theta = 10000;
  uint32_t rotary_dim = 0;  // even
  RopeScaling scaling = RopeScaling::kNone;
  float factor = 1;  // kLinear and kLlama3: how much longer the context became
  // kLlama3 (Llama 3.1): wavelengths up to original_context / high_frequency_factor stay, those
  // from original_context / low_frequency_factor on are stretched by `factor`, between them both
  // blend.
  float low_frequency_factor = 1;
  float high_frequency_factor = 4;
  float original_context = 8192;
  std::vector<float> divisors =
      {};  // kDivisors: of each inverse frequency (GGUF's rope_freqs.weight)
};

// REQUIRES rotary_dim to be even and, for kDivisors, rotary_dim / 2 divisors > 0.
RopeSpec MakeRope(const RopeParameters& parameters);

// From GGUF fields below `reader`'s prefix: rope.freq_base, rope.scaling.*; without rope_freqs.
RopeParameters ReadGgufRope(FieldReader& reader, uint32_t rotary_dim, float theta_default);

// From config.json: "rope_parameters" (transformers 5; flat, or with an object for the layer type
// "full_attention"), else "rope_theta" and "rope_scaling". Errors go to `reader`, which must read
// from `config`.
RopeParameters ReadHfRope(const HfConfig& config, FieldReader& reader, uint32_t rotary_dim,
                          float theta_default);

// The same for the layer type "sliding_attention", unscaled with `theta_default` when there is
// none.
RopeParameters ReadHfSlidingRope(const HfConfig& config, FieldReader& reader, uint32_t rotary_dim,
                                 float theta_default);

}  // namespace kvasir

#endif  // KVASIR_WEIGHTS_ROPE_H_
