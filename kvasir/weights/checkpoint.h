// Checkpoint: an opened model file or directory: its spec, its tensors by role, its tokenizer data.
// OpenCheckpoint reads a GGUF file or a Hugging Face directory, checks every length and offset
// before it is used, and checks that exactly the tensors that the family needs are there with the
// right shapes: whatever it returns, model/ can use without asking again. Immutable after opening;
// any thread may read. The tensors' bytes are mapped, not copied, and stay valid as long as the
// Checkpoint.

#ifndef KVASIR_WEIGHTS_CHECKPOINT_H_
#define KVASIR_WEIGHTS_CHECKPOINT_H_

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "kvasir/base/mapped_file.h"
#include "kvasir/base/status.h"
#include "kvasir/formats/dtype.h"
#include "kvasir/weights/model_spec.h"
#include "kvasir/weights/tokenizer_data.h"

namespace kvasir {

// What a tensor is for. Matrices are [rows = outputs, cols = inputs], vectors are [1, cols].
enum class TensorRole : uint8_t {
  kTokenEmbedding,  // [vocab, hidden]
  kOutput,          // [vocab, hidden]; absent when tied
  kFinalNorm,       // [1, hidden]
  kAttnNorm,        // [1, hidden], before attention
  kAttnQ,           // [q_heads * head_dim, hidden]
  kAttnK,           // [kv_heads * head_dim, hidden]
  kAttnV,           // [kv_heads * head_dim, hidden]
  kAttnO,           // [hidden, q_heads * head_dim]
  kAttnQBias,
  kAttnKBias,
  kAttnVBias,
  kAttnOBias,
  kAttnQNorm,     // [1, head_dim]
  kAttnKNorm,     // [1, head_dim]
  kAttnPostNorm,  // [1, hidden]
  kFfnNorm,       // [1, hidden], before the MLP
  kFfnPostNorm,   // [1, hidden]
  kFfnGate,       // [ffn, hidden]
  kFfnUp,         // [ffn, hidden]
  kFfnDown,       // [hidden, ffn]
};

struct TensorView {
  std::string name;  // as in the file, for messages
  DType dtype = DType::kF32;
  uint64_t rows = 0;
  uint64_t cols = 0;                 // a multiple of the dtype's block_elements
  std::span<const std::byte> bytes;  // row-major, rows * DTypeBytes(dtype, cols); may be unaligned
};

class Checkpoint {
 public:
  const ModelSpec& spec() const { return spec_; }
  const TokenizerData& tokenizer() const { return tokenizer_; }
  const std::string& path() const { return path_; }
  // Of the files that hold the tensors; none when it was made from bytes in memory.
  std::vector<std::string> file_paths() const;
  // "GGUF v3" or "Hugging Face, 2 shards": for `kvasir info`.
  const std::string& format_description() const { return format_description_; }

  // Null when the checkpoint has no such tensor. `layer` is 0 for the roles that exist once.
  const TensorView* Find(TensorRole role, uint32_t layer = 0) const {
    const auto it = tensors_.find({role, layer});
    return it == tensors_.end() ? nullptr : &it->second;
  }
  // Every tensor, in order of role and layer.
  const std::map<std::pair<TensorRole, uint32_t>, TensorView>& tensors() const { return tensors_; }
  // Bytes of all tensors in the file(s).
  uint64_t tensor_bytes() const;

 private:
  friend class CheckpointBuilder;

  ModelSpec spec_;
  TokenizerData tokenizer_;
  std::string path_;
  std::string format_description_;
  std::map<std::pair<TensorRole, uint32_t>, TensorView> tensors_;
  std::vector<MappedFile> files_;
};

// Opens `path`: a .gguf file, or a directory with config.json and safetensors. Errors are one
// sentence that names the field and the limit.
Result<std::unique_ptr<Checkpoint>> OpenCheckpoint(const std::string& path);

}  // namespace kvasir

#endif  // KVASIR_WEIGHTS_CHECKPOINT_H_
