#include "kvasir/quantize/scale_search.h"

#include <algorithm>
#include <cmath>

#include "kvasir/formats/gguf_quants.h"

namespace kvasir {

namespace {

constexpr int kExponentCount = 20;
// A channel that is (nearly) silent must not make its weights vanish, nor those of its source
// overflow: scales stay within this factor of the middle one.
constexpr double kScaleRange = 1e4;

// The mean magnitude of each owner's channels.
std::vector<double> OwnerMagnitudes(const InputStatistics& statistics,
                                    const ChannelOwners& owners) {
  if (owners.owner.empty()) return statistics.magnitude;
  std::vector<double> magnitudes(owners.count);
  for (size_t c = 0; c < statistics.cols; ++c) {
    magnitudes[owners.owner[c]] += statistics.magnitude[c];
  }
  return magnitudes;
}

// magnitude^exponent, with the geometric middle of the smallest and the largest brought to 1.
std::vector<float> Scales(const std::vector<double>& magnitudes, double exponent) {
  const double largest = *std::max_element(magnitudes.begin(), magnitudes.end());
  std::vector<float> scales(magnitudes.size(), 1.0f);
  if (largest == 0 || exponent == 0) return scales;
  const auto power = [&](double magnitude) {
    return std::pow(std::max(magnitude / largest, 1 / (kScaleRange * kScaleRange)), exponent);
  };
  const double middle = std::sqrt(power(*std::min_element(magnitudes.begin(), magnitudes.end())));
  for (size_t i = 0; i < scales.size(); ++i) {
    scales[i] = static_cast<float>(power(magnitudes[i]) / middle);
  }
  return scales;
}

// What rounding weights * scale and dividing by scale again adds to the weights.
void RoundingChange(const ScaledMatrix& matrix, std::span<const float> channel_scales,
                    ThreadPool& pool, std::vector<float>* change) {
  const size_t rows = matrix.weights.rows(), cols = matrix.weights.cols();
  change->resize(rows * cols);
  pool.ParallelFor(rows, [&](size_t r, size_t) {
    const float* w = matrix.weights.row(r);
    float* out = change->data() + r * cols;
    for (size_t c = 0; c < cols; ++c) out[c] = w[c] * channel_scales[c];
  });
  const MatrixView<float> view(change->data(), rows, cols);
  RoundTrip(view, matrix.dtype, pool, view);
  pool.ParallelFor(rows, [&](size_t r, size_t) {
    const float* w = matrix.weights.row(r);
    float* out = change->data() + r * cols;
    for (size_t c = 0; c < cols; ++c) out[c] = out[c] / channel_scales[c] - w[c];
  });
}

}  // namespace

void RoundTrip(MatrixView<const float> weights, DType dtype, ThreadPool& pool,
               MatrixView<float> rounded) {
  const size_t cols = weights.cols();
  pool.ParallelFor(weights.rows(), [&](size_t r, size_t) {
    std::vector<std::byte> bytes(DTypeBytes(dtype, cols));
    QuantizeRow(dtype, weights.row(r), cols, bytes.data());
    DequantizeRow(dtype, bytes.data(), cols, rounded.row(r));
  });
}

std::vector<float> SearchScales(std::span<const ScaledMatrix> matrices,
                                const InputStatistics& statistics, const OutputError& error,
                                const ChannelOwners& owners, ThreadPool& pool) {
  const std::vector<double> magnitudes = OwnerMagnitudes(statistics, owners);
  std::vector<float> best(magnitudes.size(), 1.0f);
  double best_error = INFINITY;
  std::vector<float> channel_scales(statistics.cols), change;
  for (int i = 0; i < kExponentCount; ++i) {
    const std::vector<float> scales = Scales(magnitudes, double(i) / (kExponentCount - 1));
    for (size_t c = 0; c < statistics.cols; ++c) {
      channel_scales[c] = scales[owners.owner.empty() ? c : owners.owner[c]];
    }
    double sum = 0;
    bool any_quantized = false;
    for (const ScaledMatrix& matrix : matrices) {
      if (GetDTypeInfo(matrix.dtype).block_elements == 1) continue;
      any_quantized = true;
      RoundingChange(matrix, channel_scales, pool, &change);
      sum += error.Of({change.data(), matrix.weights.rows(), matrix.weights.cols()});
    }
    if (!any_quantized) return best;
    if (sum < best_error) {
      best_error = sum;
      best = scales;
    }
  }
  return best;
}

}  // namespace kvasir
