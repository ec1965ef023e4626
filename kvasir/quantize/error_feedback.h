// Error feedback (GPTQ; Frantar et al. 2022, arXiv 2210.17323): the columns of a matrix are rounded
// one after the other, and what a column lost is made up for by those that are still to come, as
// far as their inputs go together. With H the sum of x x^T over the inputs, damped by 1 % of its
// mean diagonal, the shares are in the Cholesky factor of the inverse of H. The thread that owns
// the pool; results do not depend on how many it has.

#ifndef KVASIR_QUANTIZE_ERROR_FEEDBACK_H_
#define KVASIR_QUANTIZE_ERROR_FEEDBACK_H_

#include <cstddef>
#include <span>
#include <vector>

#include "kvasir/base/matrix_view.h"
#include "kvasir/base/status.h"
#include "kvasir/base/thread_pool.h"
#include "kvasir/formats/dtype.h"
#include "kvasir/quantize/input_statistics.h"

namespace kvasir {

// The lower triangular L with L L^T = (H + damping)^-1, [cols, cols], the rest zero. kDataLoss when
// H is not the sum of anything (it has negative directions beyond rounding).
Result<std::vector<float>> InverseFactor(const InputStatistics& statistics, ThreadPool& pool);

// `weights` [rows, cols] as rows of `dtype` at `bytes`. `factor` is InverseFactor's of the inputs.
// A group's scale is chosen when its first column comes, for the weights as they are then; what the
// groups of a block share, when the block begins.
// REQUIRES HasBlockEncoder(dtype), whole blocks in a row, finite weights, and room at `bytes`.
void QuantizeWithFeedback(MatrixView<const float> weights, DType dtype,
                          std::span<const float> factor, ThreadPool& pool,
                          std::span<std::byte> bytes);

}  // namespace kvasir

#endif  // KVASIR_QUANTIZE_ERROR_FEEDBACK_H_
