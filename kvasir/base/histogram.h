// Histogram: how often a quantity fell below each of a few fixed bounds, with sum and count: what a
// metrics page shows. A value: copies are snapshots. Not synchronised: whoever owns one observes
// and copies.

#ifndef KVASIR_BASE_HISTOGRAM_H_
#define KVASIR_BASE_HISTOGRAM_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "kvasir/base/check.h"

namespace kvasir {

class Histogram {
 public:
  static constexpr size_t kBoundCountMax = 20;

  // `upper_bounds` rise, are at most kBoundCountMax and live for ever.
  explicit Histogram(std::span<const double> upper_bounds) : upper_bounds_(upper_bounds) {
    KVASIR_CHECK(upper_bounds.size() <= kBoundCountMax);
  }

  void Observe(double value) {
    size_t bucket = 0;
    while (bucket < upper_bounds_.size() && value > upper_bounds_[bucket]) ++bucket;
    ++counts_[bucket];
    ++count_;
    sum_ += value;
  }

  std::span<const double> upper_bounds() const { return upper_bounds_; }
  // Values in (upper_bounds[i - 1], upper_bounds[i]], not cumulated; the last bucket, one more than
  // bounds, holds those above all of them.
  std::span<const uint64_t> bucket_counts() const {
    return std::span(counts_).first(upper_bounds_.size() + 1);
  }
  uint64_t count() const { return count_; }
  double sum() const { return sum_; }

 private:
  std::span<const double> upper_bounds_;
  std::array<uint64_t, kBoundCountMax + 1> counts_ = {};
  uint64_t count_ = 0;
  double sum_ = 0;
};

}  // namespace kvasir

#endif  // KVASIR_BASE_HISTOGRAM_H_
