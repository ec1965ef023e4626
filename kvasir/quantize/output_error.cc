#include "kvasir/quantize/output_error.h"

#include <utility>

namespace kvasir {

Result<OutputError> OutputError::Create(const InputStatistics& statistics, ThreadPool& pool) {
  const size_t cols = statistics.cols;
  const WeightSource source{
      DType::kF32, cols, cols, reinterpret_cast<const std::byte*>(statistics.gram.data()), {}};
  KVASIR_ASSIGN_OR_RETURN(PackedWeights gram,
                          PackedWeights::Pack(source, /*dequantize=*/true, pool));
  KVASIR_ASSIGN_OR_RETURN(GemmScratch scratch, GemmScratch::Create(cols, pool.thread_count()));
  return OutputError(std::move(gram), std::move(scratch), pool);
}

double OutputError::Of(MatrixView<const float> change) const {
  const size_t rows = change.rows(), cols = change.cols();
  std::vector<float> products(rows * cols);  // [rows, cols], change x gram
  const GemmInput input{change, nullptr, rows};
  const GemmOutput product{&gram_, MatrixView<float>(products.data(), rows, cols)};
  Gemm(input, {&product, 1}, scratch_, *pool_);
  std::vector<double> row_sums(rows);
  pool_->ParallelFor(rows, [&](size_t r, size_t) {
    double sum = 0;
    for (size_t c = 0; c < cols; ++c) sum += double{change.row(r)[c]} * products[r * cols + c];
    row_sums[r] = sum;
  });
  double sum = 0;
  for (const double row_sum : row_sums) sum += row_sum;
  return sum;
}

}  // namespace kvasir
