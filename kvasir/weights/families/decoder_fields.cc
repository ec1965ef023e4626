#include "kvasir/weights/families/decoder_fields.h"

#include <algorithm>
#include <cmath>

#include "kvasir/formats/float16.h"
#include "kvasir/weights/families/spec_bounds.h"
#include "kvasir/weights/printable.h"
#include "kvasir/weights/rope.h"

namespace kvasir {

namespace {

void CheckHeads(FieldReader& reader, const ModelSpec& spec) {
  if (spec.q_head_count % spec.kv_head_count != 0) {
    reader.Fail(InvalidArgument("the number of query heads, " + std::to_string(spec.q_head_count) +
                                ", is not a multiple of the number of key-value heads, " +
                                std::to_string(spec.kv_head_count)));
  }
}

void CheckRotaryDim(FieldReader& reader, uint32_t rotary_dim, uint32_t head_dim) {
  if (rotary_dim % 2 != 0 || rotary_dim > head_dim) {
    reader.Fail(InvalidArgument("the rotary dimension is " + std::to_string(rotary_dim) +
                                ", allowed are even numbers up to the head dimension " +
                                std::to_string(head_dim)));
  }
}

// The head dimension where a file does not name it.
uint32_t ImpliedHeadDim(FieldReader& reader, const ModelSpec& spec) {
  const uint32_t head_dim = spec.hidden_size / spec.q_head_count;
  if (spec.hidden_size % spec.q_head_count != 0 || head_dim > kHeadDimBounds.max) {
    reader.Fail(InvalidArgument("the hidden size " + std::to_string(spec.hidden_size) + " over " +
                                std::to_string(spec.q_head_count) +
                                " heads gives no whole head dimension of at most " +
                                std::to_string(kHeadDimBounds.max)));
  }
  return std::clamp(head_dim, kHeadDimBounds.min, kHeadDimBounds.max);
}

// llama.cpp's converter writes the frequencies of Llama 3.1 as a tensor of divisors.
void ReadRopeFreqs(const GgufFile& file, FieldReader& reader, RopeParameters* rope) {
  const FileTensor* tensor = file.FindTensor("rope_freqs.weight");
  if (tensor == nullptr) return;
  if (tensor->dtype != DType::kF32 ||
      tensor->bytes.size() != rope->rotary_dim / 2 * sizeof(float)) {
    reader.Fail(DataLoss("tensor rope_freqs.weight must be " +
                         std::to_string(rope->rotary_dim / 2) + " numbers of type F32"));
    return;
  }
  if (rope->scaling != RopeScaling::kNone) {
    reader.Fail(Unimplemented("rope_freqs.weight together with rope.scaling is not supported"));
    return;
  }
  rope->scaling = RopeScaling::kDivisors;
  for (uint32_t i = 0; i < rope->rotary_dim / 2; ++i) {
    const float divisor = LoadF32(tensor->bytes.data() + i * sizeof(float));
    if (!(divisor >= kRopeFactorBounds.min && divisor <= kRopeFactorBounds.max)) {
      reader.Fail(DataLoss("tensor rope_freqs.weight has a divisor outside 0.001 to 1000000"));
      return;
    }
    rope->divisors.push_back(divisor);
    rope->factor = std::max(rope->factor, divisor);
  }
}

void ReadGgufVocabSize(const GgufFile& file, FieldReader& reader, ModelSpec* spec) {
  const auto it = file.metadata().find("tokenizer.ggml.tokens");
  const GgufArray* tokens =
      it == file.metadata().end() ? nullptr : std::get_if<GgufArray>(&it->second);
  std::optional<uint32_t> token_count;
  if (tokens != nullptr && tokens->count >= 1 && tokens->count <= kVocabSizeBounds.max) {
    token_count = static_cast<uint32_t>(tokens->count);
  }
  spec->vocab_size = reader.Uint("vocab_size", kVocabSizeBounds, token_count);
}

}  // namespace

void ReadGgufDecoder(const GgufFile& file, FieldReader& reader, float rope_theta_default,
                     ModelSpec* spec) {
  spec->layer_count = reader.Uint("block_count", kLayerCountBounds);
  spec->hidden_size = reader.Uint("embedding_length", kHiddenSizeBounds);
  spec->ffn_size = reader.Uint("feed_forward_length", kFfnSizeBounds);
  spec->q_head_count = reader.Uint("attention.head_count", kHeadCountBounds);
  spec->kv_head_count =
      reader.Uint("attention.head_count_kv", kHeadCountBounds, spec->q_head_count);
  spec->head_dim = reader.Has("attention.key_length")
                       ? reader.Uint("attention.key_length", kHeadDimBounds)
                       : ImpliedHeadDim(reader, *spec);
  const uint32_t value_dim = reader.Uint("attention.value_length", kHeadDimBounds, spec->head_dim);
  if (value_dim != spec->head_dim) {
    reader.Fail(Unimplemented("attention.value_length " + std::to_string(value_dim) +
                              " differs from attention.key_length " +
                              std::to_string(spec->head_dim) + ", which is not supported"));
  }
  CheckHeads(reader, *spec);
  if (reader.Uint("expert_count", {0, 1 << 20}, 0) > 0) {
    reader.Fail(Unimplemented("expert_count is not 0, but mixtures of experts are not supported"));
  }
  ReadGgufVocabSize(file, reader, spec);
  spec->context_length = reader.Uint("context_length", kContextBounds);
  spec->rms_norm_eps = reader.Float("attention.layer_norm_rms_epsilon", kEpsBounds);
  spec->attention_scale = 1.0f / std::sqrt(static_cast<float>(spec->head_dim));

  const uint32_t rotary_dim = reader.Uint("rope.dimension_count", kHeadDimBounds, spec->head_dim);
  CheckRotaryDim(reader, rotary_dim, spec->head_dim);
  RopeParameters rope = ReadGgufRope(reader, rotary_dim, rope_theta_default);
  ReadRopeFreqs(file, reader, &rope);
  if (!reader.status().ok()) return;
  spec->rope = MakeRope(rope);
  spec->sliding_rope = spec->rope;
}

void ReadHfDecoder(const HfConfig& config, FieldReader& reader, const HfDefaults& defaults,
                   ModelSpec* spec) {
  if (reader.Has("quantization_config")) {
    reader.Fail(
        Unimplemented("quantization_config is present, but only unquantised "
                      "weights in F32, F16 and BF16 are supported"));
  }
  spec->layer_count = reader.Uint("num_hidden_layers", kLayerCountBounds);
  spec->hidden_size = reader.Uint("hidden_size", kHiddenSizeBounds);
  spec->ffn_size = reader.Uint("intermediate_size", kFfnSizeBounds);
  spec->q_head_count = reader.Uint("num_attention_heads", kHeadCountBounds, defaults.q_head_count);
  spec->kv_head_count = reader.Uint("num_key_value_heads", kHeadCountBounds,
                                    defaults.kv_head_count.value_or(spec->q_head_count));
  if (reader.Has("head_dim") || defaults.head_dim.has_value()) {
    spec->head_dim = reader.Uint("head_dim", kHeadDimBounds, defaults.head_dim);
  } else {
    spec->head_dim = ImpliedHeadDim(reader, *spec);
  }
  CheckHeads(reader, *spec);
  spec->vocab_size = reader.Uint("vocab_size", kVocabSizeBounds, defaults.vocab_size);
  spec->context_length =
      reader.Uint("max_position_embeddings", kContextBounds, defaults.context_length);
  spec->rms_norm_eps = reader.Float("rms_norm_eps", kEpsBounds, defaults.rms_norm_eps);
  spec->attention_scale = 1.0f / std::sqrt(static_cast<float>(spec->head_dim));
  spec->tied_embeddings = reader.Bool("tie_word_embeddings", defaults.tied_embeddings);
  const std::string activation = reader.String(defaults.activation_key, defaults.activation);
  if (activation != defaults.activation) {
    reader.Fail(Unimplemented(std::string(defaults.activation_key) + " is \"" +
                              Printable(activation) + "\", supported is " +
                              std::string(defaults.activation)));
  }

  CheckRotaryDim(reader, spec->head_dim, spec->head_dim);
  const RopeParameters rope = ReadHfRope(config, reader, spec->head_dim, defaults.rope_theta);
  if (!reader.status().ok()) return;
  spec->rope = MakeRope(rope);
  spec->sliding_rope = spec->rope;
}

std::optional<std::vector<bool>> ReadHfLayerTypes(const HfConfig& config, FieldReader& reader,
                                                  uint32_t layer_count) {
  const Json* json = config.FindJson("layer_types");
  if (json == nullptr || json->is_null()) return std::nullopt;
  std::vector<bool> sliding;
  bool valid = json->is_array() && json->size() == layer_count;
  for (size_t i = 0; valid && i < json->size(); ++i) {
    sliding.push_back((*json)[i] == "sliding_attention");
    valid = sliding.back() || (*json)[i] == "full_attention";
  }
  if (!valid) {
    reader.Fail(
        InvalidArgument("layer_types must name sliding_attention or full_attention for "
                        "each of the " +
                        std::to_string(layer_count) + " layers"));
    return std::nullopt;
  }
  return sliding;
}

void ReadQwenWindow(const HfConfig& config, FieldReader& reader, ModelSpec* spec) {
  if (!reader.Bool("use_sliding_window", false) || !reader.Has("sliding_window")) return;
  spec->sliding_window = reader.Uint("sliding_window", kWindowBounds);
  if (auto types = ReadHfLayerTypes(config, reader, spec->layer_count); types.has_value()) {
    spec->layer_is_sliding = *std::move(types);
    return;
  }
  const uint32_t first = reader.Uint("max_window_layers", {0, 1 << 20}, 28);
  for (uint32_t layer = 0; layer < spec->layer_count; ++layer) {
    spec->layer_is_sliding.push_back(layer >= first);
  }
}

}  // namespace kvasir
