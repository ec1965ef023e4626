// Qwen2 and Qwen2.5: biases on q, k and v.

#include "kvasir/weights/families/decoder_fields.h"
#include "kvasir/weights/families/family.h"

namespace kvasir {

namespace {

Status ReadGguf(const GgufFile& file, ModelSpec* spec) {
  FieldReader reader(file, "qwen2.");
  ReadGgufDecoder(file, reader, /*rope_theta_default=*/10000, spec);
  spec->qkv_bias = true;
  return reader.status();
}

Status ReadHf(const HfConfig& config, ModelSpec* spec) {
  FieldReader reader(config);
  ReadHfDecoder(config, reader, {.context_length = 32768}, spec);
  spec->qkv_bias = true;
  ReadQwenWindow(config, reader, spec);
  return reader.status();
}

}  // namespace

const ModelFamily& Qwen2Family() {
  static const ModelFamily family = {
      .name = "qwen2",
      .gguf_architectures = {"qwen2"},
      .hf_model_types = {"qwen2"},
      .read_gguf = ReadGguf,
      .read_hf = ReadHf,
      .tensors = StandardTensorRules(),
  };
  return family;
}

}  // namespace kvasir
