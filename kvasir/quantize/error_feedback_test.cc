// Error feedback and channel scaling on inputs with what real ones have: channels that go together
// and a few that are large. Errors are measured directly, in float64, on inputs that the methods
// have not seen.

#include "kvasir/quantize/error_feedback.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <vector>

#include "kvasir/formats/gguf_quants.h"
#include "kvasir/quantize/output_error.h"
#include "kvasir/quantize/scale_search.h"

namespace kvasir {
namespace {

constexpr size_t kCols = 256, kRows = 40, kHidden = 24;

// Inputs [count, kCols]: few common causes, noise, and every 37th channel 20 times as large.
std::vector<float> Inputs(size_t count, uint32_t seed) {
  std::mt19937 mixing_random(7), random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> mixing(kHidden * kCols);
  for (float& m : mixing) m = normal(mixing_random);
  std::vector<float> inputs(count * kCols);
  for (size_t r = 0; r < count; ++r) {
    float causes[kHidden];
    for (float& cause : causes) cause = normal(random);
    for (size_t c = 0; c < kCols; ++c) {
      float x = 0.3f * normal(random);
      for (size_t h = 0; h < kHidden; ++h) x += causes[h] * mixing[h * kCols + c] * 0.2f;
      inputs[r * kCols + c] = c % 37 == 0 ? 20 * x : x;
    }
  }
  return inputs;
}

std::vector<float> Weights() {
  std::mt19937 random(3);
  std::normal_distribution<float> normal(0, 0.05f);
  std::vector<float> weights(kRows * kCols);
  for (float& w : weights) w = normal(random);
  return weights;
}

InputStatistics Statistics(const std::vector<float>& inputs, ThreadPool& pool) {
  InputStatistics statistics;
  statistics.cols = kCols;
  statistics.gram.resize(kCols * kCols);
  statistics.magnitude.resize(kCols);
  const size_t count = inputs.size() / kCols;
  const auto scratch = GemmScratch::Create(count, pool.thread_count());
  EXPECT_TRUE(scratch.ok());
  EXPECT_TRUE(statistics.Add({inputs.data(), count, kCols}, *scratch, pool).ok());
  return statistics;
}

// The sum of squares of (a - b) x over all inputs x.
double DirectError(const std::vector<float>& a, const std::vector<float>& b,
                   const std::vector<float>& inputs) {
  double sum = 0;
  for (size_t i = 0; i < inputs.size(); i += kCols) {
    for (size_t r = 0; r < kRows; ++r) {
      double difference = 0;
      for (size_t c = 0; c < kCols; ++c) {
        difference += (double{a[r * kCols + c]} - b[r * kCols + c]) * inputs[i + c];
      }
      sum += difference * difference;
    }
  }
  return sum;
}

std::vector<float> WithFeedback(const std::vector<float>& weights, DType dtype,
                                const std::vector<float>& factor, ThreadPool& pool) {
  std::vector<std::byte> bytes(DTypeBytes(dtype, weights.size()));
  QuantizeWithFeedback({weights.data(), kRows, kCols}, dtype, factor, pool, bytes);
  std::vector<float> result(weights.size());
  DequantizeRow(dtype, bytes.data(), result.size(), result.data());
  return result;
}

std::vector<float> Rounded(const std::vector<float>& weights, DType dtype, ThreadPool& pool) {
  std::vector<float> result(weights.size());
  RoundTrip({weights.data(), kRows, kCols}, dtype, pool, {result.data(), kRows, kCols});
  return result;
}

TEST(ErrorFeedbackTest, FactorIsThatOfTheInverse) {
  ThreadPool pool(2);
  const InputStatistics statistics = Statistics(Inputs(300, 1), pool);
  const auto factor = InverseFactor(statistics, pool);
  ASSERT_TRUE(factor.ok());
  double damping = 0;
  for (size_t i = 0; i < kCols; ++i) damping += 0.01 * statistics.gram[i * kCols + i] / kCols;
  // L^T (H + damping) L must be the identity.
  std::vector<double> right(kCols * kCols);
  for (size_t i = 0; i < kCols; ++i) {
    for (size_t k = 0; k < kCols; ++k) {
      const double h = statistics.gram[i * kCols + k] + (i == k ? damping : 0);
      for (size_t j = 0; j <= k; ++j) right[i * kCols + j] += h * (*factor)[k * kCols + j];
    }
  }
  double worst = 0;
  for (size_t i = 0; i < kCols; ++i) {
    for (size_t j = 0; j < kCols; ++j) {
      double sum = 0;
      for (size_t k = i; k < kCols; ++k) sum += (*factor)[k * kCols + i] * right[k * kCols + j];
      worst = std::max(worst, std::fabs(sum - (i == j)));
    }
  }
  // The factor is kept in f32; the condition number is at most 100 * kCols by the damping.
  EXPECT_LT(worst, 1e-3);
}

TEST(ErrorFeedbackTest, SilentInputsLeavePlainRounding) {
  ThreadPool pool(1);
  const InputStatistics statistics = Statistics(std::vector<float>(64 * kCols), pool);
  const auto factor = InverseFactor(statistics, pool);
  ASSERT_TRUE(factor.ok());
  const std::vector<float> weights = Weights();
  const std::vector<float> plain = Rounded(weights, DType::kQ4_K, pool);
  EXPECT_EQ(WithFeedback(weights, DType::kQ4_K, *factor, pool), plain);
}

TEST(ErrorFeedbackTest, LosesLessThanRoundingOnUnseenInputs) {
  ThreadPool pool(2);
  const std::vector<float> weights = Weights(), unseen = Inputs(200, 99);
  const InputStatistics statistics = Statistics(Inputs(600, 1), pool);
  const auto factor = InverseFactor(statistics, pool);
  ASSERT_TRUE(factor.ok());
  for (const DType dtype : {DType::kQ4_0, DType::kQ5_0, DType::kQ8_0, DType::kQ4_K}) {
    const double plain = DirectError(Rounded(weights, dtype, pool), weights, unseen);
    const double fed = DirectError(WithFeedback(weights, dtype, *factor, pool), weights, unseen);
    EXPECT_LT(fed, 0.75 * plain) << GetDTypeInfo(dtype).name;
    std::printf("%s: error %.4g, plainly rounded %.4g\n", GetDTypeInfo(dtype).name.data(), fed,
                plain);
  }
}

TEST(ErrorFeedbackTest, DoesNotDependOnTheThreadCount) {
  const std::vector<float> weights = Weights(), inputs = Inputs(300, 1);
  std::vector<std::vector<float>> results;
  for (const size_t thread_count : {1, 3}) {
    ThreadPool pool(thread_count);
    const auto factor = InverseFactor(Statistics(inputs, pool), pool);
    ASSERT_TRUE(factor.ok());
    results.push_back(WithFeedback(weights, DType::kQ4_K, *factor, pool));
  }
  EXPECT_EQ(results[0], results[1]);
}

TEST(OutputErrorTest, EqualsTheSumOverInputs) {
  ThreadPool pool(2);
  const std::vector<float> inputs = Inputs(100, 5), weights = Weights();
  const std::vector<float> zeros(weights.size());
  const auto error = OutputError::Create(Statistics(inputs, pool), pool);
  ASSERT_TRUE(error.ok());
  const double direct = DirectError(weights, zeros, inputs);
  EXPECT_NEAR(error->Of({weights.data(), kRows, kCols}), direct, 1e-4 * direct);
}

TEST(ScaleSearchTest, ScalesWhereChannelsAreLarge) {
  ThreadPool pool(2);
  const std::vector<float> weights = Weights(), unseen = Inputs(200, 99);
  const InputStatistics statistics = Statistics(Inputs(600, 1), pool);
  const auto error = OutputError::Create(statistics, pool);
  ASSERT_TRUE(error.ok());
  const ScaledMatrix matrix = {{weights.data(), kRows, kCols}, DType::kQ4_0};
  const std::vector<float> scales = SearchScales({&matrix, 1}, statistics, *error, {}, pool);
  ASSERT_EQ(scales.size(), kCols);
  EXPECT_GT(scales[37], 1.5f * scales[38]);
  std::vector<float> scaled = weights;
  for (size_t i = 0; i < scaled.size(); ++i) scaled[i] *= scales[i % kCols];
  std::vector<float> result = Rounded(scaled, DType::kQ4_0, pool);
  for (size_t i = 0; i < result.size(); ++i) result[i] /= scales[i % kCols];
  const double plain = DirectError(Rounded(weights, DType::kQ4_0, pool), weights, unseen);
  EXPECT_LT(DirectError(result, weights, unseen), 0.75 * plain);
}

TEST(ScaleSearchTest, ChannelsOfOneOwnerShareAScale) {
  ThreadPool pool(1);
  const std::vector<float> weights = Weights();
  const InputStatistics statistics = Statistics(Inputs(300, 1), pool);
  const auto error = OutputError::Create(statistics, pool);
  ASSERT_TRUE(error.ok());
  const ScaledMatrix matrix = {{weights.data(), kRows, kCols}, DType::kQ4_0};
  ChannelOwners owners;
  owners.count = kCols / 2;
  for (uint32_t c = 0; c < kCols; ++c) owners.owner.push_back(c % owners.count);
  EXPECT_EQ(SearchScales({&matrix, 1}, statistics, *error, owners, pool).size(), owners.count);
  // Nothing to gain where nothing is rounded.
  const ScaledMatrix plain = {matrix.weights, DType::kF16};
  EXPECT_EQ(SearchScales({&plain, 1}, statistics, *error, {}, pool),
            std::vector<float>(kCols, 1.0f));
}

}  // namespace
}  // namespace kvasir
