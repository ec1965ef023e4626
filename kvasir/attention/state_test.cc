#include "kvasir/attention/state.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "kvasir/kernels/cpu_target.h"

namespace kvasir {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr size_t kRows = 21;  // more than one register of rows, and no multiple of one
constexpr size_t kHeadDim = 24;

// States with memory of their own, NaN where nothing was put.
struct OwnedStates {
  OwnedStates() : memory(AttentionStates::FloatCount(kRows, kHeadDim), NAN) {
    states = AttentionStates::At(memory.data(), kRows, kHeadDim);
    ClearAttentionStates(states);
  }
  OwnedStates(const OwnedStates& other) : memory(other.memory) {
    states = AttentionStates::At(memory.data(), kRows, kHeadDim);
  }
  std::vector<float> memory;
  AttentionStates states;
};

// Logits and values [key_count, kHeadDim] of one row.
struct Keys {
  std::vector<float> logits;
  std::vector<float> values;
};

Keys RandomKeys(size_t key_count, float spread, std::mt19937& random) {
  std::normal_distribution<float> normal;
  Keys keys;
  for (size_t i = 0; i < key_count; ++i) keys.logits.push_back(spread * normal(random));
  for (size_t i = 0; i < key_count * kHeadDim; ++i) keys.values.push_back(normal(random));
  return keys;
}

Keys Union(const Keys& a, const Keys& b) {
  Keys both = a;
  both.logits.insert(both.logits.end(), b.logits.begin(), b.logits.end());
  both.values.insert(both.values.end(), b.values.begin(), b.values.end());
  return both;
}

// The state of a row over `keys` by definition, in float64 and then rounded.
void SetRow(const OwnedStates& owned, size_t row, const Keys& keys) {
  if (keys.logits.empty()) return;
  float max = -kInf;
  for (const float logit : keys.logits) max = std::max(max, logit);
  double sum = 0;
  std::vector<double> out(kHeadDim);
  for (size_t i = 0; i < keys.logits.size(); ++i) {
    const double weight = std::exp(double(keys.logits[i]) - double(max));
    sum += weight;
    for (size_t d = 0; d < kHeadDim; ++d) out[d] += weight * double(keys.values[i * kHeadDim + d]);
  }
  owned.states.max[row] = max;
  owned.states.sum[row] = float(sum);
  for (size_t d = 0; d < kHeadDim; ++d) {
    owned.states.out[row * owned.states.out_stride + d] = float(out[d]);
  }
}

std::vector<float> Finish(const OwnedStates& owned, size_t row, float* lse) {
  std::vector<float> out(kHeadDim, NAN);
  *lse = FinishAttentionState(owned.states, row, kHeadDim, out.data());
  return out;
}

void ExpectClose(const OwnedStates& a, const OwnedStates& b, float tolerance) {
  for (size_t row = 0; row < kRows; ++row) {
    float a_lse, b_lse;
    const std::vector<float> a_out = Finish(a, row, &a_lse), b_out = Finish(b, row, &b_lse);
    if (std::isinf(b_lse)) {
      EXPECT_EQ(a_lse, b_lse);
    } else {
      EXPECT_NEAR(a_lse, b_lse, tolerance * std::max(1.0f, std::abs(b_lse)));
    }
    for (size_t d = 0; d < kHeadDim; ++d) EXPECT_NEAR(a_out[d], b_out[d], 4 * tolerance);
  }
}

class StateTest : public testing::TestWithParam<CpuTarget> {
 protected:
  // Row r sees r % 5 keys (none at all in every fifth).
  std::vector<Keys> RandomRows(float spread) {
    std::vector<Keys> rows;
    for (size_t row = 0; row < kRows; ++row) {
      rows.push_back(RandomKeys((row + random_() % 3) % 5, spread, random_));
    }
    return rows;
  }
  static OwnedStates StatesOf(const std::vector<Keys>& rows) {
    OwnedStates owned;
    for (size_t row = 0; row < kRows; ++row) SetRow(owned, row, rows[row]);
    return owned;
  }

  const ScopedCpuTarget scope_{GetParam()};
  std::mt19937 random_{17};
};

INSTANTIATE_TEST_SUITE_P(Targets, StateTest, testing::ValuesIn(SupportedCpuTargets()),
                         [](const auto& info) { return std::string(CpuTargetName(info.param)); });

TEST_P(StateTest, MergingGivesTheStateOfTheUnion) {
  // 60: the smaller side's weight is often below the smallest number, and must vanish quietly.
  for (const float spread : {0.1f, 1.0f, 8.0f, 60.0f}) {
    for (int repeat = 0; repeat < 20; ++repeat) {
      const std::vector<Keys> a = RandomRows(spread), b = RandomRows(spread);
      std::vector<Keys> both;
      for (size_t row = 0; row < kRows; ++row) both.push_back(Union(a[row], b[row]));
      OwnedStates merged = StatesOf(a);
      MergeAttentionStates(StatesOf(b).states, merged.states);
      ExpectClose(merged, StatesOf(both), 1e-6f);
    }
  }
}

TEST_P(StateTest, MergingIsAssociativeAndCommutativeUpToRounding) {
  for (int repeat = 0; repeat < 50; ++repeat) {
    const OwnedStates a = StatesOf(RandomRows(3)), b = StatesOf(RandomRows(3)),
                      c = StatesOf(RandomRows(3));
    OwnedStates left = a;  // (a + b) + c
    MergeAttentionStates(b.states, left.states);
    MergeAttentionStates(c.states, left.states);
    OwnedStates right = b, first = a;  // a + (b + c)
    MergeAttentionStates(c.states, right.states);
    MergeAttentionStates(right.states, first.states);
    ExpectClose(left, first, 1e-6f);
    OwnedStates swapped = c;  // (c + b) + a
    MergeAttentionStates(b.states, swapped.states);
    MergeAttentionStates(a.states, swapped.states);
    ExpectClose(left, swapped, 1e-6f);
  }
}

TEST_P(StateTest, TheIdentityChangesNoBit) {
  const std::vector<Keys> rows = RandomRows(5);
  const OwnedStates expected = StatesOf(rows);
  OwnedStates right = expected, left;
  MergeAttentionStates(OwnedStates().states, right.states);
  MergeAttentionStates(expected.states, left.states);
  for (size_t row = 0; row < kRows; ++row) {
    for (const OwnedStates* merged : {&right, &left}) {
      EXPECT_EQ(merged->states.max[row], expected.states.max[row]);
      EXPECT_EQ(merged->states.sum[row], expected.states.sum[row]);
      if (rows[row].logits.empty()) continue;
      EXPECT_EQ(std::memcmp(merged->states.out + row * merged->states.out_stride,
                            expected.states.out + row * expected.states.out_stride,
                            kHeadDim * sizeof(float)),
                0);
    }
  }
}

TEST_P(StateTest, NoKeysFinishAsZeroAndMinusInfinity) {
  OwnedStates empty;
  MergeAttentionStates(OwnedStates().states, empty.states);
  float lse;
  EXPECT_EQ(Finish(empty, 20, &lse), std::vector<float>(kHeadDim, 0.0f));
  EXPECT_EQ(lse, -kInf);
}

// (O, LSE) of finished states is itself a state, with sum 1.
TEST_P(StateTest, FinishedStatesMergeLikeUnfinishedOnes) {
  const OwnedStates a = StatesOf(RandomRows(2)), b = StatesOf(RandomRows(2));
  OwnedStates expected = a, merged = a, finished;
  MergeAttentionStates(b.states, expected.states);
  for (size_t row = 0; row < kRows; ++row) {
    float lse;
    const std::vector<float> out = Finish(b, row, &lse);
    finished.states.max[row] = lse;
    finished.states.sum[row] = std::isinf(lse) ? 0.0f : 1.0f;
    std::memcpy(finished.states.out + row * finished.states.out_stride, out.data(),
                kHeadDim * sizeof(float));
  }
  MergeAttentionStates(finished.states, merged.states);
  ExpectClose(merged, expected, 1e-6f);
}

}  // namespace
}  // namespace kvasir
