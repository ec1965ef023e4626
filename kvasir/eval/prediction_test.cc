#include "kvasir/eval/prediction.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>
#include <vector>

namespace kvasir {
namespace {

TEST(PredictionTest, NegativeLogLikelihoodHoldsForLargeLogits) {
  const float infinity = std::numeric_limits<float>::infinity();
  EXPECT_NEAR(NegativeLogLikelihood(std::vector<float>{0, 0}, 1), std::log(2.0), 1e-12);
  EXPECT_NEAR(NegativeLogLikelihood(std::vector<float>{1e4f, 0}, 0), 0, 1e-12);
  EXPECT_NEAR(NegativeLogLikelihood(std::vector<float>{1e4f, 0}, 1), 1e4, 1e-9);
  EXPECT_NEAR(NegativeLogLikelihood(std::vector<float>{-infinity, 5}, 1), 0, 1e-12);
}

TEST(PredictionTest, DivergenceOfKnownDistributions) {
  // p = (1/2, 1/2), q = (3/4, 1/4); any constant may be added to logits.
  const std::vector<float> p = {5, 5}, q = {float(std::log(3.0)), 0};
  EXPECT_NEAR(KlDivergence(p, q), 0.5 * std::log(2.0 / 3) + 0.5 * std::log(2.0), 1e-7);
  EXPECT_NEAR(KlDivergence(q, p), 0.75 * std::log(1.5) + 0.25 * std::log(0.5), 1e-7);
  EXPECT_EQ(KlDivergence(p, p), 0);
}

TEST(PredictionTest, DivergenceIsThatOfProbabilitiesInLongDouble) {
  std::mt19937 random(7);
  std::normal_distribution<float> normal(0, 4), near(0, 0.01f);
  for (int round = 0; round < 20; ++round) {
    std::vector<float> p(1000), q(1000);
    for (size_t i = 0; i < p.size(); ++i) q[i] = (p[i] = normal(random)) + near(random);
    long double p_sum = 0, q_sum = 0, kl = 0;
    for (size_t i = 0; i < p.size(); ++i) p_sum += std::exp(static_cast<long double>(p[i]));
    for (size_t i = 0; i < p.size(); ++i) q_sum += std::exp(static_cast<long double>(q[i]));
    for (size_t i = 0; i < p.size(); ++i) {
      const long double a = std::exp(static_cast<long double>(p[i])) / p_sum;
      const long double b = std::exp(static_cast<long double>(q[i])) / q_sum;
      kl += a * std::log(a / b);
    }
    // The terms cancel to ~ 1e-4 from ~ 1e-2: 1000 roundings of 2^-53 relative to their sizes.
    EXPECT_NEAR(KlDivergence(p, q), double(kl), 1e-14);
  }
}

TEST(PredictionTest, TheFirstOfEqualLogitsIsTheMostLikely) {
  EXPECT_EQ(Predict(std::vector<float>{1, 3, 3, 2}).best, 1);
  EXPECT_EQ(MostLikely(std::vector<float>{-2, -1}), 1);
}

TEST(PercentileTest, IsTheNearestRank) {
  // The worked example of nearest ranks: of 15, 20, 35, 40, 50 the 30th percentile is 20.
  const std::vector<double> values = {40, 15, 50, 35, 20};
  EXPECT_EQ(Percentile(values, 0.05), 15);
  EXPECT_EQ(Percentile(values, 0.3), 20);
  EXPECT_EQ(Percentile(values, 0.4), 20);
  EXPECT_EQ(Percentile(values, 0.5), 35);
  EXPECT_EQ(Percentile(values, 1), 50);
  std::vector<double> counted(1000);
  for (size_t i = 0; i < counted.size(); ++i) counted[i] = double((i * 7) % 1000);
  EXPECT_EQ(Percentile(counted, 0.999), 998);  // rank 999 of 0..999
  counted.push_back(1000);
  EXPECT_EQ(Percentile(counted, 0.999), 999);  // rank 1000 of 0..1000
}

TEST(SummarizeTest, AddsUpScores) {
  const std::vector<TokenScore> scores = {
      {1, 0.5, true}, {2, 0.25, false}, {3, 0.125, true}, {6, 0.125, true}};
  const PredictionQuality quality = Summarize(scores);
  EXPECT_EQ(quality.token_count, 4u);
  EXPECT_DOUBLE_EQ(quality.mean_nll, 3);
  EXPECT_DOUBLE_EQ(quality.perplexity, std::exp(3.0));
  // Sample variance 14 / 3 of 4 values.
  EXPECT_DOUBLE_EQ(quality.nll_standard_error, std::sqrt(14.0 / 3 / 4));
  EXPECT_DOUBLE_EQ(quality.mean_kl, 0.25);
  EXPECT_DOUBLE_EQ(quality.kl_standard_error, std::sqrt(0.09375 / 3 / 4));
  EXPECT_EQ(quality.p999_kl, 0.5);
  EXPECT_EQ(quality.max_kl, 0.5);
  EXPECT_DOUBLE_EQ(quality.top1, 0.75);
}

}  // namespace
}  // namespace kvasir
