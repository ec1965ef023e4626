// Every kernel against the float64 truth.

#include "kvasir/attention/batch_attention.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <string>
#include <vector>

#include "kvasir/attention/attention_test_util.h"
#include "kvasir/kernels/cpu_target.h"

namespace kvasir {
namespace {

// Rounding to f32 in a few hundred chained multiply-adds, the exponential's last bit, and sums of
// up to 700 positive weights: a few 1e-7 of the row's largest number; bf16 adds nothing, because
// the truth reads the rounded keys and values.
constexpr double kTolerance = 2e-6;

// The largest error of a row relative to its largest number; NaN anywhere gives infinity.
double RelativeError(const std::vector<float>& out, size_t first, const std::vector<double>& truth,
                     size_t head_dim) {
  double worst = 0;
  for (size_t row = 0; row < truth.size(); row += head_dim) {
    double scale = 0, error = 0;
    for (size_t i = row; i < row + head_dim; ++i) {
      scale = std::max(scale, std::abs(truth[i]));
      const double difference = std::abs(double(out[first + i]) - truth[i]);
      error = std::isfinite(difference) ? std::max(error, difference) : INFINITY;
    }
    worst = std::max(worst, scale > 0 ? error / scale : error > 0 ? INFINITY : 0.0);
  }
  return worst;
}

std::string Describe(const AttentionSpec& spec, KvFormat format, const TestBatch& batch) {
  std::string text = std::string(KvFormatName(format)) + ", heads " +
                     std::to_string(spec.num_qo_heads) + "/" + std::to_string(spec.num_kv_heads) +
                     ", head_dim " + std::to_string(spec.head_dim) + ", window " +
                     std::to_string(spec.window_left) + ", cap " +
                     std::to_string(spec.logits_soft_cap) + ", q_len/kv_len";
  for (const TestSequence& s : batch.sequences()) {
    text += " " + std::to_string(s.q_len) + "/" + std::to_string(s.kv_len);
  }
  return text;
}

void CheckOnAllTargets(const AttentionSpec& spec, KvFormat format, const TestBatch& batch,
                       size_t thread_count) {
  std::vector<std::vector<double>> truths;
  for (const TestSequence& s : batch.sequences()) truths.push_back(ReferenceAttention(spec, s));
  for (const CpuTarget target : SupportedCpuTargets()) {
    const ScopedCpuTarget scope(target);
    const std::vector<float> out = batch.Run(thread_count);
    for (size_t b = 0; b < truths.size(); ++b) {
      const size_t first = size_t(batch.qo_indptr()[b]) * spec.num_qo_heads * spec.head_dim;
      EXPECT_LE(RelativeError(out, first, truths[b], spec.head_dim), kTolerance)
          << CpuTargetName(target) << ", sequence " << b << ": " << Describe(spec, format, batch);
    }
  }
}

template <typename T, size_t kCount>
T Pick(const T (&values)[kCount], std::mt19937& random) {
  return values[random() % kCount];
}

AttentionSpec RandomSpec(std::mt19937& random) {
  constexpr uint32_t kKvHeads[] = {1, 2, 3, 5};
  constexpr uint32_t kGroups[] = {1, 3, 4, 5, 7, 8, 9, 16};
  constexpr uint32_t kHeadDims[] = {1, 8, 15, 16, 33, 40, 64, 80, 96, 128, 256, 576};
  constexpr int32_t kWindows[] = {-1, -1, 0, 1, 30, 32, 100, 255, 256, 300, 1 << 30};
  constexpr float kCaps[] = {0, 0, 1.5f, 30};
  AttentionSpec spec;
  spec.num_kv_heads = Pick(kKvHeads, random);
  spec.num_qo_heads = spec.num_kv_heads * Pick(kGroups, random);
  spec.head_dim = Pick(kHeadDims, random);
  spec.sm_scale = 1.0f / std::sqrt(float(spec.head_dim));
  spec.window_left = Pick(kWindows, random);
  spec.logits_soft_cap = Pick(kCaps, random);
  return spec;
}

TEST(BatchAttentionTest, AgreesWithTheTruthOnRandomBatches) {
  constexpr int32_t kKvLens[] = {0, 1, 2, 13, 31, 32, 33, 97, 127, 255, 256, 257, 511, 700};
  constexpr int32_t kQLens[] = {0, 1, 1, 1, 2, 3, 5, 17, 33, 67};
  constexpr int kCases = 250;
  constexpr double kWorkMax = 4e6;  // multiply-adds of the truth: keeps the test short
  std::mt19937 random(20240607);
  for (int i = 0; i < kCases; ++i) {
    const AttentionSpec spec = RandomSpec(random);
    const KvFormat format = i % 2 == 0 ? KvFormat::kBF16 : KvFormat::kF32;
    double work = 0;
    std::vector<TestSequence> sequences;
    for (size_t count = 1 + random() % 5; sequences.size() < count;) {
      const int32_t kv_len = Pick(kKvLens, random), q_len = Pick(kQLens, random);
      work += 2.0 * kv_len * q_len * spec.num_qo_heads * spec.head_dim;
      if (work > kWorkMax && !sequences.empty()) break;
      sequences.push_back(
          RandomSequence(spec, format, kv_len, std::min(q_len, kv_len + 3), random));
    }
    const TestBatch batch(spec, format, std::move(sequences), random);
    CheckOnAllTargets(spec, format, batch, 1 + random() % 3);
    if (HasFailure()) break;
  }
}

// The shapes of the models that we serve, prefilled whole and decoded.
TEST(BatchAttentionTest, AgreesWithTheTruthOnModelShapes) {
  struct Shape {
    uint32_t num_qo_heads, num_kv_heads, head_dim;
  };
  constexpr Shape kShapes[] = {{9, 3, 64}, {32, 8, 64}, {4, 1, 256}, {32, 8, 128}};
  std::mt19937 random(7);
  for (const Shape& shape : kShapes) {
    for (const KvFormat format : {KvFormat::kF32, KvFormat::kBF16}) {
      const AttentionSpec spec = {shape.num_qo_heads, shape.num_kv_heads, shape.head_dim,
                                  1.0f / std::sqrt(float(shape.head_dim))};
      std::vector<TestSequence> sequences;
      sequences.push_back(RandomSequence(spec, format, 300, 1, random));
      sequences.push_back(RandomSequence(spec, format, 90, 90, random));
      sequences.push_back(RandomSequence(spec, format, 260, 10, random));
      CheckOnAllTargets(spec, format, TestBatch(spec, format, std::move(sequences), random), 2);
    }
  }
}

// Logits of +-hundreds: the softmax is nearly one-hot, and most weights are exactly 0.
TEST(BatchAttentionTest, LargeLogitsStayExact) {
  const AttentionSpec spec = {4, 2, 64, 6.0f};
  for (const KvFormat format : {KvFormat::kF32, KvFormat::kBF16}) {
    std::mt19937 random(3);
    std::vector<TestSequence> sequences = {RandomSequence(spec, format, 600, 20, random)};
    const TestBatch batch(spec, format, std::move(sequences), random);
    const std::vector<double> truth = ReferenceAttention(spec, batch.sequences()[0]);
    for (const CpuTarget target : SupportedCpuTargets()) {
      const ScopedCpuTarget scope(target);
      // A logit of 300 has an f32 step of 3e-5, which is then a relative error of a weight.
      EXPECT_LE(RelativeError(batch.Run(1), 0, truth, 64), 1e-3) << CpuTargetName(target);
    }
  }
}

TEST(BatchAttentionTest, AnEmptyBatchIsAllowed) {
  std::mt19937 random(1);
  const AttentionSpec spec = {2, 1, 16, 1.0f};
  const TestBatch batch(spec, KvFormat::kBF16, {}, random);
  EXPECT_TRUE(batch.Run(2).empty());
}

// A token that later tokens will see may be infinite or NaN without a trace in the rows before it.
TEST(BatchAttentionTest, AKeyThatARowDoesNotSeeCannotReachIt) {
  const AttentionSpec spec = {6, 2, 40, 0.2f};
  for (const KvFormat format : {KvFormat::kF32, KvFormat::kBF16}) {
    std::mt19937 random(5);
    const TestSequence clean = RandomSequence(spec, format, 300, 50, random);
    TestSequence poisoned = clean;
    const size_t columns = size_t{spec.num_kv_heads} * spec.head_dim;
    constexpr int32_t kPoisoned = 273;  // seen by queries 23 .. 49
    for (size_t i = 0; i < columns; ++i) {
      poisoned.k[kPoisoned * columns + i] = NAN;
      poisoned.v[kPoisoned * columns + i] = i % 2 == 0 ? INFINITY : NAN;
    }
    const TestBatch clean_batch(spec, format, {clean}, random);
    const TestBatch poisoned_batch(spec, format, {poisoned}, random);
    for (const CpuTarget target : SupportedCpuTargets()) {
      const ScopedCpuTarget scope(target);
      std::vector<float> expected = clean_batch.Run(1), out = poisoned_batch.Run(1);
      const size_t before = 23 * size_t{spec.num_qo_heads} * spec.head_dim;
      EXPECT_TRUE(std::isnan(out.back()));
      expected.resize(before);
      out.resize(before);
      EXPECT_EQ(out, expected) << CpuTargetName(target);
    }
  }
}

}  // namespace
}  // namespace kvasir
