#include "kvasir/engine/step_cost.h"

#include <gtest/gtest.h>

namespace kvasir {
namespace {

// A machine on which a step costs 10 ms and 1 ms for each row.
StepCost Observed() {
  StepCost cost;
  for (const size_t rows : {1, 2, 3, 4, 16, 64, 256, 512}) {
    for (int i = 0; i < 5; ++i) cost.Observe({rows, 0}, 0.010 + 0.001 * double(rows));
  }
  return cost;
}

StepDemand Demand(size_t decode_count, size_t prompt_count, size_t prompt_rows_max) {
  return {.decode_count = decode_count,
          .prompt_count = prompt_count,
          .prompt_rows_max = prompt_rows_max};
}

TEST(StepCost, InterpolatesBetweenSizesSeen) {
  const StepCost cost = Observed();
  EXPECT_NEAR(cost.Estimate({1, 0}), 0.011, 1e-9);
  EXPECT_NEAR(cost.Estimate({64, 0}), 0.074, 1e-9);
  EXPECT_NEAR(cost.Estimate({40, 0}), 0.050, 1e-9);
  EXPECT_NEAR(cost.Estimate({1024, 0}), 2 * 0.522, 1e-9) << "in proportion beyond what was seen";
}

TEST(StepCost, KnowsNothingAtFirst) {
  StepCost cost;
  EXPECT_EQ(cost.Estimate({7, 0}), 0);
  EXPECT_EQ(cost.PromptRows({}, Demand(1, 1, 500)), 500);
  cost.Observe({100, 0}, 0.2);
  EXPECT_NEAR(cost.Estimate({10, 0}), 0.02, 1e-9) << "in proportion below what was seen";
}

TEST(StepCost, FollowsChanges) {
  StepCost cost = Observed();
  cost.Observe({64, 0}, 10);
  EXPECT_LT(cost.Estimate({64, 0}), 1.5) << "one slow step is an accident";
  for (int i = 0; i < 60; ++i) cost.Observe({64, 0}, 10);
  EXPECT_GT(cost.Estimate({64, 0}), 9);
}

TEST(StepCost, PromptsShareTimeWithDecodes) {
  const StepCost cost = Observed();
  // A decode alone takes 11 ms; beside one prompt a step may take 22: 12 rows, 11 of them new.
  EXPECT_EQ(cost.PromptRows({.share = 1}, Demand(1, 1, 511)), 11);
  EXPECT_EQ(cost.PromptRows({.share = 2}, Demand(1, 1, 511)), 22);
  // Seven times as many prompts as decodes: 12 ms and 84 more.
  EXPECT_EQ(cost.PromptRows({.share = 1}, Demand(2, 14, 510)), 84);
  // Fewer prompts than decodes still double the step: 26 ms and 26 more.
  EXPECT_EQ(cost.PromptRows({.share = 1}, Demand(16, 1, 496)), 26);
}

TEST(StepCost, KeepsToItsBounds) {
  const StepCost cost = Observed();
  EXPECT_EQ(cost.PromptRows({.share = 1, .seconds_max = 0.2}, Demand(1, 100, 511)), 189);
  EXPECT_EQ(cost.PromptRows({.share = 1, .seconds_max = 10}, Demand(1, 100, 511)), 511);
  EXPECT_EQ(cost.PromptRows({.share = 0}, Demand(1, 1, 511)), 511) << "no bound";
  EXPECT_EQ(cost.PromptRows({.share = 0.1}, Demand(1, 1, 511)), StepCost::kPromptRowsMin);
  // Decodes that take longer alone than a step may: a prompt has its share nevertheless.
  EXPECT_EQ(cost.PromptRows({.share = 1, .seconds_max = 0.001}, Demand(1, 100, 511)), 11);
  EXPECT_EQ(cost.PromptRows({.share = 1}, Demand(1, 1, 3)), 3);
}

// Nine rows take almost four times as long as one, 512 rows only five times as long as nine.
TEST(StepCost, RowsAreNotWastedWhereFewAreInefficient) {
  StepCost cost;
  cost.Observe({1, 0}, 0.080);
  cost.Observe({9, 0}, 0.300);
  cost.Observe({512, 0}, 1.500);
  // A row of a full step costs 2.93 ms. In 4 rows it would cost 27, in 16 15, in 32 8.7.
  EXPECT_EQ(cost.PromptRows({.share = 1}, Demand(1, 1, 511)), 32);
}

// The same machine; each key that a row reads costs 0.5 us more. A prompt is read beside a decode.
TEST(StepCost, LearnsWhatKeysCost) {
  StepCost cost = Observed();
  for (double depth = 0; depth < 4000; depth += 10) {
    const double keys = 100 + 10 * depth;
    cost.Observe({11, keys}, 0.010 + 0.011 + 0.5e-6 * keys);
  }
  EXPECT_NEAR(cost.Estimate({11, 40000}), 0.041, 0.002);
  EXPECT_NEAR(cost.Estimate({11, 100}), 0.021, 0.002);
  StepDemand demand = Demand(1, 1, 511);
  EXPECT_NEAR(double(cost.PromptRows({.share = 1}, demand)), 11, 1);
  // 11 ms for the decode, and 11 for rows that cost 3 ms each behind 4,000 tokens.
  demand.prompt_key_count = 4000;
  EXPECT_NEAR(double(cost.PromptRows({.share = 1}, demand)), 11.0 / 3, 1);
}

// A decode's own context grows by a token a step, and its times vary for all kinds of reasons.
TEST(StepCost, AsksOnlyStepsThatDifferInKeys) {
  StepCost cost;
  for (int i = 0; i < 2000; ++i) cost.Observe({1, 1000.0 + i}, i % 50 == 0 ? 0.05 : 0.01);
  EXPECT_EQ(cost.Estimate({1, 1e6}), cost.Estimate({1, 0}));
}

}  // namespace
}  // namespace kvasir
