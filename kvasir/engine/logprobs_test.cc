#include "kvasir/engine/logprobs.h"

#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include <gtest/gtest.h>

namespace kvasir {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kLowest = std::numeric_limits<float>::lowest();

TEST(Logprobs, AreTheLogarithmOfSoftmax) {
  std::mt19937 random(1);
  std::normal_distribution<float> normal(0, 5);
  std::vector<float> logits(1000);
  for (float& logit : logits) logit = normal(random);
  long double sum = 0;  // without the maximum taken out: another order of operations
  for (const float logit : logits) sum += std::exp((long double)logit);
  for (const TokenId token : {0, 17, 999}) {
    const TokenLogprobs logprobs = LogprobsOf(logits, token, 0);
    const double expected = double(logits[size_t(token)] - std::log(sum));
    // The result is a float: half a unit in the last place of a number below 64.
    EXPECT_NEAR(logprobs.logprob, expected, 64 * 0x1p-24);
    EXPECT_TRUE(logprobs.top.empty());
  }
}

TEST(Logprobs, TheLikeliestComeFirstTheLowestIdAmongEquals) {
  const std::vector<float> logits = {0, std::log(2.0f), std::log(4.0f), std::log(2.0f), -kInfinity};
  const TokenLogprobs logprobs = LogprobsOf(logits, 0, 4);
  EXPECT_NEAR(logprobs.logprob, std::log(1.0 / 9), 1e-6);
  ASSERT_EQ(logprobs.top.size(), 4);
  EXPECT_EQ(logprobs.top[0].token, 2);
  EXPECT_NEAR(logprobs.top[0].logprob, std::log(4.0 / 9), 1e-6);
  EXPECT_EQ(logprobs.top[1].token, 1);
  EXPECT_EQ(logprobs.top[2].token, 3);
  EXPECT_EQ(logprobs.top[3].token, 0);
  EXPECT_EQ(LogprobsOf(logits, 0, 20).top.size(), 5) << "the vocabulary is smaller";
}

TEST(Logprobs, AreFiniteWhateverTheLogits) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const std::vector<float> infinite = {1, kInfinity, nan, -kInfinity, kInfinity};
  EXPECT_NEAR(LogprobsOf(infinite, 1, 0).logprob, std::log(0.5), 1e-6);
  for (const TokenId token : {0, 2, 3}) EXPECT_EQ(LogprobsOf(infinite, token, 0).logprob, kLowest);
  const std::vector<float> nothing(3, -kInfinity);
  EXPECT_EQ(LogprobsOf(nothing, 1, 3).logprob, kLowest);
  for (const auto& [token, logprob] : LogprobsOf(infinite, 0, 5).top) {
    EXPECT_TRUE(std::isfinite(logprob)) << token;
  }
}

}  // namespace
}  // namespace kvasir
