// GgufDescription: everything but the numbers that a GGUF file of a checkpoint's network holds: the
// metadata, the names of the tensors, and how their rows lie. A network that came from GGUF keeps
// its own metadata; one from a Hugging Face directory gets what llama.cpp's converter would write,
// so that both our reader and llama.cpp know it. Pure functions and values; any thread.

#ifndef KVASIR_WEIGHTS_GGUF_DESCRIPTION_H_
#define KVASIR_WEIGHTS_GGUF_DESCRIPTION_H_

#include <cstdint>
#include <string>
#include <vector>

#include "kvasir/base/status.h"
#include "kvasir/weights/checkpoint.h"
#include "kvasir/weights/gguf_writer.h"

namespace kvasir {

struct GgufDescription {
  GgufMetadata metadata;
  // [rotary_dim / 2] divisors of the rotary frequencies, the tensor rope_freqs.weight; empty when
  // the file has none.
  std::vector<float> rope_freqs;
  // Row r of q in the file is row q_row_order[r] of the checkpoint, likewise k, with their biases.
  // Empty: as they are.
  std::vector<uint32_t> q_row_order;
  std::vector<uint32_t> k_row_order;
  // Added to every norm weight.
  float norm_weight_offset = 0;
};

// `vocabulary` is the text side in GGUF's form, of a checkpoint from a Hugging Face directory; it
// may be empty. `file_type` is llama.cpp's number for the types of most tensors.
// kUnimplemented names what GGUF cannot say of the network.
Result<GgufDescription> DescribeAsGguf(const Checkpoint& checkpoint,
                                       const TokenizerData& vocabulary, uint32_t file_type);

}  // namespace kvasir

#endif  // KVASIR_WEIGHTS_GGUF_DESCRIPTION_H_
