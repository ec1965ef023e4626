// QuantizedRows: activations as the quantised GEMM reads them: per row and group of 32 inputs, int8
// codes in [-127, 127] and one f32 scale. A row's codes depend on that row alone. A buffer that one
// thread fills and the pool reads; reused from call to call.

#ifndef KVASIR_KERNELS_QUANTIZED_ROWS_H_
#define KVASIR_KERNELS_QUANTIZED_ROWS_H_

#include <cstddef>
#include <cstdint>

#include "kvasir/base/aligned_buffer.h"
#include "kvasir/base/matrix_view.h"
#include "kvasir/base/status.h"
#include "kvasir/base/thread_pool.h"

namespace kvasir {

// What a group's codes c[0..31] stand for: values c * scale. The sums let the kernels take a
// weight's zero point or minimum out of the inner loop; a zero point is always 8 times a power of
// two.
struct ActivationGroup {
  float scale;           // largest |value| / 127
  float scaled_sum;      // scale * sum of c
  int32_t neg8_sum;      // -8 * sum of c
  int32_t neg8_sum_low;  // the same of c[0..15]
};

class QuantizedRows {
 public:
  // Room for any shape up to row_count x cols. kResourceExhausted when memory cannot be had.
  Status Reserve(size_t row_count, size_t cols);

  // Shapes the buffer. REQUIRES room; cols a multiple of 32.
  void Resize(size_t row_count, size_t cols);

  size_t rows() const { return rows_; }
  size_t cols() const { return cols_; }
  int8_t* codes(size_t row) const { return codes_.as<int8_t>() + row * cols_; }
  ActivationGroup* groups(size_t row) const {
    return groups_.as<ActivationGroup>() + row * (cols_ / 32);
  }

 private:
  AlignedBuffer codes_;
  AlignedBuffer groups_;
  size_t rows_ = 0;
  size_t cols_ = 0;
};

// Quantises one row [out->cols()] into row `r` of *out, which has been shaped. Any thread, one per
// row.
void QuantizeRow(const float* row, size_t r, QuantizedRows* out);

// Quantises one row twice as finely: its codes into row 2r, the codes of what they miss (each group
// with a scale of its own) into row 2r + 1, together about 15 bits. The product of the row is the
// sum of the products of both.
void QuantizeRowInTwo(const float* row, size_t r, QuantizedRows* out);

// Quantises `rows` [rows, cols] into *out, round to nearest even. All targets give the same codes
// and scales. REQUIRES room in *out and cols % 32 == 0.
void QuantizeRows(MatrixView<const float> rows, QuantizedRows* out, ThreadPool& pool);

}  // namespace kvasir

#endif  // KVASIR_KERNELS_QUANTIZED_ROWS_H_
