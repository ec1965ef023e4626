#include "kvasir/quantize/error_feedback.h"

#include <algorithm>
#include <cmath>

#include "kvasir/base/check.h"
#include "kvasir/formats/block_encoder.h"

namespace kvasir {

namespace {

constexpr double kDampingShare = 0.01;
// Columns of the factorisation that are finished before the rows below them are brought up to date.
constexpr size_t kPanel = 32;
// Rows that one task rounds side by side: a factor's number, once loaded, serves all of them.
constexpr size_t kLanes = 16;

double Dot(const double* a, const double* b, size_t count) {
  // Eight sums, which the compiler keeps in vectors, in an order that is always the same.
  double sums[8] = {};
  size_t i = 0;
  for (; i + 8 <= count; i += 8) {
    for (size_t l = 0; l < 8; ++l) sums[l] += a[i + l] * b[i + l];
  }
  for (; i < count; ++i) sums[i % 8] += a[i] * b[i];
  return ((sums[0] + sums[4]) + (sums[1] + sums[5])) + ((sums[2] + sums[6]) + (sums[3] + sums[7]));
}

// Replaces the lower triangle of the symmetric a [n, n] by its Cholesky factor. False when it has
// none.
bool Factorise(size_t n, ThreadPool& pool, std::vector<double>* a) {
  const auto row = [&](size_t i) { return a->data() + i * n; };
  for (size_t begin = 0; begin < n; begin += kPanel) {
    const size_t end = std::min(n, begin + kPanel);
    for (size_t i = begin; i < end; ++i) {
      for (size_t j = begin; j < i; ++j)
        row(i)[j] = (row(i)[j] - Dot(row(i), row(j), j)) / row(j)[j];
      const double square = row(i)[i] - Dot(row(i), row(i), i);
      if (!(square > 0)) return false;
      row(i)[i] = std::sqrt(square);
    }
    pool.ParallelFor(n - end, [&](size_t task, size_t) {
      double* r = row(end + task);
      for (size_t j = begin; j < end; ++j) r[j] = (r[j] - Dot(r, row(j), j)) / row(j)[j];
    });
  }
  return true;
}

// Rows [first, first + count) of `weights`, count <= kLanes.
class LaneQuantizer {
 public:
  LaneQuantizer(MatrixView<const float> weights, DType dtype, std::span<const float> factor,
                size_t first, size_t count, std::byte* bytes)
      : cols_(weights.cols()),
        block_(GetDTypeInfo(dtype).block_elements),
        block_bytes_(GetDTypeInfo(dtype).block_bytes),
        factor_(factor),
        count_(count),
        bytes_(bytes),
        encoders_(count, BlockEncoder(dtype)),
        work_(cols_ * kLanes),
        errors_(block_ * kLanes) {
    for (size_t lane = 0; lane < count; ++lane) {
      const float* row = weights.row(first + lane);
      for (size_t c = 0; c < cols_; ++c) work_[c * kLanes + lane] = row[c];
    }
  }

  void Run() {
    for (size_t begin = 0; begin < cols_; begin += block_) {
      BeginBlock(begin);
      for (size_t column = begin; column < begin + block_; ++column) {
        if (column % kEncoderGroup == 0) BeginGroup(begin, column);
        RoundColumn(begin, column);
        // Within the block at once: the next group's scale depends on it.
        for (size_t k = column + 1; k < begin + block_; ++k) MakeUp(k, column, 1, begin);
      }
      for (size_t k = begin + block_; k < cols_; ++k) MakeUp(k, begin, block_, begin);
    }
  }

 private:
  // The numbers of one lane in columns [begin, begin + count).
  const float* Gather(size_t lane, size_t begin, size_t count) {
    for (size_t i = 0; i < count; ++i) gathered_[i] = work_[(begin + i) * kLanes + lane];
    return gathered_.data();
  }

  void BeginBlock(size_t begin) {
    for (size_t lane = 0; lane < count_; ++lane) {
      std::byte* block = bytes_ + (lane * (cols_ / block_) + begin / block_) * block_bytes_;
      encoders_[lane].Begin(Gather(lane, begin, block_), block);
    }
  }

  void BeginGroup(size_t block_begin, size_t column) {
    const size_t group = (column - block_begin) / kEncoderGroup;
    for (size_t lane = 0; lane < count_; ++lane) {
      grids_[lane] = encoders_[lane].Group(group, Gather(lane, column, kEncoderGroup));
    }
  }

  void RoundColumn(size_t block_begin, size_t column) {
    const float share = factor_[column * cols_ + column];
    for (size_t lane = 0; lane < count_; ++lane) {
      const float x = work_[column * kLanes + lane];
      const int code = grids_[lane].Nearest(x);
      encoders_[lane].Store(column - block_begin, code);
      errors_[(column - block_begin) * kLanes + lane] = (x - grids_[lane].Value(code)) / share;
    }
  }

  // Changes column k for the errors of columns [first, first + count) of the block.
  void MakeUp(size_t k, size_t first, size_t count, size_t block_begin) {
    const float* shares = factor_.data() + k * cols_ + first;
    const float* errors = errors_.data() + (first - block_begin) * kLanes;
    float lanes[kLanes];
    std::copy_n(&work_[k * kLanes], kLanes, lanes);
    for (size_t i = 0; i < count; ++i) {
      for (size_t lane = 0; lane < kLanes; ++lane)
        lanes[lane] -= errors[i * kLanes + lane] * shares[i];
    }
    std::copy_n(lanes, kLanes, &work_[k * kLanes]);
  }

  size_t cols_;
  size_t block_;  // numbers in one
  size_t block_bytes_;
  std::span<const float> factor_;  // [cols, cols]
  size_t count_;
  std::byte* bytes_;
  std::vector<BlockEncoder> encoders_;
  std::vector<float> work_;    // [cols, kLanes]
  std::vector<float> errors_;  // [block, kLanes]
  CodeGrid grids_[kLanes];
  std::array<float, Q4_KLayout::kElements> gathered_;
};

}  // namespace

Result<std::vector<float>> InverseFactor(const InputStatistics& statistics, ThreadPool& pool) {
  const size_t n = statistics.cols;
  double mean = 0;
  for (size_t i = 0; i < n; ++i) mean += statistics.gram[i * n + i] / static_cast<double>(n);
  // Inputs that were never anything but zero leave plain rounding.
  const double damping = mean > 0 ? kDampingShare * mean : 1;
  // With rows and columns in reverse, H = C C^T; the inverse of H is then L L^T with the L that has
  // C's inverse, transposed, in reverse again: lower triangular, as C's is.
  std::vector<double> c(n * n), inverse(n * n);
  for (size_t i = 0; i < n; ++i) {
    for (size_t j = 0; j <= i; ++j) {
      c[i * n + j] = statistics.gram[(n - 1 - i) * n + (n - 1 - j)];
    }
    c[i * n + i] += damping;
  }
  if (!Factorise(n, pool, &c)) {
    return DataLoss("the inputs' products are not positive definite");
  }
  pool.ParallelFor(n, [&](size_t j, size_t) {
    double* column = inverse.data() + j * n;  // column j of C's inverse
    column[j] = 1 / c[j * n + j];
    for (size_t i = j + 1; i < n; ++i) {
      column[i] = -Dot(&c[i * n + j], column + j, i - j) / c[i * n + i];
    }
  });
  std::vector<float> factor(n * n);
  for (size_t i = 0; i < n; ++i) {
    for (size_t j = 0; j <= i; ++j) {
      factor[i * n + j] = static_cast<float>(inverse[(n - 1 - i) * n + (n - 1 - j)]);
    }
  }
  return factor;
}

void QuantizeWithFeedback(MatrixView<const float> weights, DType dtype,
                          std::span<const float> factor, ThreadPool& pool,
                          std::span<std::byte> bytes) {
  const size_t row_bytes = DTypeBytes(dtype, weights.cols());
  KVASIR_CHECK(bytes.size() == weights.rows() * row_bytes);
  const size_t task_count = (weights.rows() + kLanes - 1) / kLanes;
  pool.ParallelFor(task_count, [&](size_t task, size_t) {
    const size_t first = task * kLanes, count = std::min(kLanes, weights.rows() - first);
    LaneQuantizer(weights, dtype, factor, first, count, bytes.data() + first * row_bytes).Run();
  });
}

}  // namespace kvasir
