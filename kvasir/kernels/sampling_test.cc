#include "kvasir/kernels/sampling.h"

#include <algorithm>
#include <cmath>
#include <random>

#include <gtest/gtest.h>

#include "kvasir/kernels/sampling_test_util.h"

namespace kvasir {
namespace {

RowFilter FilterOf(const SamplingParams& params) {
  return {.temperature = params.temperature,
          .top_k = params.top_k,
          .top_p = params.top_p,
          .min_p = params.min_p,
          .order = params.filter_apply_order};
}

TEST(ArgMax, FindsTheFirstLargestWhereverItStands) {
  for (size_t count : {1, 2, 15, 16, 17, 31, 33, 64, 100}) {
    for (size_t at = 0; at < count; ++at) {
      std::vector<float> logits(count, -5.0f);
      logits[at] = -1;
      logits[count - 1] = -1;
      EXPECT_EQ(ArgMax(logits), TokenId(at)) << count;
    }
  }
}

TEST(ArgMax, IsDefinedForEveryFloat) {
  EXPECT_EQ(ArgMax(std::vector<float>{kNan, 1, kNan, 3, kNan}), 3);
  EXPECT_EQ(ArgMax(std::vector<float>{kNan, -kInf, -3, kInf, kInf}), 3);
  EXPECT_EQ(ArgMax(std::vector<float>(40, -kInf)), 0);
  EXPECT_EQ(ArgMax(std::vector<float>(40, kNan)), 0);
  EXPECT_EQ(ArgMax(std::vector<float>(40, 2.5f)), 0);
  EXPECT_EQ(ArgMax(std::vector<float>{-0.0f, 0.0f}), 0);
  EXPECT_EQ(ArgMax({}), 0);
  std::vector<float> logits(33, kNan);
  logits[20] = -kInf;
  logits[29] = std::numeric_limits<float>::lowest();
  EXPECT_EQ(ArgMax(logits), 29);
}

TEST(ApplyPenalties, RepetitionLooksAtPromptAndAnswerOnce) {
  std::vector<float> logits = {2, -2, 3, 0, 5, -kInf};
  SamplingParams params;
  params.repetition_penalty = 2;
  ApplyPenalties(params, std::vector<TokenId>{0, 1, 1, 0, 5}, std::vector<TokenId>{0, 3, 2, 2},
                 logits);
  EXPECT_EQ(logits, (std::vector<float>{1, -4, 1.5, 0, 5, -kInf}));
}

TEST(ApplyPenalties, PresenceAndFrequencyLookAtTheAnswerOnly) {
  std::vector<float> logits = {1, 2, 3, 4};
  SamplingParams params;
  params.presence_penalty = 0.5f;
  params.frequency_penalty = 0.25f;
  ApplyPenalties(params, std::vector<TokenId>{0, 0}, std::vector<TokenId>{3, 1, 3, 3}, logits);
  EXPECT_EQ(logits, (std::vector<float>{1, 1.25f, 3, 2.75f}));
}

TEST(ApplyPenalties, OffLeavesTheBits) {
  std::vector<float> logits = RandomLogits(50, 1);
  const std::vector<float> before = logits;
  ApplyPenalties(SamplingParams(), std::vector<TokenId>{1, 2}, std::vector<TokenId>{3}, logits);
  EXPECT_EQ(logits, before);
}

TEST(ApplyLogitBias, AddsToTheTokensNamed) {
  std::vector<float> logits = {1, 2, 3, 4};
  ApplyLogitBias(std::vector<LogitBias>{{1, 0.5f}, {3, -kInf}, {1, 0.25f}}, logits);
  EXPECT_EQ(logits, (std::vector<float>{1, 2.75f, 3, -kInf}));
  ApplyLogitBias({}, logits);
  EXPECT_EQ(logits, (std::vector<float>{1, 2.75f, 3, -kInf}));
}

TEST(Sample, FollowsTheExactDistribution) {
  struct Case {
    float temperature;
    uint32_t top_k;
    float top_p;
    float min_p;
    FilterApplyOrder order = FilterApplyOrder::kTopKFirst;
  };
  SamplingScratch scratch;
  uint32_t seed = 0;
  for (const Case& c :
       {Case{1, 0, 1, 0}, Case{0.7f, 0, 1, 0}, Case{2.5f, 0, 1, 0}, Case{1, 5, 1, 0},
        Case{1, 99, 1, 0}, Case{1, 1, 1, 0}, Case{1, 1000, 1, 0}, Case{1, 0, 0.9f, 0},
        Case{3, 0, 0.5f, 0}, Case{1, 0, 0.999f, 0}, Case{1, 0, 0, 0}, Case{1, 0, 1, 0.1f},
        Case{1, 0, 1, 1}, Case{1.5f, 40, 0.8f, 0.02f}, Case{1.5f, 7, 0.95f, 0.2f},
        Case{4, 60, 0.99f, 0.001f}, Case{1.5f, 40, 0.8f, 0.02f, FilterApplyOrder::kJoint},
        Case{2, 9, 0.6f, 0, FilterApplyOrder::kJoint}}) {
    SCOPED_TRACE(testing::Message() << "temperature " << c.temperature << " top_k " << c.top_k
                                    << " top_p " << c.top_p << " min_p " << c.min_p);
    SamplingParams params;
    params.temperature = c.temperature;
    params.top_k = c.top_k;
    params.top_p = c.top_p;
    params.min_p = c.min_p;
    params.filter_apply_order = c.order;
    params.seed = ++seed;
    const std::vector<float> logits = RandomLogits(101, 11 + seed);
    ExpectDrawsFollow(ExactDistribution(FilterOf(params), logits), 40000,
                      [&](uint64_t i) { return Sample(params, i, logits, &scratch); });
  }
}

// Large rows, many settings: what is drawn is always inside the exact support, and everything of
// weight inside it is drawn.
TEST(Sample, KeepsTheSupportOnLargeRows) {
  std::mt19937 random(5);
  SamplingScratch scratch;
  for (int trial = 0; trial < 30; ++trial) {
    const std::vector<float> logits =
        RandomLogits(2000 + random() % 3000, random(), 0.5f + float(random() % 40) / 10);
    SamplingParams params;
    params.temperature = 0.5f + float(random() % 100) / 50;
    params.top_k = random() % 2 ? 1 + random() % 300 : 0;
    params.top_p = random() % 2 ? float(random() % 1000) / 1000 : 1;
    params.min_p = random() % 2 ? float(random() % 1000) / 5000 : 0;
    const std::vector<double> p = ExactDistribution(FilterOf(params), logits);
    std::vector<bool> drawn(p.size(), false);
    for (uint64_t i = 0; i < 2000; ++i) {
      const TokenId token = Sample(params, i, logits, &scratch);
      EXPECT_GT(p[token], 0) << trial;
      drawn[token] = true;
    }
    for (size_t i = 0; i < p.size(); ++i) EXPECT_TRUE(drawn[i] || p[i] < 0.02) << trial;
  }
}

// min-p keeps a token whose weight is at least min_p of the best one's: the edge shows the weight
// itself. Tolerance: 2^-24 each for rounding the argument's quotient, the sum and the scaling.
TEST(Sample, WeightsAreTheExponentialToTheLastBits) {
  uint64_t position = 0;  // of a draw so high that it falls on token 0 only when it stands alone
  while (UniformFromSeed(0, position) < 0.95) ++position;
  SamplingScratch scratch;
  for (float logit = -0.01f; logit > -7; logit -= 0.037f) {
    std::vector<float> logits(2000, logit);
    logits[0] = 0;
    SamplingParams params;
    params.temperature = 1;
    params.min_p = static_cast<float>(std::exp(double{logit}) * (1 - 3e-7));
    EXPECT_GT(Sample(params, position, logits, &scratch), 0) << logit;
    params.min_p = static_cast<float>(std::exp(double{logit}) * (1 + 3e-7));
    EXPECT_EQ(Sample(params, position, logits, &scratch), 0) << logit;
  }
}

TEST(Sample, TiesGoToTheLowestIds) {
  SamplingScratch scratch;
  const std::vector<float> logits(1000, 1.5f);
  SamplingParams params;
  EXPECT_EQ(Sample(params, 3, logits, &scratch), 0);
  params.temperature = 1;
  params.top_k = 4;
  ExpectDrawsFollow(ExactDistribution(FilterOf(params), logits), 4000,
                    [&](uint64_t i) { return Sample(params, i, logits, &scratch); });
  params.top_k = 0;
  params.top_p = 0.05f;
  ExpectDrawsFollow(ExactDistribution(FilterOf(params), logits), 20000,
                    [&](uint64_t i) { return Sample(params, i, logits, &scratch); });
  // Equal logits on both sides of a full selection buffer.
  std::vector<float> rising(400, 0.0f);
  for (size_t i = 0; i < 400; ++i) rising[i] = float(i / 4);
  params.top_p = 1;
  params.top_k = 6;
  params.temperature = 50;
  ExpectDrawsFollow(ExactDistribution(FilterOf(params), rising), 6000,
                    [&](uint64_t i) { return Sample(params, i, rising, &scratch); });
}

TEST(Sample, IsDefinedForEveryFloat) {
  SamplingScratch scratch;
  for (uint32_t top_k : {0, 3}) {
    for (float top_p : {1.0f, 0.9f}) {
      SamplingParams params;
      params.temperature = 1;
      params.top_k = top_k;
      params.top_p = top_p;
      const auto draw = [&](const std::vector<float>& logits) {
        TokenId highest = 0;
        for (uint64_t i = 0; i < 200; ++i) {
          highest = std::max(highest, Sample(params, i, logits, &scratch));
        }
        return highest;
      };
      EXPECT_EQ(draw(std::vector<float>(20, -kInf)), 0);
      EXPECT_EQ(draw(std::vector<float>(20, kNan)), 0);
      EXPECT_EQ(draw({kNan, -kInf, -1e30f, kNan, -kInf}), 2);
      EXPECT_EQ(draw({kNan, 1e30f, 2, kInf, kNan, kNan, 3}), 3);
      EXPECT_EQ(draw({-3e38f, 3e38f, kNan, 0, 0}), 1);
      std::vector<float> two(20, 1.0f);
      two[4] = two[9] = kInf;
      EXPECT_EQ(draw(two), 9);
      EXPECT_EQ(draw({7}), 0);
    }
  }
}

TEST(Sample, ExtremeTemperatures) {
  SamplingScratch scratch;
  const std::vector<float> logits = {1, 3, 2.9f, -kInf};
  SamplingParams params;
  for (float cold : {-1.0f, kNan, 1e-45f, 1e-30f, 1e-4f}) {
    params.temperature = cold;
    for (uint64_t i = 0; i < 100; ++i) EXPECT_EQ(Sample(params, i, logits, &scratch), 1) << cold;
  }
  params.temperature = kInf;
  ExpectDrawsFollow({1.0 / 3, 1.0 / 3, 1.0 / 3, 0}, 3000,
                    [&](uint64_t i) { return Sample(params, i, logits, &scratch); });
}

TEST(Sample, DependsOnSeedAndPositionOnly) {
  const std::vector<float> logits = RandomLogits(500, 2);
  SamplingParams params;
  params.temperature = 1;
  params.seed = 42;
  SamplingScratch scratch, dirty;
  dirty.Reserve(9000);
  std::fill(dirty.weights.begin(), dirty.weights.end(), 1.0f);
  int differing_seed = 0, differing_position = 0;
  for (uint64_t i = 0; i < 200; ++i) {
    const TokenId token = Sample(params, i, logits, &scratch);
    EXPECT_EQ(Sample(params, i, logits, &dirty), token);
    SamplingParams other = params;
    other.seed = 43;
    differing_seed += Sample(other, i, logits, &scratch) != token;
    differing_position += Sample(params, i + 1000, logits, &scratch) != token;
  }
  EXPECT_GT(differing_seed, 100);
  EXPECT_GT(differing_position, 100);
}

}  // namespace
}  // namespace kvasir
