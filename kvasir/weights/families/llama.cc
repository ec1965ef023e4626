// Llama 2 and 3, SmolLM2, and in GGUF also Mistral, which llama.cpp's converter files under the
// architecture llama.

#include "kvasir/weights/families/decoder_fields.h"
#include "kvasir/weights/families/family.h"
#include "kvasir/weights/families/spec_bounds.h"

namespace kvasir {

namespace {

Status ReadGguf(const GgufFile& file, ModelSpec* spec) {
  FieldReader reader(file, "llama.");
  ReadGgufDecoder(file, reader, /*rope_theta_default=*/10000, spec);
  spec->rope_rows_interleaved = true;
  // Nothing in the metadata tells of biases: the tensors are there or not.
  spec->qkv_bias = file.FindTensor("blk.0.attn_q.bias") != nullptr;
  spec->output_bias = file.FindTensor("blk.0.attn_output.bias") != nullptr;
  if (reader.Has("attention.sliding_window")) {
    spec->sliding_window = reader.Uint("attention.sliding_window", kWindowBounds);
    spec->layer_is_sliding.assign(spec->layer_count, true);
  }
  return reader.status();
}

Status ReadHf(const HfConfig& config, ModelSpec* spec) {
  FieldReader reader(config);
  ReadHfDecoder(config, reader, {.context_length = 2048}, spec);
  spec->qkv_bias = spec->output_bias = reader.Bool("attention_bias", false);
  if (reader.Bool("mlp_bias", false)) {
    reader.Fail(Unimplemented("mlp_bias is true, but biases in the MLP are not supported"));
  }
  return reader.status();
}

}  // namespace

const ModelFamily& LlamaFamily() {
  static const ModelFamily family = {
      .name = "llama",
      .gguf_architectures = {"llama"},
      .hf_model_types = {"llama"},
      .read_gguf = ReadGguf,
      .read_hf = ReadHf,
      .tensors = StandardTensorRules(),
  };
  return family;
}

}  // namespace kvasir
