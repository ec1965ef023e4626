// Gemma 3, the language model: norms before and after attention and MLP, norms of q and k, GeGLU,
// scaled embeddings, and sliding-window layers with a RoPE of their own between full ones.

#include <cmath>

#include "kvasir/weights/families/decoder_fields.h"
#include "kvasir/weights/families/family.h"
#include "kvasir/weights/families/spec_bounds.h"
#include "kvasir/weights/rope.h"

namespace kvasir {

namespace {

constexpr float kThetaFull = 1000000, kThetaSliding = 10000;
constexpr uint32_t kPatternDefault = 6;  // five sliding layers, then a full one
constexpr Bounds<uint32_t> kPatternBounds = {1, 1024};

void SetCommon(ModelSpec* spec) {
  spec->activation = Activation::kGeluTanh;
  spec->qk_norm = true;
  spec->post_norms = true;
  spec->embedding_scale = std::sqrt(static_cast<float>(spec->hidden_size));
}

// Every `pattern`-th layer attends to everything.
std::vector<bool> SlidingLayers(uint32_t layer_count, uint32_t pattern) {
  std::vector<bool> sliding(layer_count);
  for (uint32_t layer = 0; layer < layer_count; ++layer) {
    sliding[layer] = (layer + 1) % pattern != 0;
  }
  return sliding;
}

// Absent in most files, else the period or a switch for each layer.
void ReadGgufPattern(const GgufFile& file, FieldReader& reader, ModelSpec* spec) {
  constexpr std::string_view kKey = "attention.sliding_window_pattern";
  const Result<std::vector<bool>> layers = file.Bools("gemma3." + std::string(kKey));
  if (layers.ok() && layers->size() == spec->layer_count) {
    spec->layer_is_sliding = *layers;
  } else {
    const uint32_t pattern = reader.Uint(kKey, kPatternBounds, kPatternDefault);
    spec->layer_is_sliding = SlidingLayers(spec->layer_count, pattern);
  }
}

// The standard names, but for the norms: here the one after attention is no longer the MLP's.
std::vector<TensorRule> TensorRules() {
  std::vector<TensorRule> rules = StandardTensorRules();
  for (TensorRule& rule : rules) {
    if (rule.role == TensorRole::kFfnNorm) {
      rule.hf = "model.layers.#.pre_feedforward_layernorm.weight";
    }
  }
  rules.push_back({TensorRole::kAttnPostNorm, "blk.#.post_attention_norm.weight",
                   "model.layers.#.post_attention_layernorm.weight"});
  rules.push_back({TensorRole::kFfnPostNorm, "blk.#.post_ffw_norm.weight",
                   "model.layers.#.post_feedforward_layernorm.weight"});
  return rules;
}

Status ReadGguf(const GgufFile& file, ModelSpec* spec) {
  FieldReader reader(file, "gemma3.");
  ReadGgufDecoder(file, reader, kThetaFull, spec);
  SetCommon(spec);
  // The converter has already added 1 to the norms. It leaves out the scale of the scores, which is
  // that of the head dimension in all sizes but the largest.
  constexpr uint32_t kLargestLayerCount = 62;
  if (spec->layer_count == kLargestLayerCount) {
    spec->attention_scale =
        1.0f / std::sqrt(static_cast<float>(spec->hidden_size) / spec->q_head_count);
  }
  spec->attention_scale = reader.Float("attention.scale", kScaleBounds, spec->attention_scale);
  spec->attention_soft_cap = reader.Float("attn_logit_softcapping", kSoftCapBounds, 0.0f);
  spec->logit_soft_cap = reader.Float("final_logit_softcapping", kSoftCapBounds, 0.0f);

  spec->sliding_window = reader.Uint("attention.sliding_window", kWindowBounds, 1024);
  ReadGgufPattern(file, reader, spec);
  RopeParameters sliding = {.rotary_dim = spec->rope.rotary_dim};
  sliding.theta = reader.Float("rope.freq_base_swa", kRopeThetaBounds, kThetaSliding);
  if (!reader.status().ok()) return reader.status();
  spec->sliding_rope = MakeRope(sliding);
  return OkStatus();
}

Status ReadHf(const HfConfig& config, ModelSpec* spec) {
  FieldReader reader(config);
  ReadHfDecoder(config, reader,
                {.vocab_size = 262208,
                 .q_head_count = 8,
                 .kv_head_count = 4,
                 .head_dim = 256,
                 .context_length = 131072,
                 .rope_theta = kThetaFull,
                 .tied_embeddings = true,
                 .activation_key = "hidden_activation",
                 .activation = "gelu_pytorch_tanh"},
                spec);
  SetCommon(spec);
  spec->norm_weight_offset = 1;
  spec->qkv_bias = spec->output_bias = reader.Bool("attention_bias", false);
  const float scalar = reader.Float("query_pre_attn_scalar", kScaleBounds, 256.0f);
  spec->attention_scale = 1.0f / std::sqrt(scalar);
  spec->attention_soft_cap = reader.Float("attn_logit_softcapping", kSoftCapBounds, 0.0f);
  spec->logit_soft_cap = reader.Float("final_logit_softcapping", kSoftCapBounds, 0.0f);
  if (reader.Bool("use_bidirectional_attention", false)) {
    reader.Fail(Unimplemented("use_bidirectional_attention is true, which is not supported"));
  }

  spec->sliding_window = reader.Uint("sliding_window", kWindowBounds, 4096);
  auto layers = ReadHfLayerTypes(config, reader, spec->layer_count);
  const uint32_t pattern = reader.Uint("sliding_window_pattern", kPatternBounds, kPatternDefault);
  spec->layer_is_sliding =
      layers.has_value() ? *std::move(layers) : SlidingLayers(spec->layer_count, pattern);
  const float theta = reader.Float("rope_local_base_freq", kRopeThetaBounds, kThetaSliding);
  const RopeParameters sliding = ReadHfSlidingRope(config, reader, spec->rope.rotary_dim, theta);
  if (!reader.status().ok()) return reader.status();
  spec->sliding_rope = MakeRope(sliding);
  return OkStatus();
}

}  // namespace

const ModelFamily& Gemma3Family() {
  static const ModelFamily family = {
      .name = "gemma3",
      .gguf_architectures = {"gemma3"},
      .hf_model_types = {"gemma3_text", "gemma3"},
      .read_gguf = ReadGguf,
      .read_hf = ReadHf,
      .tensors = TensorRules(),
  };
  return family;
}

}  // namespace kvasir
