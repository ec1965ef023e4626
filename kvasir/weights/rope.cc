#include "kvasir/weights/rope.h"

#include <cmath>
#include <cstdio>

#include "kvasir/weights/families/spec_bounds.h"
#include "kvasir/weights/printable.h"

namespace kvasir {

namespace {

std::string Describe(const RopeParameters& p) {
  char text[96];
  switch (p.scaling) {
    case RopeScaling::kNone:
      std::snprintf(text, sizeof text, "theta %g", p.theta);
      break;
    case RopeScaling::kLinear:
      std::snprintf(text, sizeof text, "theta %g, linear x%g", p.theta, p.factor);
      break;
    case RopeScaling::kLlama3:
      std::snprintf(text, sizeof text, "theta %g, llama3 x%g", p.theta, p.factor);
      break;
    case RopeScaling::kDivisors:
      std::snprintf(text, sizeof text, "theta %g, scaled per frequency up to x%g", p.theta,
                    p.factor);
      break;
  }
  return text;
}

float ScaleLlama3(const RopeParameters& p, float frequency) {
  constexpr float kTwoPi = 6.28318530717958647692f;
  const float wavelength = kTwoPi / frequency;
  if (wavelength > p.original_context / p.low_frequency_factor) return frequency / p.factor;
  if (wavelength < p.original_context / p.high_frequency_factor) return frequency;
  const float smooth = (p.original_context / wavelength - p.low_frequency_factor) /
                       (p.high_frequency_factor - p.low_frequency_factor);
  return (1 - smooth) * frequency / p.factor + smooth * frequency;
}

void ReadLlama3(FieldReader& fields, FieldReader& config, RopeParameters* p) {
  p->low_frequency_factor = fields.Float("low_freq_factor", kRopeFactorBounds);
  p->high_frequency_factor = fields.Float("high_freq_factor", kRopeFactorBounds);
  // Left out, the model was trained at its present length.
  const uint32_t context = fields.Has("original_max_position_embeddings")
                               ? fields.Uint("original_max_position_embeddings", kContextBounds)
                               : config.Uint("max_position_embeddings", kContextBounds);
  p->original_context = static_cast<float>(context);
  if (p->high_frequency_factor <= p->low_frequency_factor) {
    fields.Fail(InvalidArgument("high_freq_factor must be greater than low_freq_factor"));
  }
}

void ReadRopeObject(const Json& json, std::string_view name, FieldReader& config,
                    RopeParameters* p) {
  const JsonFields object(json, name);
  FieldReader fields(object);
  p->theta = fields.Float("rope_theta", kRopeThetaBounds, p->theta);
  const std::string type = fields.String("rope_type", fields.String("type", "default"));
  if (type == "linear" || type == "llama3") {
    p->scaling = type == "linear" ? RopeScaling::kLinear : RopeScaling::kLlama3;
    p->factor = fields.Float("factor", kRopeFactorBounds);
  } else if (type != "default") {
    fields.Fail(Unimplemented("rope_type is \"" + Printable(type) +
                              "\", supported are default, linear and llama3"));
  }
  if (p->scaling == RopeScaling::kLlama3) ReadLlama3(fields, config, p);
  if (fields.Float("partial_rotary_factor", {0.0f, 1.0f}, 1.0f) != 1.0f) {
    fields.Fail(Unimplemented("partial_rotary_factor other than 1 is not supported"));
  }
  if (!fields.status().ok()) config.Fail(fields.status().WithContext(name));
}

// Null unless config.json has `key` and it is an object.
const Json* ObjectMember(const HfConfig& config, std::string_view key) {
  const Json* json = config.FindJson(key);
  return json != nullptr && json->is_object() ? json : nullptr;
}

const Json* LayerTypeRope(const HfConfig& config, const std::string& layer_type) {
  const Json* json = ObjectMember(config, "rope_parameters");
  if (json == nullptr) return nullptr;
  const auto it = json->find(layer_type);
  return it != json->end() && it->is_object() ? &*it : nullptr;
}

}  // namespace

RopeSpec MakeRope(const RopeParameters& p) {
  RopeSpec rope;
  rope.rotary_dim = p.rotary_dim;
  rope.theta = p.theta;
  rope.description = Describe(p);
  for (uint32_t i = 0; i < p.rotary_dim / 2; ++i) {
    const float exponent = static_cast<float>(2 * i) / static_cast<float>(p.rotary_dim);
    float frequency = 1.0f / std::pow(p.theta, exponent);
    if (p.scaling == RopeScaling::kLinear) frequency /= p.factor;
    if (p.scaling == RopeScaling::kLlama3) frequency = ScaleLlama3(p, frequency);
    if (p.scaling == RopeScaling::kDivisors) frequency /= p.divisors[i];
    rope.inverse_frequency.push_back(frequency);
  }
  return rope;
}

RopeParameters ReadGgufRope(FieldReader& reader, uint32_t rotary_dim, float theta_default) {
  RopeParameters p;
  p.rotary_dim = rotary_dim;
  p.theta = reader.Float("rope.freq_base", kRopeThetaBounds, theta_default);
  // Files from before rope.scaling.* have rope.scale_linear.
  const float old_factor = reader.Float("rope.scale_linear", kRopeFactorBounds, 1.0f);
  const std::string type = reader.String("rope.scaling.type", old_factor == 1 ? "none" : "linear");
  if (type == "linear") {
    p.scaling = RopeScaling::kLinear;
    p.factor = reader.Float("rope.scaling.factor", kRopeFactorBounds, old_factor);
  } else if (type != "none") {
    reader.Fail(Unimplemented("rope.scaling.type is \"" + Printable(type) +
                              "\", supported are none and linear"));
  }
  return p;
}

RopeParameters ReadHfRope(const HfConfig& config, FieldReader& reader, uint32_t rotary_dim,
                          float theta_default) {
  RopeParameters p;
  p.rotary_dim = rotary_dim;
  p.theta = reader.Float("rope_theta", kRopeThetaBounds, theta_default);
  if (const Json* json = LayerTypeRope(config, "full_attention"); json != nullptr) {
    ReadRopeObject(*json, "rope_parameters.full_attention", reader, &p);
  } else if (const Json* flat = ObjectMember(config, "rope_parameters"); flat != nullptr) {
    ReadRopeObject(*flat, "rope_parameters", reader, &p);
  } else if (const Json* scaling = ObjectMember(config, "rope_scaling"); scaling != nullptr) {
    ReadRopeObject(*scaling, "rope_scaling", reader, &p);
  }
  return p;
}

RopeParameters ReadHfSlidingRope(const HfConfig& config, FieldReader& reader, uint32_t rotary_dim,
                                 float theta_default) {
  RopeParameters p;
  p.rotary_dim = rotary_dim;
  p.theta = theta_default;
  if (const Json* json = LayerTypeRope(config, "sliding_attention"); json != nullptr) {
    ReadRopeObject(*json, "rope_parameters.sliding_attention", reader, &p);
  }
  return p;
}

}  // namespace kvasir
