#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "kvasir/attention/attention_test_util.h"
#include "kvasir/attention/batch_attention.h"
#include "kvasir/base/thread_pool.h"

namespace kvasir {
namespace {

// Lengths only: the plan looks at no key.
struct Lengths {
  explicit Lengths(std::vector<std::pair<int32_t, int32_t>> q_and_kv_lens, uint32_t kv_heads = 2,
                   uint32_t head_dim = 64) {
    kv.layout = {.layer_count = 1, .kv_head_count = kv_heads, .head_dim = head_dim};
    for (const auto& [q_len, kv_len] : q_and_kv_lens) {
      qo_indptr.push_back(qo_indptr.back() + q_len);
      kv_indptr.push_back(kv_indptr.back() + (kv_len + 31) / 32);
      kv_last_page_len.push_back(kv_len == 0 ? 0 : (kv_len - 1) % 32 + 1);
    }
    kv_indices.assign(size_t(kv_indptr.back()), 0);
    kv.base = page;
    kv.page_count = 1;
    kv.kv_indptr = kv_indptr;
    kv.kv_indices = kv_indices;
    kv.kv_last_page_len = kv_last_page_len;
  }
  Lengths(const Lengths&) = delete;

  alignas(64) std::byte page[64] = {};
  std::vector<int32_t> qo_indptr = {0}, kv_indptr = {0}, kv_indices, kv_last_page_len;
  PagedKv kv;
};

AttentionSpec Spec(uint32_t group, int32_t window = -1, uint32_t kv_heads = 2,
                   uint32_t head_dim = 64) {
  return {kv_heads * group, kv_heads, head_dim, 0.125f, window};
}

// Every (row, visible key) of every KV head in exactly one work item; no work item reaches beyond
// its sequence; merge items account for their work items.
void CheckInvariants(const AttentionSpec& spec, const Lengths& lengths,
                     const BatchAttentionPlan& plan) {
  std::map<std::pair<int32_t, int32_t>, std::vector<std::pair<int32_t, int32_t>>> covered;
  std::map<int32_t, int32_t> merge_uses;
  for (const AttentionWorkItem& item : plan.work_items()) {
    const size_t b = size_t(item.sequence);
    ASSERT_LT(b, lengths.kv.batch_size());
    ASSERT_LT(item.q_begin, item.q_end);
    ASSERT_GE(item.q_begin, lengths.qo_indptr[b]);
    ASSERT_LE(item.q_end, lengths.qo_indptr[b + 1]);
    ASSERT_LE(item.kv_begin, item.kv_end);
    ASSERT_LE(item.kv_end, lengths.kv.KvLen(b));
    if (item.kv_begin < item.kv_end) {
      ASSERT_EQ(item.kv_begin % kKvSplitTokens, 0);
    }
    if (item.merge >= 0) {
      ++merge_uses[item.merge];
      const AttentionMergeItem& merge = plan.merge_items()[size_t(item.merge)];
      ASSERT_GE(item.kv_begin, merge.kv_begin);
      ASSERT_LE(item.kv_end, merge.kv_begin + merge.split_count * kKvSplitTokens);
    }
    for (int32_t row = item.q_begin; row < item.q_end; ++row) {
      covered[{row, item.kv_head}].emplace_back(item.kv_begin, item.kv_end);
    }
  }
  for (size_t m = 0; m < plan.merge_items().size(); ++m) {
    ASSERT_EQ(merge_uses[int32_t(m)], plan.merge_items()[m].work_item_count);
  }
  for (size_t b = 0; b < lengths.kv.batch_size(); ++b) {
    for (int32_t row = lengths.qo_indptr[b]; row < lengths.qo_indptr[b + 1]; ++row) {
      const int64_t position = int64_t{lengths.kv.KvLen(b)} - (lengths.qo_indptr[b + 1] - row);
      const int64_t first =
          spec.window_left < 0 ? 0 : std::max<int64_t>(0, position - spec.window_left);
      for (uint32_t head = 0; head < spec.num_kv_heads; ++head) {
        auto ranges = covered[{row, int32_t(head)}];
        ASSERT_FALSE(ranges.empty()) << "row " << row << " is never written";
        std::sort(ranges.begin(), ranges.end());
        for (size_t i = 1; i < ranges.size(); ++i) {
          ASSERT_EQ(ranges[i].first, ranges[i - 1].second);
        }
        if (position < 0) continue;
        ASSERT_LE(ranges.front().first, first);
        ASSERT_GT(ranges.back().second, position);
      }
    }
  }
}

TEST(PlanTest, CoversEveryRowAndKeyOnce) {
  std::mt19937 random(23);
  BatchAttentionPlan plan;  // one plan, planned again and again
  for (int repeat = 0; repeat < 300; ++repeat) {
    std::vector<std::pair<int32_t, int32_t>> lens;
    for (size_t count = random() % 6; lens.size() < count;) {
      const int32_t kv_len = int32_t(random() % 3 == 0 ? random() % 6000 : random() % 300);
      lens.emplace_back(random() % 2 == 0 ? 1 : random() % 200, kv_len);
    }
    const Lengths lengths(lens);
    const int32_t windows[] = {-1, 0, 100, 256, 1000, INT32_MAX};
    const AttentionSpec spec = Spec(1 + random() % 12, windows[random() % 6]);
    const size_t thread_count = 1 + random() % 4;
    const Status status =
        PlanBatchAttention(spec, lengths.qo_indptr, lengths.kv, thread_count, &plan);
    ASSERT_TRUE(status.ok()) << status.message();
    CheckInvariants(spec, lengths, plan);
    if (thread_count == 1) {
      EXPECT_TRUE(plan.merge_items().empty());
    }
    if (HasFatalFailure()) return;
  }
}

TEST(PlanTest, OneLongSequenceIsSharedOut) {
  const Lengths lengths({{1, 8192}});
  BatchAttentionPlan plan;
  ASSERT_TRUE(PlanBatchAttention(Spec(3), lengths.qo_indptr, lengths.kv, 2, &plan).ok());
  EXPECT_GE(plan.work_items().size(), 8u);
  EXPECT_LE(plan.work_items().size(), 64u);
  EXPECT_EQ(plan.merge_items().size(), 2u);  // one for each KV head
}

TEST(PlanTest, AWindowSkipsWholeSplits) {
  const Lengths lengths({{1, 8192}});
  BatchAttentionPlan plan;
  ASSERT_TRUE(PlanBatchAttention(Spec(3, 500), lengths.qo_indptr, lengths.kv, 1, &plan).ok());
  ASSERT_EQ(plan.work_items().size(), 2u);
  EXPECT_EQ(plan.work_items()[0].kv_begin, 7680);
  EXPECT_EQ(plan.work_items()[0].kv_end, 8192);
}

TEST(PlanTest, TheLongestWorkComesFirst) {
  const Lengths lengths({{1, 40}, {1, 2000}, {1, 300}, {1, 900}});
  BatchAttentionPlan plan;
  ASSERT_TRUE(PlanBatchAttention(Spec(4), lengths.qo_indptr, lengths.kv, 1, &plan).ok());
  int32_t before = INT32_MAX;
  for (const AttentionWorkItem& item : plan.work_items()) {
    EXPECT_LE(item.kv_end - item.kv_begin, before);
    before = item.kv_end - item.kv_begin;
  }
}

TEST(PlanTest, RefusesWhatDoesNotFitTogether) {
  const auto message = [](const AttentionSpec& spec, const auto& change, size_t thread_count = 1) {
    Lengths lengths({{1, 40}, {2, 70}});
    change(lengths);
    BatchAttentionPlan plan;
    const Status status =
        PlanBatchAttention(spec, lengths.qo_indptr, lengths.kv, thread_count, &plan);
    EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
    return status.message();
  };
  const auto expect = [](const std::string& text, const std::string& part) {
    EXPECT_NE(text.find(part), std::string::npos) << text;
  };
  const auto none = [](Lengths&) {};
  AttentionSpec spec = Spec(3);
  expect(message(spec, none, 0), "thread_count is 0");
  expect(message(spec, [](Lengths& l) { l.qo_indptr = {0, 1}; }), "qo_indptr has 2 entries");
  expect(message(spec, [](Lengths& l) { l.qo_indptr = {1, 1, 3}; }), "qo_indptr[0] is not 0");
  expect(message(spec,
                 [](Lengths& l) {
                   l.qo_indptr = {0, 3, 1};
                 }),
         "qo_indptr falls from 3 to 1 at entry 2");
  expect(message(spec, [](Lengths& l) { l.kv_indptr[1] = 9; }), "kv_indptr falls");
  expect(message(spec, [](Lengths& l) { l.kv_indices[4] = 1; }), "kv_indices[4] is 1");
  expect(message(spec, [](Lengths& l) { l.kv_indices[0] = -1; }), "kv_indices[0] is -1");
  expect(message(spec, [](Lengths& l) { l.kv_last_page_len[1] = 33; }),
         "kv_last_page_len[1] is 33");
  expect(message(spec, [](Lengths& l) { l.kv_last_page_len[0] = 0; }), "kv_last_page_len[0] is 0");
  expect(message(spec, [](Lengths& l) { l.kv.kv_indices = l.kv.kv_indices.first(3); }),
         "kv_indices has 3 entries");
  expect(message(spec, [](Lengths& l) { l.kv.base += 4; }), "not a multiple of 64");
  expect(message(spec, [](Lengths& l) { l.kv.layout.head_dim = 32; }), "heads of 32 dims");
  spec.head_dim = 577;
  expect(message(spec, none), "head_dim is 577, allowed is 1 to 576");
  spec = Spec(3);
  spec.num_qo_heads = 5;
  expect(message(spec, none), "multiples of num_kv_heads 2");
  spec = Spec(3);
  spec.sm_scale = NAN;
  expect(message(spec, none), "sm_scale");
  spec = Spec(3, -2);
  expect(message(spec, none), "window_left is -2");
  spec = Spec(3);
  spec.logits_soft_cap = -1;
  expect(message(spec, none), "logits_soft_cap");
}

TEST(PlanTest, RunAllocatesNothing) {
  const AttentionSpec spec = Spec(3);
  std::mt19937 random(1);
  std::vector<TestSequence> sequences = {RandomSequence(spec, KvFormat::kBF16, 3000, 1, random),
                                         RandomSequence(spec, KvFormat::kBF16, 100, 100, random)};
  const TestBatch batch(spec, KvFormat::kBF16, std::move(sequences), random);
  BatchAttentionPlan plan;
  ASSERT_TRUE(PlanBatchAttention(spec, batch.qo_indptr(), batch.kv(), 2, &plan).ok());
  EXPECT_FALSE(plan.merge_items().empty());
  const size_t columns = size_t{spec.num_qo_heads} * spec.head_dim;
  std::vector<float> q(batch.row_count() * columns, 0.5f), out(q.size());
  ThreadPool threads(2);
  const size_t before = AllocationCount();
  for (int repeat = 0; repeat < 3; ++repeat) {
    plan.Run(batch.kv(), TestBatch::kLayer, MatrixView(q.data(), batch.row_count(), columns),
             MatrixView(out.data(), batch.row_count(), columns), threads);
  }
  EXPECT_EQ(AllocationCount(), before);
}

}  // namespace
}  // namespace kvasir
