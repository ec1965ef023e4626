// From a file's tensors to roles: which tensors a ModelSpec needs, which shape each must have, and
// what the file calls it. Missing, surplus and misshapen tensors are all named in one message. Pure
// functions.

#ifndef KVASIR_WEIGHTS_TENSOR_MAP_H_
#define KVASIR_WEIGHTS_TENSOR_MAP_H_

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kvasir/base/status.h"
#include "kvasir/weights/checkpoint.h"
#include "kvasir/weights/file_tensor.h"
#include "kvasir/weights/model_spec.h"

namespace kvasir {

// A role's name in both kinds of files; '#' stands for the layer's number.
struct TensorRule {
  TensorRole role;
  std::string_view gguf;
  std::string_view hf;
};

enum class NameStyle { kGguf, kHuggingFace };

// The names that most families share: all roles but the two post norms.
std::vector<TensorRule> StandardTensorRules();

// The name of a role's tensor in GGUF files of any family.
std::string GgufTensorName(TensorRole role, uint32_t layer);

// True for roles that exist once for each layer.
bool IsPerLayer(TensorRole role);
// Whether a model of this spec has the tensor at all.
bool NeedsTensor(const ModelSpec& spec, TensorRole role);

struct TensorShape {
  uint64_t rows;
  uint64_t cols;
  bool is_vector;  // one dimension in the file
};
TensorShape ExpectedShape(const ModelSpec& spec, TensorRole role);

// The tensors that `spec` needs, found among `files` by the names of `rules`. kDataLoss names those
// that are missing, surplus or of the wrong shape.
Result<std::map<std::pair<TensorRole, uint32_t>, TensorView>> MapTensors(
    const ModelSpec& spec, std::span<const TensorRule> rules, NameStyle style,
    std::span<const FileTensor> files);

}  // namespace kvasir

#endif  // KVASIR_WEIGHTS_TENSOR_MAP_H_
