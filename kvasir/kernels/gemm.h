// Gemm: out = rows x weights^T, for any number of rows from one (decoding) to a whole prompt chunk.
// One arithmetic for all: each output number is a sum over the inputs in rising order (over groups
// of 32 whose integer dot products are exact, for quantised weights), in one lane, in one
// accumulator. So a row's result does not depend on how many rows run beside it, on the threads, or
// on whether the vectors have 256 or 512 bits.

#ifndef KVASIR_KERNELS_GEMM_H_
#define KVASIR_KERNELS_GEMM_H_

#include <cstddef>
#include <span>
#include <vector>

#include "kvasir/base/aligned_buffer.h"
#include "kvasir/base/matrix_view.h"
#include "kvasir/base/thread_pool.h"
#include "kvasir/kernels/packed_weights.h"
#include "kvasir/kernels/quantized_rows.h"

namespace kvasir {

// Rows to multiply: as f32 (read by plain weights) and quantised (read by quantised weights). The
// one that no weight of the call needs may be empty / null.
struct GemmInput {
  MatrixView<const float> plain;             // [rows, inputs]
  const QuantizedRows* quantized = nullptr;  // the same rows
  size_t row_count = 0;
};

// One product of a call. Several products of the same rows (q, k and v) share a call and its
// barrier.
struct GemmOutput {
  const PackedWeights* weights = nullptr;  // [outputs, inputs]
  MatrixView<float> out;                   // [rows, outputs]
  const float* bias = nullptr;             // [outputs], added at the end; or null
  bool accumulate = false;                 // add to `out` (the residual) instead of replacing it
  // Row r of `out` is the sum of the products of rows 2r and 2r + 1 of the input
  // (QuantizeRowInTwo): `out` has half as many rows. Not with bias.
  bool paired = false;
};

// Memory of the workers for unpacked panels; one per pool, reused by every call.
class GemmScratch {
 public:
  // Room for matrices of up to `cols_max` inputs on `thread_count` threads.
  static Result<GemmScratch> Create(size_t cols_max, size_t thread_count);
  std::byte* worker(size_t index) const { return buffer_.data() + index * worker_bytes_; }

 private:
  AlignedBuffer buffer_;
  size_t worker_bytes_ = 0;
};

// REQUIRES matching shapes and room in `scratch`. No allocation.
void Gemm(const GemmInput& input, std::span<const GemmOutput> outputs, const GemmScratch& scratch,
          ThreadPool& pool);

}  // namespace kvasir

#endif  // KVASIR_KERNELS_GEMM_H_
