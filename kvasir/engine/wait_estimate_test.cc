#include "kvasir/engine/wait_estimate.h"

#include <gtest/gtest.h>

namespace kvasir {
namespace {

TEST(WaitEstimate, NobodyWaitsBesideAFreeSeat) {
  EngineStats stats;
  stats.running_count_max = 4;
  stats.running_count = 3;
  EXPECT_EQ(WaitEstimate().Seconds(0, stats), 0);
  stats.running_count = 4;
  EXPECT_GT(WaitEstimate().Seconds(0, stats), 0);
}

TEST(WaitEstimate, FollowsHowFastRequestsEnd) {
  EngineStats stats;
  stats.running_count = stats.running_count_max = 2;
  WaitEstimate estimate;
  // A request ends with every fourth step of half a second.
  for (int step = 1; step <= 400; ++step) {
    stats.step_seconds.Observe(0.5);
    stats.generated_token_count += 2;
    if (step % 4 == 0) ++stats.finished_counts[0];
    estimate.Observe(stats);
  }
  EXPECT_NEAR(estimate.Seconds(0, stats), 2, 0.2);
  EXPECT_NEAR(estimate.Seconds(9, stats), 20, 2);
  EXPECT_EQ(estimate.Seconds(1000000, stats), 3600);
}

TEST(WaitEstimate, BeforeAnyEndReadingCounts) {
  EngineStats stats;
  stats.running_count = stats.running_count_max = 1;
  stats.unread_token_count = 3000;
  WaitEstimate estimate;
  EXPECT_EQ(estimate.Seconds(1, stats), 1) << "nothing is known";
  stats.step_seconds.Observe(1);
  stats.prompt_token_count += 300;
  estimate.Observe(stats);
  EXPECT_NEAR(estimate.Seconds(1, stats), 10, 1e-9);
}

}  // namespace
}  // namespace kvasir
