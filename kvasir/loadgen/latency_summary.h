// LatencySummary: what many measured times come to. Percentiles are interpolated linearly between
// the two nearest ranks, as numpy does it by default, so that figures can be checked elsewhere.
// Pure functions; the types are values.

#ifndef KVASIR_LOADGEN_LATENCY_SUMMARY_H_
#define KVASIR_LOADGEN_LATENCY_SUMMARY_H_

#include <cstddef>
#include <span>
#include <vector>

namespace kvasir {

// All zero when there was nothing to summarise.
struct LatencySummary {
  size_t count = 0;
  double mean = 0;
  double min = 0;
  double p50 = 0;
  double p90 = 0;
  double p99 = 0;
  double max = 0;
};

LatencySummary Summarize(std::vector<double> values);

// The value below which `percent` (0..100) of `rising` lie. REQUIRES a value.
double PercentileOf(std::span<const double> rising, double percent);

}  // namespace kvasir

#endif  // KVASIR_LOADGEN_LATENCY_SUMMARY_H_
