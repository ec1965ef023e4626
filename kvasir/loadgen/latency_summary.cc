#include "kvasir/loadgen/latency_summary.h"

#include <algorithm>
#include <numeric>

#include "kvasir/base/check.h"

namespace kvasir {

double PercentileOf(std::span<const double> rising, double percent) {
  KVASIR_CHECK(!rising.empty() && percent >= 0 && percent <= 100);
  const double rank = percent / 100 * static_cast<double>(rising.size() - 1);
  const size_t below = static_cast<size_t>(rank);
  const size_t above = std::min(below + 1, rising.size() - 1);
  return rising[below] + (rank - static_cast<double>(below)) * (rising[above] - rising[below]);
}

LatencySummary Summarize(std::vector<double> values) {
  LatencySummary summary;
  if (values.empty()) return summary;
  std::sort(values.begin(), values.end());
  summary.count = values.size();
  summary.mean =
      std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
  summary.min = values.front();
  summary.p50 = PercentileOf(values, 50);
  summary.p90 = PercentileOf(values, 90);
  summary.p99 = PercentileOf(values, 99);
  summary.max = values.back();
  return summary;
}

}  // namespace kvasir
