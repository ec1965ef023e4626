// MatrixView: rows of numbers that somebody else owns. Row-major, `stride` elements from one row to
// the next, so that a view can be a column range of a wider matrix. Copy it freely; it is valid as
// long as the memory below it.

#ifndef KVASIR_BASE_MATRIX_VIEW_H_
#define KVASIR_BASE_MATRIX_VIEW_H_

#include <cstddef>
#include <span>
#include <type_traits>

#include "kvasir/base/check.h"

namespace kvasir {

template <typename T>
class MatrixView {
 public:
  MatrixView() = default;
  MatrixView(T* data, size_t rows, size_t cols) : MatrixView(data, rows, cols, cols) {}
  MatrixView(T* data, size_t rows, size_t cols, size_t stride)
      : data_(data), rows_(rows), cols_(cols), stride_(stride) {}
  // A view of T converts to a view of const T.
  template <typename U>
  requires std::is_same_v<T, const U> MatrixView(
      MatrixView<U> other)  // NOLINT: implicit like T* to const T*
      : MatrixView(other.data(), other.rows(), other.cols(), other.stride()) {}

  T* data() const { return data_; }
  size_t rows() const { return rows_; }
  size_t cols() const { return cols_; }
  size_t stride() const { return stride_; }
  T* row(size_t r) const {
    KVASIR_DCHECK(r < rows_);
    return data_ + r * stride_;
  }
  std::span<T> row_span(size_t r) const { return {row(r), cols_}; }

  // Rows [first, first + count), or columns likewise, of the same memory.
  MatrixView Rows(size_t first, size_t count) const {
    KVASIR_DCHECK(first + count <= rows_);
    return MatrixView(data_ + first * stride_, count, cols_, stride_);
  }
  MatrixView Cols(size_t first, size_t count) const {
    KVASIR_DCHECK(first + count <= cols_);
    return MatrixView(data_ + first, rows_, count, stride_);
  }

 private:
  T* data_ = nullptr;
  size_t rows_ = 0;
  size_t cols_ = 0;
  size_t stride_ = 0;
};

}  // namespace kvasir

#endif  // KVASIR_BASE_MATRIX_VIEW_H_
