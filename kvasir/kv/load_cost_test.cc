#include "kvasir/kv/load_cost.h"

#include <algorithm>
#include <vector>

#include <gtest/gtest.h>

namespace kvasir {
namespace {

constexpr size_t kBlockBytes = 737'280;  // SmolLM2-135M in bf16

// A tier as a line: what it takes for the first and for each further block.
struct Tier {
  double latency_seconds;
  double block_seconds;

  double Seconds(size_t block_count) const {
    return latency_seconds + block_seconds * double(block_count);
  }
  LoadCost::Burst Burst(size_t block_count) const {
    return {block_count, Seconds(1), Seconds(block_count)};
  }
};

LoadCost Learned(const Tier& tier, std::vector<size_t> burst_block_counts = {32}) {
  LoadCost cost(kBlockBytes);
  for (const size_t count : burst_block_counts) cost.Observe(tier.Burst(count));
  return cost;
}

TEST(LoadCost, LearnsLatencyAndPaceFromOneBurst) {
  const LoadCost cost = Learned({.latency_seconds = 0.3, .block_seconds = 0.002});
  EXPECT_NEAR(cost.latency_seconds(), 0.3, 1e-9);
  EXPECT_NEAR(cost.block_seconds(), 0.002, 1e-9);
  EXPECT_NEAR(cost.Seconds(128), 0.3 + 0.256, 1e-9);
  EXPECT_EQ(cost.Seconds(0), 0);
}

TEST(LoadCost, ForgetsWhatATierWasLikeBefore) {
  LoadCost cost = Learned({.latency_seconds = 0.3, .block_seconds = 0.2});
  for (int i = 0; i < 20; ++i) cost.Observe(Tier{0.001, 0.0005}.Burst(16));
  EXPECT_NEAR(cost.Seconds(100), 0.051, 0.1);
}

TEST(LoadCost, ASingleBlockScalesBothNumbers) {
  LoadCost cost = Learned({.latency_seconds = 0.1, .block_seconds = 0.1});
  cost.Observe({.block_count = 1, .first_seconds = 0.4, .seconds = 0.4});
  // A quarter of the way to twice as slow.
  EXPECT_NEAR(cost.latency_seconds(), 0.125, 1e-9);
  EXPECT_NEAR(cost.block_seconds(), 0.125, 1e-9);
}

TEST(LoadCost, SilenceIsLatency) {
  LoadCost cost = Learned({.latency_seconds = 0.01, .block_seconds = 0.001});
  cost.ObserveSilence(2);
  EXPECT_GE(cost.Seconds(1), 2);
  EXPECT_FALSE(DecideLoad({.block_count = 10, .compute_seconds = 1}, cost).load);
}

// The sweep of the issue: 1 MB/s to 2 GB/s and 0 to 300 ms, from a prompt of one block to one of
// 128, with computing at 300 tokens a second. Whatever is chosen costs at most 15 % more than the
// better of the two.
TEST(LoadCost, TheChoiceIsTheBetterOneEverywhere) {
  const double compute_block_seconds = 32 / 300.0;
  for (const double bytes_per_second : {1e6, 3e6, 1e7, 1e8, 5e8, 2e9}) {
    for (const double latency : {0.0, 0.001, 0.01, 0.05, 0.3}) {
      const Tier tier = {latency, double(kBlockBytes) / bytes_per_second};
      const LoadCost cost = Learned(tier, {4, 32, 8});
      for (const size_t count : {1, 2, 4, 16, 64, 128}) {
        const double load = tier.Seconds(count), compute = compute_block_seconds * double(count);
        const LoadAnswer answer =
            DecideLoad({.block_count = count, .compute_seconds = compute}, cost);
        EXPECT_LE(answer.load ? load : compute, 1.15 * std::min(load, compute))
            << bytes_per_second << " bytes/s, " << latency << " s, " << count << " blocks";
        // And nobody is too impatient for a tier that behaves as it always did.
        if (answer.load) {
          EXPECT_TRUE(KeepWaiting({.block_count = count,
                                   .seconds = tier.Seconds(1),
                                   .seconds_since_last = tier.Seconds(1)},
                                  answer));
        }
      }
    }
  }
}

TEST(LoadCost, BlocksAheadDelayALoad) {
  const LoadCost cost = Learned({.latency_seconds = 0, .block_seconds = 0.05});
  EXPECT_TRUE(DecideLoad({.block_count = 10, .compute_seconds = 1}, cost).load);
  EXPECT_FALSE(
      DecideLoad({.block_count = 10, .blocks_ahead = 11, .compute_seconds = 1}, cost).load);
}

TEST(LoadCost, NothingIsDecidedWithoutBlocks) {
  EXPECT_FALSE(DecideLoad({.block_count = 0, .compute_seconds = 1}, LoadCost(1)).load);
}

TEST(LoadCost, BeforeTheFirstStepLoadingIsTakenToPay) {
  const LoadAnswer answer = DecideLoad({.block_count = 128}, LoadCost(kBlockBytes));
  EXPECT_TRUE(answer.load);
  EXPECT_GT(answer.patience_seconds, 1);
}

TEST(LoadCost, PatienceIsATenthOfComputing) {
  const LoadCost cost = Learned({.latency_seconds = 0.001, .block_seconds = 0.001});
  const LoadAnswer answer = DecideLoad({.block_count = 128, .compute_seconds = 14}, cost);
  EXPECT_NEAR(answer.patience_seconds, 1.4, 1e-9);
  EXPECT_NEAR(DecideLoad({.block_count = 1, .compute_seconds = 0.1}, cost).patience_seconds, 0.05,
              1e-9);
}

TEST(LoadCost, WaitsAsLongAsThingsGoWell) {
  const LoadAnswer answer = {
      .load = true, .compute_seconds = 10, .expected_seconds = 1, .patience_seconds = 1};
  EXPECT_TRUE(KeepWaiting({.block_count = 100, .seconds = 0.9, .seconds_since_last = 0.9}, answer));
  EXPECT_FALSE(
      KeepWaiting({.block_count = 100, .seconds = 1.1, .seconds_since_last = 1.1}, answer));
  // 20 of 100 in 4 s: the other 80 would take 16 s, computing them 8.
  EXPECT_FALSE(KeepWaiting({.block_count = 100,
                            .arrived_count = 21,
                            .seconds = 4,
                            .seconds_since_first = 4,
                            .seconds_since_last = 0.2},
                           answer));
  EXPECT_TRUE(KeepWaiting({.block_count = 100,
                           .arrived_count = 21,
                           .seconds = 4,
                           .seconds_since_first = 1,
                           .seconds_since_last = 0.2},
                          answer));
  // However well it goes on: not longer than computing all of it.
  EXPECT_FALSE(KeepWaiting({.block_count = 100,
                            .arrived_count = 99,
                            .seconds = 10.1,
                            .seconds_since_first = 1,
                            .seconds_since_last = 0.1},
                           answer));
}

}  // namespace
}  // namespace kvasir
