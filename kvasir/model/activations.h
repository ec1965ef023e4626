// Activations: the buffers that one Forward works in, sized once for the largest batch, and the
// ways in which rows become the input of a matrix product. Owned by the model; used by the thread
// that runs Forward and by the pool.

#ifndef KVASIR_MODEL_ACTIVATIONS_H_
#define KVASIR_MODEL_ACTIVATIONS_H_

#include <cstddef>
#include <initializer_list>

#include "kvasir/base/aligned_buffer.h"
#include "kvasir/base/matrix_view.h"
#include "kvasir/base/status.h"
#include "kvasir/base/thread_pool.h"
#include "kvasir/kernels/gemm.h"
#include "kvasir/kernels/quantized_rows.h"
#include "kvasir/weights/model_spec.h"

namespace kvasir {

class Activations {
 public:
  // Buffers for `row_count_max` rows on the threads of a pool of `thread_count`.
  static Result<Activations> Create(const ModelSpec& spec, size_t row_count_max,
                                    size_t thread_count);
  // Bytes that Create would take.
  static size_t ByteCount(const ModelSpec& spec, size_t row_count_max);

  // The first `rows` rows of each buffer.
  MatrixView<float> hidden(size_t rows) const { return View(hidden_, rows, hidden_cols_); }
  MatrixView<float> branch(size_t rows) const { return View(branch_, rows, hidden_cols_); }
  MatrixView<float> normed(size_t rows) const { return View(normed_, rows, hidden_cols_); }
  MatrixView<float> q(size_t rows) const { return View(q_, rows, q_cols_); }
  MatrixView<float> k(size_t rows) const { return View(k_, rows, kv_cols_); }
  MatrixView<float> v(size_t rows) const { return View(v_, rows, kv_cols_); }
  MatrixView<float> attended(size_t rows) const { return View(attended_, rows, q_cols_); }
  MatrixView<float> gate(size_t rows) const { return View(gate_, rows, ffn_cols_); }
  MatrixView<float> up(size_t rows) const { return View(up_, rows, ffn_cols_); }
  // Cosines, then sines, of each row's position: [rows, rotary_dim]. `sliding` chooses the table.
  MatrixView<float> angles(bool sliding, size_t rows) const {
    return View(sliding ? sliding_angles_ : angles_, rows, angle_cols_);
  }
  const GemmScratch& gemm_scratch() const { return gemm_scratch_; }

  // Makes `rows` the input of products with `weights`: calls fill(row), which must complete row
  // `row` of `rows`, and quantises the row if any of the weights is quantised, all in one parallel
  // pass. The result is valid until the next call.
  GemmInput Prepare(MatrixView<const float> rows,
                    std::initializer_list<const PackedWeights*> weights, ThreadPool& pool,
                    FunctionRef<void(size_t row)> fill);
  // The same for one product whose errors would go straight into the logits: the rows are quantised
  // in two (QuantizeRowInTwo) when the weights are quantised. The product must be `paired` when the
  // returned input has twice as many rows.
  GemmInput PrepareFine(MatrixView<const float> rows, const PackedWeights& weights,
                        ThreadPool& pool, FunctionRef<void(size_t row)> fill);

 private:
  static MatrixView<float> View(const AlignedBuffer& buffer, size_t rows, size_t cols) {
    return MatrixView<float>(buffer.as<float>(), rows, cols);
  }

  size_t hidden_cols_ = 0;
  size_t q_cols_ = 0;
  size_t kv_cols_ = 0;
  size_t ffn_cols_ = 0;
  size_t angle_cols_ = 0;
  AlignedBuffer hidden_;  // the residual stream
  AlignedBuffer branch_;  // a branch before its post-norm
  AlignedBuffer normed_;  // input of a block
  AlignedBuffer q_;
  AlignedBuffer k_;
  AlignedBuffer v_;
  AlignedBuffer attended_;  // output of attention
  AlignedBuffer gate_;
  AlignedBuffer up_;
  AlignedBuffer angles_;
  AlignedBuffer sliding_angles_;
  QuantizedRows quantized_;
  GemmScratch gemm_scratch_;
};

// Calls body(row) for each row, in parallel when there are enough to pay for a barrier.
void ForEachRow(size_t row_count, ThreadPool& pool, FunctionRef<void(size_t row)> body);

}  // namespace kvasir

#endif  // KVASIR_MODEL_ACTIVATIONS_H_
