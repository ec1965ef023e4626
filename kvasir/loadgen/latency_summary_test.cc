#include "kvasir/loadgen/latency_summary.h"

#include <gtest/gtest.h>

namespace kvasir {
namespace {

// Expected values: numpy.percentile with its default method.
TEST(LatencySummaryTest, AgreesWithNumpy) {
  const LatencySummary summary = Summarize({3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5});
  EXPECT_EQ(summary.count, 11u);
  EXPECT_DOUBLE_EQ(summary.mean, 4.0);
  EXPECT_DOUBLE_EQ(summary.min, 1.0);
  EXPECT_DOUBLE_EQ(summary.p50, 4.0);
  EXPECT_DOUBLE_EQ(summary.p90, 6.0);
  EXPECT_NEAR(summary.p99, 8.7, 1e-12);
  EXPECT_DOUBLE_EQ(summary.max, 9.0);

  const LatencySummary two = Summarize({80.25, 12.5});
  EXPECT_DOUBLE_EQ(two.p50, 46.375);
  EXPECT_NEAR(two.p90, 73.475, 1e-12);
  EXPECT_NEAR(two.p99, 79.5725, 1e-12);
}

TEST(LatencySummaryTest, OneValueAndNone) {
  const LatencySummary one = Summarize({7});
  EXPECT_EQ(one.p50, 7);
  EXPECT_EQ(one.p99, 7);
  EXPECT_EQ(Summarize({}).count, 0u);
  EXPECT_EQ(Summarize({}).p99, 0);
}

}  // namespace
}  // namespace kvasir
