#include "kvasir/engine/block_fingerprint.h"

#include <string>

#include "kvasir/formats/kv_codec.h"
#include "kvasir/kv/block_key.h"

namespace kvasir {
namespace {

// Rises whenever the same fields come to mean other bytes: the layout of a block, the arithmetic of
// a kernel.
constexpr uint64_t kFormatVersion = 1;

void AddRope(const std::string& name, const RopeSpec& rope, FingerprintBuilder* builder) {
  builder->Number(name + ".rotary_dim", rope.rotary_dim)
      .Floats(name + ".inverse_frequency", rope.inverse_frequency);
}

void AddSpec(const ModelSpec& spec, FingerprintBuilder* builder) {
  builder->Text("family", spec.family)
      .Number("layer_count", spec.layer_count)
      .Number("hidden_size", spec.hidden_size)
      .Number("ffn_size", spec.ffn_size)
      .Number("q_head_count", spec.q_head_count)
      .Number("kv_head_count", spec.kv_head_count)
      .Number("head_dim", spec.head_dim)
      .Number("vocab_size", spec.vocab_size)
      .Float("rms_norm_eps", spec.rms_norm_eps)
      .Number("activation", uint64_t(spec.activation))
      .Number("qkv_bias", spec.qkv_bias)
      .Number("output_bias", spec.output_bias)
      .Number("qk_norm", spec.qk_norm)
      .Number("post_norms", spec.post_norms)
      .Float("norm_weight_offset", spec.norm_weight_offset)
      .Float("embedding_scale", spec.embedding_scale)
      .Float("attention_scale", spec.attention_scale)
      .Float("attention_soft_cap", spec.attention_soft_cap)
      .Number("rope_rows_interleaved", spec.rope_rows_interleaved)
      .Number("sliding_window", spec.sliding_window);
  std::string sliding_layers;
  for (uint32_t layer = 0; layer < spec.layer_count; ++layer) {
    sliding_layers += spec.IsSliding(layer) ? '1' : '0';
  }
  builder->Text("sliding_layers", sliding_layers);
  AddRope("rope", spec.rope, builder);
  AddRope("sliding_rope", spec.sliding_rope, builder);
}

}  // namespace

Digest BlockFingerprint(const ModelSpec& spec, const KvBlockLayout& layout,
                        std::string_view model_identity, std::string_view numerics_class) {
  std::string formats;
  for (uint32_t layer = 0; layer < layout.layer_count; ++layer) {
    formats += KvFormatsName(layout.formats(layer)) + ",";
  }
  FingerprintBuilder builder;
  builder.Number("format_version", kFormatVersion)
      .Text("model_identity", model_identity)
      .Text("model_form", "plain")
      .Text("kv_formats", formats)
      .Number("kv_codec_version", layout.quantized() ? kKvCodecVersion : 0)
      .Text("kv_rotation", layout.rotates() ? kKvRotationName : "none")
      .Number("kv_open_blocks", layout.open_blocks)
      .Number("kv_layer_count", layout.layer_count)
      .Number("kv_block_tokens", kKvBlockTokens)
      .Number("kv_block_bytes", layout.block_bytes())
      .Text("numerics_class", numerics_class);
  AddSpec(spec, &builder);
  return builder.Finish();
}

}  // namespace kvasir
