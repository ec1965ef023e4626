#include "kvasir/python/rows.h"

#include <cstring>
#include <utility>

#include "kvasir/formats/float16.h"

namespace kvasir {

namespace {

// Whether the tensor [rows, heads, dim] is a matrix of f32 as it lies.
bool IsMatrix(const Tensor& tensor) {
  const int64_t rows = tensor.shape[0], heads = tensor.shape[1], dim = tensor.shape[2];
  return tensor.type == NumberType::kF32 && (heads <= 1 || tensor.strides[1] == dim) &&
         (dim <= 1 || tensor.strides[2] == 1) && (rows <= 1 || tensor.strides[0] >= heads * dim);
}

// Numbers from one row of the matrix to the next.
size_t RowStride(const Tensor& tensor) {
  const int64_t dense = tensor.shape[1] * tensor.shape[2];
  return size_t(tensor.shape[0] <= 1 ? dense : tensor.strides[0]);
}

std::byte* HeadAt(const Tensor& tensor, size_t row, size_t head) {
  const int64_t bytes = int64_t(KvRowTypeBytes(RowType(tensor)));
  return tensor.data +
         bytes * (int64_t(row) * tensor.strides[0] + int64_t(head) * tensor.strides[1]);
}

// copy_head(head of the tensor, head of the scratch) for all heads of all rows.
template <class CopyHead>
void ForHeads(const Tensor& tensor, ThreadPool& pool, const CopyHead& copy_head) {
  const size_t rows = size_t(tensor.shape[0]), heads = size_t(tensor.shape[1]);
  const size_t dim = size_t(tensor.shape[2]);
  const auto copy_row = [&](size_t row) {
    for (size_t head = 0; head < heads; ++head) {
      copy_head(HeadAt(tensor, row, head), (row * heads + head) * dim);
    }
  };
  constexpr size_t kParallelNumbers = 16384;  // ~10 us of work
  if (rows * heads * dim < kParallelNumbers) {
    for (size_t row = 0; row < rows; ++row) copy_row(row);
  } else {
    pool.ParallelFor(rows, [&](size_t row, size_t) { copy_row(row); });
  }
}

}  // namespace

QueryRows::QueryRows(Tensor tensor, int64_t rows, int64_t heads, int64_t dim)
    : tensor_(std::move(tensor)) {
  CheckNumbers(tensor_, 3, "[rows, heads, head_dim]");
  CheckShape(tensor_, {rows, heads, dim});
}

MatrixView<const float> QueryRows::Read(ThreadPool& pool, std::vector<float>* scratch) const {
  const size_t rows = size_t(tensor_.shape[0]), dim = size_t(tensor_.shape[2]);
  const size_t columns = size_t(tensor_.shape[1]) * dim;
  if (IsMatrix(tensor_)) {
    return {reinterpret_cast<const float*>(tensor_.data), rows, columns, RowStride(tensor_)};
  }
  scratch->resize(rows * columns);
  ForHeads(tensor_, pool, [&](const std::byte* from, size_t at) {
    float* to = scratch->data() + at;
    switch (tensor_.type) {
      case NumberType::kF32:
        std::memcpy(to, from, dim * sizeof(float));
        break;
      case NumberType::kBF16:
        for (size_t d = 0; d < dim; ++d) to[d] = LoadBF16(from + 2 * d);
        break;
      default:
        for (size_t d = 0; d < dim; ++d) to[d] = LoadF16(from + 2 * d);
    }
  });
  return {scratch->data(), rows, columns};
}

OutputRows::OutputRows(Tensor tensor, int64_t rows, int64_t heads, int64_t dim)
    : tensor_(std::move(tensor)) {
  if (!tensor_.is_writable) ThrowInvalid(tensor_.name + " is read-only");
  if (dim > 0) {
    CheckNumbers(tensor_, 3, "[rows, heads, head_dim]");
    CheckShape(tensor_, {rows, heads, dim});
    return;
  }
  CheckNumbers(tensor_, 2, "[rows, heads]");
  CheckShape(tensor_, {rows, heads});
  if (tensor_.type != NumberType::kF32) {
    ThrowInvalid(tensor_.name + " has dtype " + tensor_.type_name + ", allowed is float32");
  }
  tensor_.shape = {rows, 1, heads};
  tensor_.strides = {tensor_.strides[0], heads, tensor_.strides[1]};
}

MatrixView<float> OutputRows::Memory(std::vector<float>* scratch) const {
  const size_t rows = size_t(tensor_.shape[0]);
  const size_t columns = size_t(tensor_.shape[1] * tensor_.shape[2]);
  if (IsMatrix(tensor_)) {
    return {reinterpret_cast<float*>(tensor_.data), rows, columns, RowStride(tensor_)};
  }
  scratch->resize(rows * columns);
  return {scratch->data(), rows, columns};
}

void OutputRows::Finish(ThreadPool& pool, const std::vector<float>& scratch) const {
  if (IsMatrix(tensor_)) return;
  const size_t dim = size_t(tensor_.shape[2]);
  ForHeads(tensor_, pool, [&](std::byte* to, size_t at) {
    const float* from = scratch.data() + at;
    switch (tensor_.type) {
      case NumberType::kF32:
        std::memcpy(to, from, dim * sizeof(float));
        break;
      case NumberType::kBF16:
        for (size_t d = 0; d < dim; ++d) StoreU16(to + 2 * d, BF16FromF32(from[d]));
        break;
      default:
        for (size_t d = 0; d < dim; ++d) StoreU16(to + 2 * d, F16FromF32(from[d]));
    }
  });
}

}  // namespace kvasir
