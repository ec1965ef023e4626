// Qwen3: RMSNorm over each head of q and k, and a head dimension of its own.

#include "kvasir/weights/families/decoder_fields.h"
#include "kvasir/weights/families/family.h"

namespace kvasir {

namespace {

Status ReadGguf(const GgufFile& file, ModelSpec* spec) {
  FieldReader reader(file, "qwen3.");
  ReadGgufDecoder(file, reader, /*rope_theta_default=*/10000, spec);
  spec->qk_norm = true;
  return reader.status();
}

Status ReadHf(const HfConfig& config, ModelSpec* spec) {
  FieldReader reader(config);
  ReadHfDecoder(config, reader, {.head_dim = 128, .context_length = 32768}, spec);
  spec->qk_norm = true;
  spec->qkv_bias = spec->output_bias = reader.Bool("attention_bias", false);
  ReadQwenWindow(config, reader, spec);
  return reader.status();
}

}  // namespace

const ModelFamily& Qwen3Family() {
  static const ModelFamily family = {
      .name = "qwen3",
      .gguf_architectures = {"qwen3"},
      .hf_model_types = {"qwen3"},
      .read_gguf = ReadGguf,
      .read_hf = ReadHf,
      .tensors = StandardTensorRules(),
  };
  return family;
}

}  // namespace kvasir
