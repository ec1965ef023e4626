#include "kvasir/base/histogram.h"

#include <vector>

#include <gtest/gtest.h>

namespace kvasir {
namespace {

constexpr double kBounds[] = {1, 2.5, 10};

TEST(Histogram, CountsValuesUpToEachBound) {
  Histogram histogram(kBounds);
  for (const double value : {0.0, 1.0, 1.5, 2.5, 2.6, 100.0}) histogram.Observe(value);
  const auto counts = histogram.bucket_counts();
  EXPECT_EQ(std::vector<uint64_t>(counts.begin(), counts.end()),
            (std::vector<uint64_t>{2, 2, 1, 1}));
  EXPECT_EQ(histogram.count(), 6);
  EXPECT_DOUBLE_EQ(histogram.sum(), 107.6);
  EXPECT_EQ(histogram.upper_bounds().size(), 3);
}

TEST(Histogram, ACopyIsASnapshot) {
  Histogram histogram(kBounds);
  const Histogram before = histogram;
  histogram.Observe(1);
  EXPECT_EQ(before.count(), 0);
  EXPECT_EQ(histogram.count(), 1);
}

}  // namespace
}  // namespace kvasir
