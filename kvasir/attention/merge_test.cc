// Merging results over disjoint keys against the float64 truth over all of them.

#include "kvasir/attention/merge.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "kvasir/attention/attention_test_util.h"

namespace kvasir {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr size_t kHeads = 3, kDim = 20;
// Rounding the inputs to f32, two exponentials and a few multiply-adds.
constexpr double kTolerance = 1e-6;

AttentionSpec Spec() {
  AttentionSpec spec = {kHeads, 1, kDim, 0.3f};
  spec.causal = false;
  return spec;
}

// Rows of results as f32.
struct States {
  std::vector<float> v, s;
  size_t rows() const { return s.size() / kHeads; }
  MatrixView<float> V() { return {v.data(), rows(), kHeads * kDim}; }
  MatrixView<float> S() { return {s.data(), rows(), kHeads}; }
};

// The keys [begin, end) of a sequence alone.
TestSequence Part(const TestSequence& sequence, int32_t begin, int32_t end) {
  TestSequence part = sequence;
  part.kv_len = end - begin;
  part.k.assign(sequence.k.begin() + begin * int(kDim), sequence.k.begin() + end * int(kDim));
  part.v.assign(sequence.v.begin() + begin * int(kDim), sequence.v.begin() + end * int(kDim));
  return part;
}

States PartialStates(const TestSequence& sequence, int32_t begin, int32_t end) {
  const ReferenceOutput truth = ReferenceAttention(Spec(), Part(sequence, begin, end));
  return {{truth.out.begin(), truth.out.end()}, {truth.lse.begin(), truth.lse.end()}};
}

void ExpectTruth(const States& states, const TestSequence& sequence) {
  const OutputError error =
      CompareWithReference(states.v, states.s, ReferenceAttention(Spec(), sequence));
  EXPECT_LE(error.out, kTolerance);
  EXPECT_LE(error.lse, kTolerance);
}

class MergeTest : public testing::Test {
 protected:
  MergeTest() : pool_(2) {
    std::mt19937 random(11);
    // Enough rows for both threads.
    sequence_ = RandomSequence(Spec(), TestStorage(KvFormat::kF32), 60, 300, random);
  }
  ThreadPool pool_;
  TestSequence sequence_;
};

TEST_F(MergeTest, TwoStatesGiveTheirUnion) {
  States a = PartialStates(sequence_, 0, 25), b = PartialStates(sequence_, 25, 60);
  States merged = {std::vector<float>(a.v.size(), kNan), std::vector<float>(a.s.size(), kNan)};
  ASSERT_TRUE(MergeState(a.V(), a.S(), b.V(), b.S(), merged.V(), merged.S(), pool_).ok());
  ExpectTruth(merged, sequence_);
  ASSERT_TRUE(MergeStateInPlace(a.V(), a.S(), b.V(), b.S(), {}, pool_).ok());
  EXPECT_EQ(a.v, merged.v);
  EXPECT_EQ(a.s, merged.s);
}

TEST_F(MergeTest, AMaskLeavesRowsAlone) {
  States a = PartialStates(sequence_, 0, 25), b = PartialStates(sequence_, 25, 60);
  const States before = a;
  std::vector<uint8_t> mask(a.rows()), rest(a.rows());
  for (size_t row = 0; row < mask.size(); ++row) {
    mask[row] = row % 3 == 0;
    rest[row] = row % 3 != 0;
  }
  ASSERT_TRUE(MergeStateInPlace(a.V(), a.S(), b.V(), b.S(), mask, pool_).ok());
  for (size_t row = 0; row < mask.size(); ++row) {
    EXPECT_EQ(a.s[row * kHeads] == before.s[row * kHeads], mask[row] == 0);
  }
  ASSERT_TRUE(MergeStateInPlace(a.V(), a.S(), b.V(), b.S(), rest, pool_).ok());
  ExpectTruth(a, sequence_);
}

TEST_F(MergeTest, ManyStatesGiveTheirUnion) {
  constexpr size_t kStates = 4;
  constexpr int32_t kBounds[kStates + 1] = {0, 1, 20, 20, 60};  // one of them saw no key
  const size_t rows = sequence_.q.size() / (kHeads * kDim);
  std::vector<float> v(rows * kStates * kHeads * kDim), s(rows * kStates * kHeads);
  for (size_t i = 0; i < kStates; ++i) {
    States part = PartialStates(sequence_, kBounds[i], kBounds[i + 1]);
    if (i == 2) std::fill(part.v.begin(), part.v.end(), kNan);  // never read
    for (size_t row = 0; row < rows; ++row) {
      std::copy_n(part.v.begin() + long(row * kHeads * kDim), kHeads * kDim,
                  v.begin() + long((row * kStates + i) * kHeads * kDim));
      std::copy_n(part.s.begin() + long(row * kHeads), kHeads,
                  s.begin() + long((row * kStates + i) * kHeads));
    }
  }
  States merged = {std::vector<float>(rows * kHeads * kDim, kNan),
                   std::vector<float>(rows * kHeads, kNan)};
  ASSERT_TRUE(MergeStates(MatrixView<const float>(v.data(), rows, kStates * kHeads * kDim),
                          MatrixView<const float>(s.data(), rows, kStates * kHeads), kStates,
                          merged.V(), merged.S(), pool_)
                  .ok());
  ExpectTruth(merged, sequence_);
}

TEST_F(MergeTest, TheIdentityChangesNoBit) {
  States a = PartialStates(sequence_, 0, 60);
  States none = {std::vector<float>(a.v.size(), kNan), std::vector<float>(a.s.size(), -INFINITY)};
  States merged = none;
  ASSERT_TRUE(MergeState(a.V(), a.S(), none.V(), none.S(), merged.V(), merged.S(), pool_).ok());
  EXPECT_EQ(merged.v, a.v);
  EXPECT_EQ(merged.s, a.s);
  ASSERT_TRUE(MergeState(none.V(), none.S(), a.V(), a.S(), merged.V(), merged.S(), pool_).ok());
  EXPECT_EQ(merged.v, a.v);
  EXPECT_EQ(merged.s, a.s);
  ASSERT_TRUE(
      MergeState(none.V(), none.S(), none.V(), none.S(), merged.V(), merged.S(), pool_).ok());
  EXPECT_EQ(merged.v, std::vector<float>(a.v.size(), 0.0f));
  EXPECT_EQ(merged.s, none.s);
}

TEST_F(MergeTest, AWrongShapeIsNamed) {
  States a = PartialStates(sequence_, 0, 60), b = a;
  const auto message = [](const Status& status) { return status.message(); };
  EXPECT_EQ(message(MergeState(a.V(), a.S(), b.V().Rows(0, 2), b.S(), a.V(), a.S(), pool_)),
            "v_b has shape [2, 60], allowed is [300, 60]");
  EXPECT_EQ(message(MergeState(a.V(), a.S().Cols(0, 0), b.V(), b.S(), a.V(), a.S(), pool_)),
            "s_a has shape [300, 0] and v_a [300, 60], allowed are [rows, num_heads] and [rows, "
            "num_heads * head_dim]");
  const std::vector<uint8_t> mask(7);
  EXPECT_EQ(message(MergeStateInPlace(a.V(), a.S(), b.V(), b.S(), mask, pool_)),
            "mask has 7 entries, rows = 300 are needed");
  EXPECT_EQ(message(MergeStates(a.V(), a.S(), 2, b.V(), b.S(), pool_)),
            "v has shape [300, 60], allowed is [300, 120]");
}

}  // namespace
}  // namespace kvasir
