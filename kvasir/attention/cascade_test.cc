// Cascades against the float64 truth of the joined sequences, flat and level by level.

#include "kvasir/attention/cascade.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <string>
#include <vector>

#include "kvasir/attention/attention_test_util.h"
#include "kvasir/kernels/cpu_target.h"

namespace kvasir {
namespace {

constexpr double kTolerance = 5e-6;  // as in batch_attention_test.cc

// The lists of one level, by parts of a TestBatch.
struct OwnedLevel {
  std::vector<int32_t> qo_indptr, kv_indptr, kv_indices, kv_last_page_len;

  CascadeLevel View() const { return {qo_indptr, kv_indptr, kv_indices, kv_last_page_len}; }
};

OwnedLevel LevelOf(const PagedKv& kv, const std::vector<size_t>& parts,
                   std::vector<int32_t> qo_indptr) {
  OwnedLevel level;
  level.qo_indptr = std::move(qo_indptr);
  level.kv_indptr.push_back(0);
  for (const size_t part : parts) {
    for (int32_t i = kv.kv_indptr[part]; i < kv.kv_indptr[part + 1]; ++i) {
      level.kv_indices.push_back(kv.kv_indices[size_t(i)]);
    }
    level.kv_indptr.push_back(int32_t(level.kv_indices.size()));
    level.kv_last_page_len.push_back(kv.kv_last_page_len[part]);
  }
  return level;
}

// Three sequences with a prefix of all (part 0) and documents of the first two (1) and of the last
// (2, empty); parts 3 to 5 are their own tokens. The truth joins them.
class Cascade {
 public:
  Cascade(const AttentionSpec& spec, const TestStorage& storage, int32_t prefix, int32_t last_len)
      : spec_(spec), batch_(MakeBatch(spec, storage, prefix, last_len)) {
    owned_.push_back(LevelOf(batch_.kv(), {0}, {0, 10}));
    owned_.push_back(LevelOf(batch_.kv(), {1, 2}, {0, 7, 10}));
    owned_.push_back(LevelOf(batch_.kv(), {3, 4, 5}, {0, 2, 7, 10}));
    for (const OwnedLevel& level : owned_) levels_.push_back(level.View());
    std::vector<ReferenceOutput> truths;
    for (const std::vector<size_t>& parts :
         std::vector<std::vector<size_t>>{{0, 1, 3}, {0, 1, 4}, {0, 2, 5}}) {
      TestSequence joined = batch_.sequences()[parts[2]];
      joined.kv_len = 0;
      joined.k.clear();
      joined.v.clear();
      for (const size_t part : parts) {
        const TestSequence& s = batch_.sequences()[part];
        joined.kv_len += s.kv_len;
        joined.k.insert(joined.k.end(), s.k.begin(), s.k.end());
        joined.v.insert(joined.v.end(), s.v.begin(), s.v.end());
      }
      truths.push_back(ReferenceAttention(spec, joined));
      q_.insert(q_.end(), joined.q.begin(), joined.q.end());
    }
    truth_ = Concatenate(truths);
  }

  std::vector<CascadeLevel>& levels() { return levels_; }
  const PagedKv& memory() const { return batch_.kv(); }

  // Plans, runs on all targets, and compares.
  void Check(bool is_flat) {
    MultiLevelCascadeAttentionPlan plan;
    const Status status =
        PlanMultiLevelCascadeAttention(spec_, levels_, memory(), {.thread_count = 2}, &plan);
    ASSERT_TRUE(status.ok()) << status.message();
    EXPECT_EQ(plan.is_flat(), is_flat);
    const size_t rows = 10, heads = spec_.num_qo_heads;
    const MatrixView<const float> q(q_.data(), rows, heads * spec_.head_dim);
    for (const CpuTarget target : SupportedCpuTargets()) {
      const ScopedCpuTarget scope(target);
      ThreadPool pool(2);
      std::vector<float> out(truth_.out.size(), NAN), lse(truth_.lse.size(), NAN);
      const MatrixView<float> out_view(out.data(), rows, heads * spec_.v_dim());
      const size_t allocations = AllocationCount();
      plan.Run(memory(), TestBatch::kLayer, q, out_view, MatrixView<float>(lse.data(), rows, heads),
               pool);
      EXPECT_EQ(AllocationCount(), allocations);
      const OutputError error = CompareWithReference(out, lse, truth_);
      EXPECT_LE(error.out, kTolerance) << CpuTargetName(target);
      EXPECT_LE(error.lse, kTolerance) << CpuTargetName(target);
      std::vector<float> again(out.size(), NAN);
      plan.Run(memory(), TestBatch::kLayer, q,
               MatrixView<float>(again.data(), rows, heads * spec_.v_dim()), {}, pool);
      EXPECT_EQ(again, out);
    }
  }

 private:
  static TestBatch MakeBatch(const AttentionSpec& spec, const TestStorage& storage, int32_t prefix,
                             int32_t last_len) {
    std::mt19937 random(9);
    std::vector<TestSequence> parts;
    const auto add = [&](int32_t kv_len, int32_t q_len) {
      parts.push_back(RandomSequence(spec, storage, kv_len, q_len, random));
    };
    add(prefix, 0);
    add(64, 0);
    add(0, 0);
    add(21, 2);
    add(5, 5);
    add(last_len, 3);
    return TestBatch(spec, storage, std::move(parts), random);
  }

  AttentionSpec spec_;
  TestBatch batch_;
  std::vector<OwnedLevel> owned_;
  std::vector<CascadeLevel> levels_;
  std::vector<float> q_;
  ReferenceOutput truth_;
};

constexpr AttentionSpec kSpec = {6, 2, 40, 0.2f};

TEST(CascadeTest, LevelsOfFullPagesAreOneFlatPlan) {
  for (const TestStorage& storage :
       {TestStorage(KvFormat::kBF16), TestStorage(TestStorage::Kind::kNhd, KvRowType::kF32, 16)}) {
    Cascade(kSpec, storage, 512, 400).Check(true);
    Cascade(kSpec, storage, 0, 40).Check(true);
    AttentionSpec windowed = kSpec;
    windowed.window_left = 50;
    Cascade(windowed, storage, 64, 40).Check(true);
  }
}

TEST(CascadeTest, OtherLevelsRunAlone) {
  const std::vector<float> sinks = {1, 0, -INFINITY, 2, -1, 0.5f};
  AttentionSpec with_sinks = kSpec;
  with_sinks.sinks = sinks;
  with_sinks.logits_soft_cap = 4;
  for (const TestStorage& storage :
       {TestStorage(KvFormat::kF32), TestStorage(TestStorage::Kind::kHnd, KvRowType::kBF16, 16)}) {
    Cascade(kSpec, storage, 300, 40).Check(false);
    Cascade(with_sinks, storage, 7, 40).Check(false);
  }
  // Groups that cut a sequence's rows in two.
  AttentionSpec full = kSpec;
  full.causal = false;
  Cascade cut(full, TestStorage(KvFormat::kF32), 64, 40);
  const std::vector<int32_t> rows = {0, 10, 10};
  cut.levels()[1].qo_indptr = rows;  // the document for all, nothing for nobody
  MultiLevelCascadeAttentionPlan plan;
  EXPECT_TRUE(PlanMultiLevelCascadeAttention(full, cut.levels(), cut.memory(), {}, &plan).ok());
  EXPECT_TRUE(plan.is_flat());
  const std::vector<int32_t> inside = {0, 4, 10};
  cut.levels()[1].qo_indptr = inside;
  EXPECT_TRUE(PlanMultiLevelCascadeAttention(full, cut.levels(), cut.memory(), {}, &plan).ok());
  EXPECT_FALSE(plan.is_flat());
}

// Level by level, a query before the first key of its own sees all of the levels before; joined,
// it would not.
TEST(CascadeTest, MoreQueriesThanOwnKeysAreNotJoined) {
  Cascade cascade(kSpec, TestStorage(KvFormat::kF32), 64, 1);
  MultiLevelCascadeAttentionPlan plan;
  EXPECT_TRUE(
      PlanMultiLevelCascadeAttention(kSpec, cascade.levels(), cascade.memory(), {}, &plan).ok());
  EXPECT_FALSE(plan.is_flat());
}

TEST(CascadeTest, ABadArgumentIsNamed) {
  Cascade cascade(kSpec, TestStorage(KvFormat::kF32), 33, 40);
  MultiLevelCascadeAttentionPlan plan;
  const auto refusal = [&](const AttentionSpec& spec) {
    return PlanMultiLevelCascadeAttention(spec, cascade.levels(), cascade.memory(), {}, &plan)
        .message();
  };
  AttentionSpec windowed = kSpec;
  windowed.window_left = 3;
  EXPECT_NE(refusal(windowed).find("window_left looks at positions"), std::string::npos);
  const std::vector<int32_t> short_rows = {0, 9};
  cascade.levels()[0].qo_indptr = short_rows;
  EXPECT_EQ(refusal(kSpec), "level 0: qo_indptr ends at 9, the last level's at 10");
  cascade.levels()[0].kv_indptr = {};
  EXPECT_EQ(refusal(kSpec), "level 0: kv_indptr has 0 entries, batch + 1 = 2 are needed");
  cascade.levels().clear();
  EXPECT_EQ(refusal(kSpec), "levels is empty, at least 1 is needed");
}

}  // namespace
}  // namespace kvasir
