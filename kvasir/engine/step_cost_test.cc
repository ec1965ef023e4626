#include "kvasir/engine/step_cost.h"

#include <gtest/gtest.h>

namespace kvasir {
namespace {

// A machine on which a step costs 10 ms and 1 ms for each row.
StepCost Observed() {
  StepCost cost;
  for (const size_t rows : {1, 2, 3, 4, 16, 64, 256, 512}) {
    for (int i = 0; i < 5; ++i) cost.Observe(rows, 0.010 + 0.001 * double(rows));
  }
  return cost;
}

TEST(StepCost, InterpolatesBetweenSizesSeen) {
  const StepCost cost = Observed();
  EXPECT_NEAR(cost.Estimate(1), 0.011, 1e-9);
  EXPECT_NEAR(cost.Estimate(64), 0.074, 1e-9);
  EXPECT_NEAR(cost.Estimate(40), 0.050, 1e-9);
  EXPECT_NEAR(cost.Estimate(1024), 2 * 0.522, 1e-9) << "in proportion beyond what was seen";
}

TEST(StepCost, KnowsNothingAtFirst) {
  StepCost cost;
  EXPECT_EQ(cost.Estimate(7), 0);
  EXPECT_EQ(cost.PromptRows({}, 1, 1, 500), 500);
  cost.Observe(100, 0.2);
  EXPECT_NEAR(cost.Estimate(10), 0.02, 1e-9) << "in proportion below what was seen";
}

TEST(StepCost, FollowsChanges) {
  StepCost cost = Observed();
  cost.Observe(64, 10);
  EXPECT_LT(cost.Estimate(64), 1.5) << "one slow step is an accident";
  for (int i = 0; i < 60; ++i) cost.Observe(64, 10);
  EXPECT_GT(cost.Estimate(64), 9);
}

TEST(StepCost, PromptsShareTimeWithDecodes) {
  const StepCost cost = Observed();
  // A decode alone takes 11 ms; beside one prompt a step may take 22: 12 rows, 11 of them new.
  EXPECT_EQ(cost.PromptRows({.share = 1}, 1, 1, 511), 11);
  EXPECT_EQ(cost.PromptRows({.share = 2}, 1, 1, 511), 22);
  // Seven times as many prompts as decodes: 12 ms and 84 more.
  EXPECT_EQ(cost.PromptRows({.share = 1}, 2, 14, 510), 84);
  // Fewer prompts than decodes still double the step: 26 ms and 26 more.
  EXPECT_EQ(cost.PromptRows({.share = 1}, 16, 1, 496), 26);
}

TEST(StepCost, KeepsToItsBounds) {
  const StepCost cost = Observed();
  EXPECT_EQ(cost.PromptRows({.share = 1, .seconds_max = 0.2}, 1, 100, 511), 189);
  EXPECT_EQ(cost.PromptRows({.share = 1, .seconds_max = 10}, 1, 100, 511), 511);
  EXPECT_EQ(cost.PromptRows({.share = 0}, 1, 1, 511), 511) << "no bound";
  EXPECT_EQ(cost.PromptRows({.share = 0.1}, 1, 1, 511), StepCost::kPromptRowsMin);
  // Decodes that take longer alone than a step may: a prompt has its share nevertheless.
  EXPECT_EQ(cost.PromptRows({.share = 1, .seconds_max = 0.001}, 1, 100, 511), 11);
  EXPECT_EQ(cost.PromptRows({.share = 1}, 1, 1, 3), 3);
}

// Nine rows take almost four times as long as one, 512 rows only five times as long as nine.
TEST(StepCost, RowsAreNotWastedWhereFewAreInefficient) {
  StepCost cost;
  cost.Observe(1, 0.080);
  cost.Observe(9, 0.300);
  cost.Observe(512, 1.500);
  // A row of a full step costs 2.93 ms. In eight rows it would cost 27, in sixteen 15, in 32 8.7.
  EXPECT_EQ(cost.PromptRows({.share = 1}, 1, 1, 511), 32);
}

}  // namespace
}  // namespace kvasir
