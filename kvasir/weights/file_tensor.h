// FileTensor: a tensor as its file describes it, before anybody knows what it is for. Made by the
// GGUF and safetensors readers, which have checked that the bytes lie inside the file and fit type
// and shape. The bytes are those of the mapped file and live as long as it.

#ifndef KVASIR_WEIGHTS_FILE_TENSOR_H_
#define KVASIR_WEIGHTS_FILE_TENSOR_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "kvasir/formats/dtype.h"

namespace kvasir {

struct FileTensor {
  std::string name;
  std::optional<DType> dtype;   // absent for types that no model of ours uses, e.g. I64
  std::string type_name;        // as the file's format calls it, for messages
  std::vector<uint64_t> shape;  // outermost dimension first; GGUF stores the reverse
  std::span<const std::byte> bytes;
};

}  // namespace kvasir

#endif  // KVASIR_WEIGHTS_FILE_TENSOR_H_
