// Variants of a user's own: three that the built-in ones or a plain formula can check.

#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <vector>

#include "kvasir/attention/attention_test_util.h"
#include "kvasir/kernels/cpu_target.h"
#include "kvasir/kernels/highway_targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kvasir/attention/variant_test.cc"
// Must come after the choice of targets and before everything else of Highway.
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kvasir/attention/variant-inl.h"

HWY_BEFORE_NAMESPACE();
namespace kvasir {
namespace HWY_NAMESPACE {

// ALiBi and a soft cap, as the built-in ones.
struct CappedAlibi {
  float slope = 0;
  float cap = 1;
  FloatLanes Logits(const AttentionRow& row, FloatLanes logits, FloatLanes keys) const {
    const FloatLanes x = logits + slope * (keys - float(row.position()));
    return cap * Tanh(x * (1.0f / cap));
  }
};
KVASIR_ATTENTION_VARIANT(CappedAlibi)

// Keys at a distance that `stride` divides, and the nearest ones: a mask that no window gives.
struct Strided {
  float stride = 1;
  float near = 0;
  LaneMask Visible(const AttentionRow& row, FloatLanes keys) const {
    const FloatLanes distance = float(row.position()) - keys;
    FloatLanes rest = distance;
    for (float step = 1024 * stride; step >= stride; step /= 2) {
      rest = Select(rest >= step, rest - step, rest);
    }
    return (rest == 0.0f) | (distance < near);
  }
};
KVASIR_ATTENTION_VARIANT(Strided)

// Attention without softmax: every key has the weight sigmoid(logit + bias).
struct Sigmoid {
  static constexpr bool kUseSoftmax = false;
  float bias = 0;
  FloatLanes Logits(const AttentionRow&, FloatLanes logits, FloatLanes) const {
    return 1.0f / (Exp(-(logits + bias)) + 1.0f);
  }
};
KVASIR_ATTENTION_VARIANT(Sigmoid)

}  // namespace HWY_NAMESPACE
}  // namespace kvasir
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace kvasir {

KVASIR_EXPORT_ATTENTION_VARIANT(CappedAlibi)
KVASIR_EXPORT_ATTENTION_VARIANT(Strided)
KVASIR_EXPORT_ATTENTION_VARIANT(Sigmoid)

namespace {

class VariantTest : public testing::TestWithParam<CpuTarget> {
 protected:
  TestBatch Batch(const AttentionSpec& spec) {
    random_.seed(29);
    return TestBatch(spec, KvFormat::kBF16,
                     {RandomSequence(spec, KvFormat::kBF16, 700, 1, random_),
                      RandomSequence(spec, KvFormat::kBF16, 300, 45, random_),
                      RandomSequence(spec, KvFormat::kBF16, 3, 5, random_)},
                     random_);
  }

  const ScopedCpuTarget scope_{GetParam()};
  std::mt19937 random_;
  const AttentionSpec spec_ = {6, 2, 64, 0.125f};
};

INSTANTIATE_TEST_SUITE_P(Targets, VariantTest, testing::ValuesIn(SupportedCpuTargets()),
                         [](const auto& info) { return std::string(CpuTargetName(info.param)); });

TEST_P(VariantTest, LogitsThatTheBuiltInOnesHaveTooAreTheSame) {
  const HWY_NAMESPACE::CappedAlibi params = {.slope = 0.03f, .cap = 4.0f};
  const AttentionVariant variant = CappedAlibiVariant(params);
  AttentionSpec custom = spec_, built_in = spec_;
  custom.variant = &variant;
  const std::vector<float> slopes(spec_.num_qo_heads, params.slope);
  built_in.alibi_slopes = slopes;
  built_in.logits_soft_cap = params.cap;
  const TestOutput a = Batch(custom).Run({.thread_count = 2});
  const TestOutput b = Batch(built_in).Run({.thread_count = 2});
  // One rounds slope x distance before it adds it, the other does not.
  for (size_t i = 0; i < a.out.size(); ++i) ASSERT_NEAR(a.out[i], b.out[i], 1e-5f);
  for (size_t i = 0; i < a.lse.size(); ++i) {
    if (std::isinf(b.lse[i])) {
      ASSERT_EQ(a.lse[i], b.lse[i]);
    } else {
      ASSERT_NEAR(a.lse[i], b.lse[i], 1e-5f);
    }
  }
}

TEST_P(VariantTest, AMaskOfTheUsersOwnHidesKeys) {
  const HWY_NAMESPACE::Strided params = {.stride = 7, .near = 5};
  const AttentionVariant variant = StridedVariant(params);
  AttentionSpec custom = spec_;
  custom.variant = &variant;
  const TestBatch batch = Batch(custom);
  const TestOutput output = batch.Run({.thread_count = 2});
  // The same mask, bit by bit.
  size_t row = 0;
  for (TestSequence s : batch.sequences()) {
    s.mask.resize(size_t(s.q_len) * size_t(s.kv_len));
    for (int32_t i = 0; i < s.q_len; ++i) {
      for (int32_t key = 0; key < s.kv_len; ++key) {
        const int32_t distance = s.kv_len - s.q_len + i - key;
        s.mask[size_t(i * s.kv_len + key)] = distance >= 0 && (distance % 7 == 0 || distance < 5);
      }
    }
    const ReferenceOutput truth = ReferenceAttention(spec_, s);
    for (size_t i = 0; i < truth.out.size(); ++i) {
      ASSERT_NEAR(output.out[row * 6 * 64 + i], truth.out[i], 1e-5);
    }
    row += size_t(s.q_len);
  }
}

TEST_P(VariantTest, AttentionWithoutSoftmax) {
  const HWY_NAMESPACE::Sigmoid params = {.bias = -3};
  const AttentionVariant variant = SigmoidVariant(params);
  AttentionSpec custom = spec_;
  custom.variant = &variant;
  const TestBatch batch = Batch(custom);
  const TestOutput output = batch.Run({.thread_count = 2});
  size_t row = 0;
  for (const TestSequence& s : batch.sequences()) {
    for (int32_t i = 0; i < s.q_len; ++i, ++row) {
      for (size_t head = 0; head < 6; ++head) {
        std::vector<double> expected(64, 0.0);
        for (int32_t key = 0; key <= s.kv_len - s.q_len + i; ++key) {
          const float* k = &s.k[(size_t(key) * 2 + head / 3) * 64];
          const float* v = &s.v[(size_t(key) * 2 + head / 3) * 64];
          double dot = 0;
          for (size_t d = 0; d < 64; ++d) {
            dot += double(s.q[(size_t(i) * 6 + head) * 64 + d]) * double(k[d]);
          }
          const double weight = 1 / (1 + std::exp(3 - 0.125 * dot));
          for (size_t d = 0; d < 64; ++d) expected[d] += weight * double(v[d]);
        }
        // Sums of up to 700 weights of ~0.05 each: tens.
        for (size_t d = 0; d < 64; ++d) {
          ASSERT_NEAR(output.out[(row * 6 + head) * 64 + d], expected[d], 5e-5);
        }
      }
    }
  }
}

TEST(VariantPlanTest, AVariantStandsAlone) {
  const HWY_NAMESPACE::Sigmoid params;
  const AttentionVariant variant = SigmoidVariant(params);
  AttentionSpec spec = {6, 2, 64, 0.125f};
  spec.variant = &variant;
  const std::vector<float> sinks(6, 0.0f);
  PagedKv kv;
  kv.layout = {.layer_count = 1, .kv_head_count = 2, .head_dim = 64};
  const std::vector<int32_t> indptr = {0};
  kv.kv_indptr = indptr;
  BatchAttentionPlan plan;
  EXPECT_TRUE(PlanBatchAttention(spec, indptr, kv, {}, &plan).ok());
  spec.sinks = sinks;
  EXPECT_EQ(PlanBatchAttention(spec, indptr, kv, {}, &plan).message(),
            "sinks need a variant that uses softmax");
  spec.sinks = {};
  spec.logits_soft_cap = 5;
  EXPECT_EQ(PlanBatchAttention(spec, indptr, kv, {}, &plan).message(),
            "a variant replaces logits_soft_cap, alibi_slopes and packed_custom_mask: give it or "
            "them");
}

}  // namespace
}  // namespace kvasir
#endif  // HWY_ONCE
