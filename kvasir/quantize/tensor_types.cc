#include "kvasir/quantize/tensor_types.h"

#include <atomic>
#include <cmath>
#include <utility>

#include "kvasir/weights/tensor_map.h"

namespace kvasir {

namespace {

bool Fits(DType dtype, uint64_t cols) { return cols % GetDTypeInfo(dtype).block_elements == 0; }

DType Fallback(DType wanted, uint64_t cols) {
  while (!Fits(wanted, cols)) {
    wanted = wanted == DType::kQ4_K   ? DType::kQ5_0
             : wanted == DType::kQ6_K ? DType::kQ8_0
                                      : DType::kF16;
  }
  return wanted;
}

DType Wanted(const ModelSpec& spec, TensorRole role, bool is_vector, DType type) {
  if (is_vector) return DType::kF32;
  const bool makes_logits =
      role == TensorRole::kOutput || (role == TensorRole::kTokenEmbedding && spec.tied_embeddings);
  if (!makes_logits) return type;
  return type == DType::kQ8_0 ? DType::kQ8_0 : DType::kQ6_K;
}

}  // namespace

std::optional<DType> QuantizedTypeFromName(std::string_view name) {
  const std::optional<DType> dtype = DTypeFromName(name);
  for (const DType known : {DType::kQ8_0, DType::kQ4_0, DType::kQ4_K}) {
    if (dtype == known) return dtype;
  }
  return std::nullopt;
}

uint32_t GgufFileType(DType type) {
  switch (type) {
    case DType::kQ4_0:
      return 2;
    case DType::kQ4_K:
      return 14;  // "Q4_K small": Q4_K throughout
    default:
      return 7;
  }
}

std::vector<PlannedTensor> PlanTensors(const Checkpoint& checkpoint, DType type) {
  const ModelSpec& spec = checkpoint.spec();
  std::vector<PlannedTensor> tensors;
  const auto add = [&](TensorRole role, uint32_t layer) {
    const TensorView* source = checkpoint.Find(role, layer);
    if (source == nullptr) return;
    PlannedTensor tensor = {role, layer, source, DType::kF32, {}};
    const bool is_vector = ExpectedShape(spec, role).is_vector;
    tensor.wanted = Wanted(spec, role, is_vector, type);
    tensor.info = {GgufTensorName(role, layer), Fallback(tensor.wanted, source->cols),
                   is_vector ? std::vector<uint64_t>{source->cols}
                             : std::vector<uint64_t>{source->rows, source->cols}};
    tensors.push_back(std::move(tensor));
  };
  add(TensorRole::kTokenEmbedding, 0);
  for (uint32_t layer = 0; layer < spec.layer_count; ++layer) {
    for (size_t role = 0; role <= static_cast<size_t>(TensorRole::kFfnDown); ++role) {
      if (IsPerLayer(static_cast<TensorRole>(role))) add(static_cast<TensorRole>(role), layer);
    }
  }
  add(TensorRole::kFinalNorm, 0);
  add(TensorRole::kOutput, 0);
  return tensors;
}

const TensorView* FindQuantized(const Checkpoint& checkpoint) {
  for (const auto& [key, tensor] : checkpoint.tensors()) {
    if (GetDTypeInfo(tensor.dtype).block_elements > 1) return &tensor;
  }
  return nullptr;
}

Status CheckRepresentable(MatrixView<const float> numbers, const std::string& name,
                          ThreadPool& pool) {
  constexpr float kMagnitudeMax = 65504;
  std::atomic<bool> good{true};
  pool.ParallelFor(numbers.rows(), [&](size_t r, size_t) {
    bool row_good = true;
    for (const float x : numbers.row_span(r)) row_good &= std::fabs(x) <= kMagnitudeMax;
    if (!row_good) good = false;
  });
  if (good) return OkStatus();
  return DataLoss("tensor " + name +
                  " has a number that is not finite or beyond 65504, the largest f16");
}

}  // namespace kvasir
