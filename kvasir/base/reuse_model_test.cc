#include "kvasir/base/reuse_model.h"

#include <gtest/gtest.h>

namespace kvasir {
namespace {

TEST(ReuseModelTest, AgesFallIntoOctaves) {
  EXPECT_EQ(ReuseModel::AgeBin(0), 0);
  EXPECT_EQ(ReuseModel::AgeBin(1), 0);
  EXPECT_EQ(ReuseModel::AgeBin(2), 1);
  EXPECT_EQ(ReuseModel::AgeBin(3), 1);
  EXPECT_EQ(ReuseModel::AgeBin(1024), 10);
  EXPECT_EQ(ReuseModel::AgeBin(UINT64_MAX), ReuseModel::kAgeBinCount - 1);
}

TEST(ReuseModelTest, KnowsNothingAndIsLru) {
  const ReuseModel model(1000);
  for (size_t bin = 1; bin < ReuseModel::kAgeBinCount; ++bin) {
    for (size_t c = 0; c < ReuseModel::kUseClassCount; ++c) {
      EXPECT_LT(model.Value(c, bin), model.Value(c, bin - 1)) << c << ", " << bin;
      EXPECT_EQ(model.Value(c, bin), model.Value(0, bin));
    }
  }
}

// Uses that come at one rate, whatever the age, are worth that rate at every age, and a record has
// no gain at a price above it.
TEST(ReuseModelTest, AConstantRateIsItsValue) {
  constexpr double kRate = 0.001;
  ReuseModel model(64);
  for (size_t bin = 0; bin < ReuseModel::kAgeBinCount; ++bin) {
    // A hundred thousand uses in each bin: the prior is nothing beside them.
    const uint64_t age = uint64_t{1} << bin;
    for (int i = 0; i < 100'000; ++i) model.CountReuse(1, age);
    model.CountWaiting(1, age, 100'000 / kRate);
  }
  model.Learn();
  // Beyond, the prior's long waits are still felt.
  for (size_t bin = 0; bin < 24; ++bin) EXPECT_NEAR(model.Value(1, bin), kRate, 0.01 * kRate);
  EXPECT_NEAR(model.Gain(1, 0), 1, 0.01) << "it is used again some time";
  EXPECT_NEAR(model.Gain(1, kRate / 2), 0.5, 0.01) << "half of the waiting is paid";
  EXPECT_NEAR(model.Gain(1, 2 * kRate), 0, 0.001);
}

// All uses come 1,024 to 2,047 after the last: what has waited 1,000 is worth more than what has
// just come, and what has waited 3,000 is worth least.
TEST(ReuseModelTest, AWaitThatIsNearlyOverIsWorthMost) {
  ReuseModel model(64);
  for (size_t bin = 0; bin < 20; ++bin) {
    model.CountWaiting(0, uint64_t{1} << bin, 1e7);
  }
  for (int i = 0; i < 10'000; ++i) model.CountReuse(0, 1500);
  model.Learn();
  EXPECT_GT(model.Value(0, 10), model.Value(0, 9));
  EXPECT_GT(model.Value(0, 9), model.Value(0, 5));
  EXPECT_GT(model.Value(0, 5), model.Value(0, 11));
}

}  // namespace
}  // namespace kvasir
