#include "kvasir/model/activations.h"

#include <algorithm>

namespace kvasir {

namespace {

// Rows of one task: a row of a few thousand numbers takes a microsecond or two, a barrier about
// one.
constexpr size_t kRowsPerTask = 8;

size_t WidestInput(const ModelSpec& spec) {
  return std::max({spec.hidden_size, spec.q_head_count * spec.head_dim, spec.ffn_size});
}

}  // namespace

void ForEachRow(size_t row_count, ThreadPool& pool, FunctionRef<void(size_t row)> body) {
  const size_t task_count = (row_count + kRowsPerTask - 1) / kRowsPerTask;
  pool.ParallelFor(task_count, [&](size_t task, size_t) {
    const size_t end = std::min(row_count, (task + 1) * kRowsPerTask);
    for (size_t r = task * kRowsPerTask; r < end; ++r) body(r);
  });
}

Result<Activations> Activations::Create(const ModelSpec& spec, size_t row_count_max,
                                        size_t thread_count) {
  Activations a;
  a.hidden_cols_ = spec.hidden_size;
  a.q_cols_ = size_t{spec.q_head_count} * spec.head_dim;
  a.kv_cols_ = size_t{spec.kv_head_count} * spec.head_dim;
  a.ffn_cols_ = spec.ffn_size;
  a.angle_cols_ = std::max(spec.rope.rotary_dim, spec.sliding_rope.rotary_dim);
  const auto allocate = [&](AlignedBuffer* buffer, size_t cols) -> Status {
    KVASIR_ASSIGN_OR_RETURN(*buffer, AlignedBuffer::Allocate(row_count_max * cols * sizeof(float)));
    return OkStatus();
  };
  KVASIR_RETURN_IF_ERROR(allocate(&a.hidden_, a.hidden_cols_));
  KVASIR_RETURN_IF_ERROR(allocate(&a.branch_, a.hidden_cols_));
  KVASIR_RETURN_IF_ERROR(allocate(&a.normed_, a.hidden_cols_));
  KVASIR_RETURN_IF_ERROR(allocate(&a.q_, a.q_cols_));
  KVASIR_RETURN_IF_ERROR(allocate(&a.k_, a.kv_cols_));
  KVASIR_RETURN_IF_ERROR(allocate(&a.v_, a.kv_cols_));
  KVASIR_RETURN_IF_ERROR(allocate(&a.attended_, a.q_cols_));
  KVASIR_RETURN_IF_ERROR(allocate(&a.gate_, a.ffn_cols_));
  KVASIR_RETURN_IF_ERROR(allocate(&a.up_, a.ffn_cols_));
  KVASIR_RETURN_IF_ERROR(allocate(&a.angles_, a.angle_cols_));
  KVASIR_RETURN_IF_ERROR(allocate(&a.sliding_angles_, a.angle_cols_));
  KVASIR_RETURN_IF_ERROR(a.quantized_.Reserve(
      row_count_max, std::max<size_t>(WidestInput(spec), 2 * size_t{spec.hidden_size})));
  KVASIR_ASSIGN_OR_RETURN(a.gemm_scratch_, GemmScratch::Create(WidestInput(spec), thread_count));
  return a;
}

size_t Activations::ByteCount(const ModelSpec& spec, size_t row_count_max) {
  const size_t q = size_t{spec.q_head_count} * spec.head_dim;
  const size_t kv = size_t{spec.kv_head_count} * spec.head_dim;
  const size_t angle = std::max(spec.rope.rotary_dim, spec.sliding_rope.rotary_dim);
  const size_t floats =
      3 * size_t{spec.hidden_size} + 2 * q + 2 * kv + 2 * size_t{spec.ffn_size} + 2 * angle;
  // A code and half a byte of group sums.
  const size_t quantized_bytes =
      std::max<size_t>(WidestInput(spec), 2 * size_t{spec.hidden_size}) * 3 / 2;
  return row_count_max * (floats * sizeof(float) + quantized_bytes);
}

GemmInput Activations::Prepare(MatrixView<const float> rows,
                               std::initializer_list<const PackedWeights*> weights,
                               ThreadPool& pool, FunctionRef<void(size_t row)> fill) {
  GemmInput input{rows, nullptr, rows.rows()};
  const bool quantize = std::any_of(weights.begin(), weights.end(),
                                    [](const PackedWeights* w) { return w->quantized(); });
  if (quantize) {
    quantized_.Resize(rows.rows(), rows.cols());
    input.quantized = &quantized_;
  }
  ForEachRow(rows.rows(), pool, [&](size_t row) {
    fill(row);
    if (quantize) QuantizeRow(rows.row(row), row, &quantized_);
  });
  return input;
}

GemmInput Activations::PrepareFine(MatrixView<const float> rows, const PackedWeights& weights,
                                   ThreadPool& pool, FunctionRef<void(size_t row)> fill) {
  if (!weights.quantized()) return Prepare(rows, {&weights}, pool, fill);
  quantized_.Resize(2 * rows.rows(), rows.cols());
  ForEachRow(rows.rows(), pool, [&](size_t row) {
    fill(row);
    QuantizeRowInTwo(rows.row(row), row, &quantized_);
  });
  return {{}, &quantized_, 2 * rows.rows()};
}

}  // namespace kvasir
