// Mistral: Llama with a sliding window in the first version, without one since. GGUF files of it
// have the architecture llama.

#include "kvasir/weights/families/decoder_fields.h"
#include "kvasir/weights/families/family.h"
#include "kvasir/weights/families/spec_bounds.h"

namespace kvasir {

namespace {

Status ReadHf(const HfConfig& config, ModelSpec* spec) {
  FieldReader reader(config);
  ReadHfDecoder(config, reader, {.kv_head_count = 8, .context_length = 131072}, spec);
  // The class's default is a window; models without one say null.
  const bool has_key = config.FindJson("sliding_window") != nullptr;
  if (!has_key || reader.Has("sliding_window")) {
    spec->sliding_window = reader.Uint("sliding_window", kWindowBounds, 4096);
    spec->layer_is_sliding.assign(spec->layer_count, true);
  }
  return reader.status();
}

}  // namespace

const ModelFamily& MistralFamily() {
  static const ModelFamily family = {
      .name = "mistral",
      .gguf_architectures = {},
      .hf_model_types = {"mistral"},
      .read_gguf = nullptr,
      .read_hf = ReadHf,
      .tensors = StandardTensorRules(),
  };
  return family;
}

}  // namespace kvasir
