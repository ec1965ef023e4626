// The fields that the description of every decoder has, in GGUF and in config.json: sizes, head
// counts, epsilon, and the checks between them. A family reads these first, then its own. Pure
// functions; errors go to the reader.

#ifndef KVASIR_WEIGHTS_FAMILIES_DECODER_FIELDS_H_
#define KVASIR_WEIGHTS_FAMILIES_DECODER_FIELDS_H_

#include <cstdint>
#include <optional>
#include <string_view>

#include "kvasir/weights/field_reader.h"
#include "kvasir/weights/gguf.h"
#include "kvasir/weights/hf_config.h"
#include "kvasir/weights/model_spec.h"

namespace kvasir {

// What a config.json may leave out because the family's class in `transformers` has a default.
struct HfDefaults {
  std::optional<uint32_t> vocab_size = std::nullopt;
  std::optional<uint32_t> q_head_count = std::nullopt;
  std::optional<uint32_t> kv_head_count = std::nullopt;  // absent: as many as query heads
  std::optional<uint32_t> head_dim = std::nullopt;       // absent: hidden_size / q_head_count
  std::optional<uint32_t> context_length = std::nullopt;
  float rms_norm_eps = 1e-6f;
  float rope_theta = 10000;
  bool tied_embeddings = false;
  std::string_view activation_key = "hidden_act";
  std::string_view activation = "silu";  // the only one that the family may have
};

// Sizes, norms, attention_scale = head_dim^-0.5 and `rope`, with sliding_rope the same, from GGUF
// fields named "<architecture>.<key>"; rope_freqs.weight is applied when the file has it. `reader`
// must read from `file` with that prefix.
void ReadGgufDecoder(const GgufFile& file, FieldReader& reader, float rope_theta_default,
                     ModelSpec* spec);

// The same from config.json, and tied_embeddings. `reader` must read from `config`.
void ReadHfDecoder(const HfConfig& config, FieldReader& reader, const HfDefaults& defaults,
                   ModelSpec* spec);

// Which layers slide, from config.json's "layer_types"; absent when there is none. Entries must be
// "sliding_attention" or "full_attention", one for each layer.
std::optional<std::vector<bool>> ReadHfLayerTypes(const HfConfig& config, FieldReader& reader,
                                                  uint32_t layer_count);

// Qwen's sliding window: used only with use_sliding_window, in the layers from max_window_layers on
// unless layer_types says which.
void ReadQwenWindow(const HfConfig& config, FieldReader& reader, ModelSpec* spec);

}  // namespace kvasir

#endif  // KVASIR_WEIGHTS_FAMILIES_DECODER_FIELDS_H_
