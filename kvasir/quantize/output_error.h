// OutputError: how much a product's outputs change when its weights do, over the inputs that
// statistics were gathered from: for a change E of the weights the sum of squares of E x over all
// inputs x is the sum over the rows e of E of e G e^T, with G the sum of x x^T. Immutable; one call
// at a time, by the thread that owns the pool.

#ifndef KVASIR_QUANTIZE_OUTPUT_ERROR_H_
#define KVASIR_QUANTIZE_OUTPUT_ERROR_H_

#include <vector>

#include "kvasir/base/matrix_view.h"
#include "kvasir/base/status.h"
#include "kvasir/base/thread_pool.h"
#include "kvasir/kernels/gemm.h"
#include "kvasir/kernels/packed_weights.h"
#include "kvasir/quantize/input_statistics.h"

namespace kvasir {

class OutputError {
 public:
  // `pool` must outlive it, the statistics need not. kResourceExhausted without memory.
  static Result<OutputError> Create(const InputStatistics& statistics, ThreadPool& pool);

  // The sum of squares of change x over all inputs, in double precision. `change` is [any, cols].
  double Of(MatrixView<const float> change) const;

 private:
  OutputError(PackedWeights gram, GemmScratch scratch, ThreadPool& pool)
      : gram_(std::move(gram)), scratch_(std::move(scratch)), pool_(&pool) {}

  PackedWeights gram_;  // [cols, cols]
  GemmScratch scratch_;
  ThreadPool* pool_;
};

}  // namespace kvasir

#endif  // KVASIR_QUANTIZE_OUTPUT_ERROR_H_
