// QueryRows and OutputRows: Python's arrays [rows, heads, dim] as the matrices of f32 that the
// kernels read and write. f32 with dense heads is used where it lies; any other type or stride goes
// through a scratch buffer. Made with the GIL, used without.

#ifndef KVASIR_PYTHON_ROWS_H_
#define KVASIR_PYTHON_ROWS_H_

#include <cstdint>
#include <vector>

#include "kvasir/base/matrix_view.h"
#include "kvasir/base/thread_pool.h"
#include "kvasir/python/tensor.h"

namespace kvasir {

class QueryRows {
 public:
  // Throws ValueError unless `tensor` is f32, f16 or bf16 of this shape.
  QueryRows(Tensor tensor, int64_t rows, int64_t heads, int64_t dim);

  // The numbers, in *scratch if they had to be copied.
  MatrixView<const float> Read(ThreadPool& pool, std::vector<float>* scratch) const;

 private:
  Tensor tensor_;
};

class OutputRows {
 public:
  // Throws ValueError unless `tensor` is writable, f32, f16 or bf16, of this shape; dim 0: of shape
  // [rows, heads], f32 alone.
  OutputRows(Tensor tensor, int64_t rows, int64_t heads, int64_t dim);

  // Where to write: the memory of the tensor, or *scratch.
  MatrixView<float> Memory(std::vector<float>* scratch) const;
  // Brings what was written to *scratch into the tensor, rounded to nearest even.
  void Finish(ThreadPool& pool, const std::vector<float>& scratch) const;

 private:
  Tensor tensor_;  // [rows, heads, dim]
};

}  // namespace kvasir

#endif  // KVASIR_PYTHON_ROWS_H_
