// Which type each tensor of a quantised file has. Vectors (norms, biases) stay F32: they are small
// and touch everything. The matrix that makes the logits, which is the embedding where the two are
// one, keeps more bits, as llama.cpp has it: Q8_0 in a Q8_0 file, else Q6_K. All other matrices get
// the type that is asked for. A row that is no multiple of the type's block falls back: Q4_K to
// Q5_0 (llama.cpp's choice too), Q6_K to Q8_0, those of 32 numbers to F16. Pure functions.

#ifndef KVASIR_QUANTIZE_TENSOR_TYPES_H_
#define KVASIR_QUANTIZE_TENSOR_TYPES_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "kvasir/base/matrix_view.h"
#include "kvasir/base/status.h"
#include "kvasir/base/thread_pool.h"
#include "kvasir/formats/dtype.h"
#include "kvasir/weights/checkpoint.h"
#include "kvasir/weights/gguf_writer.h"

namespace kvasir {

struct PlannedTensor {
  TensorRole role = TensorRole::kTokenEmbedding;
  uint32_t layer = 0;
  const TensorView* source = nullptr;  // of the checkpoint
  DType wanted = DType::kF32;          // what the row length may have forbidden
  GgufTensorInfo info;                 // name, type and shape in the file
};

// Q8_0, Q4_0 or Q4_K from its name in any case; nullopt for all others.
std::optional<DType> QuantizedTypeFromName(std::string_view name);
// llama.cpp's number of a file of that type.
uint32_t GgufFileType(DType type);

// In the order of the file: embedding, layers, final norm, output. The tensors point into
// `checkpoint`. REQUIRES a type of QuantizedTypeFromName.
std::vector<PlannedTensor> PlanTensors(const Checkpoint& checkpoint, DType type);

// The first matrix that is quantised already; null when there is none.
const TensorView* FindQuantized(const Checkpoint& checkpoint);

// kDataLoss names the tensor when one of its numbers is not finite or beyond what f16, the type of
// all scales, can hold.
Status CheckRepresentable(MatrixView<const float> numbers, const std::string& name,
                          ThreadPool& pool);

}  // namespace kvasir

#endif  // KVASIR_QUANTIZE_TENSOR_TYPES_H_
