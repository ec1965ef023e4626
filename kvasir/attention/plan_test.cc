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
    for (int32_t i = 0; i < kv_indptr.back(); ++i) kv_indices.push_back(i);
    kv.base = page;
    kv.page_count = size_t(kv_indptr.back());
    kv.kv_indptr = kv_indptr;
    kv.kv_indices = kv_indices;
    kv.kv_last_page_len = kv_last_page_len;
  }
  Lengths(const Lengths&) = delete;

  // Gives each sequence the first pages of one before it, as many as both have or fewer.
  void SharePages(std::mt19937& random) {
    for (size_t b = 1; b < kv.batch_size(); ++b) {
      const size_t from = random() % b;
      const int32_t pages =
          std::min(kv_indptr[b + 1] - kv_indptr[b], kv_indptr[from + 1] - kv_indptr[from]);
      const int32_t shared = random() % 3 == 0 ? pages / 2 : pages;
      std::copy_n(kv_indices.begin() + kv_indptr[from], shared, kv_indices.begin() + kv_indptr[b]);
    }
  }

  alignas(64) std::byte page[64] = {};
  std::vector<int32_t> qo_indptr = {0}, kv_indptr = {0}, kv_indices, kv_last_page_len;
  PagedKv kv;
};

AttentionSpec Spec(uint32_t group, int32_t window = -1, uint32_t kv_heads = 2,
                   uint32_t head_dim = 64) {
  return {kv_heads * group, kv_heads, head_dim, 0.125f, window};
}

// Every (row, visible key) in exactly one work item; the rows of an item hold the pages that it
// reads; slots of partial states are enough for every item that writes them, and nobody else's.
void CheckInvariants(const AttentionSpec& spec, const Lengths& lengths,
                     const BatchAttentionPlan& plan) {
  using Output = AttentionWorkItem::Output;
  const PagedKv& kv = lengths.kv;
  std::map<int32_t, std::vector<std::pair<int32_t, int32_t>>> covered;
  std::map<int32_t, int32_t> slots;
  for (const AttentionWorkItem& item : plan.work_items()) {
    ASSERT_LT(size_t(item.sequence), kv.batch_size());
    ASSERT_LT(item.row_begin, item.row_end);
    ASSERT_LE(item.kv_begin, item.kv_end);
    ASSERT_LE(item.kv_end, kv.KvLen(size_t(item.sequence)));
    if (item.kv_begin < item.kv_end) {
      ASSERT_EQ(item.kv_begin % kKvSplitTokens, 0);
    }
    for (int32_t i = item.row_begin; i < item.row_end; ++i) {
      const int32_t q = plan.row_ids()[size_t(i)];
      const AttentionPlanRow& row = plan.rows()[size_t(q)];
      covered[q].emplace_back(item.kv_begin, item.kv_end);
      for (int32_t page = item.kv_begin / 32; page * 32 < item.kv_end; ++page) {
        ASSERT_EQ(kv.PageId(size_t(row.row.sequence), 0, size_t(page)),
                  kv.PageId(size_t(item.sequence), 0, size_t(page)));
      }
      if (item.output == Output::kFinal) {
        ASSERT_EQ(row.slot_count, 0);
        continue;
      }
      ASSERT_GT(row.slot_count, 0);
      const bool is_folded = item.output == Output::kFolded;
      ASSERT_EQ(is_folded, item.kv_end <= row.folded_end);
      const int32_t splits =
          is_folded ? 1 : (item.kv_end - item.kv_begin + kKvSplitTokens - 1) / kKvSplitTokens;
      const int32_t first = is_folded ? 0 : 1 + (item.kv_begin - row.folded_end) / kKvSplitTokens;
      ASSERT_LE(first + splits, row.slot_count);
      for (int32_t s = 0; s < splits; ++s) ASSERT_EQ(slots[row.slot + first + s]++, 0);
    }
  }
  size_t slot_count = 0;
  for (const int32_t q : plan.merged_rows())
    slot_count += size_t(plan.rows()[size_t(q)].slot_count);
  ASSERT_EQ(slots.size(), slot_count);
  for (size_t b = 0; b < kv.batch_size(); ++b) {
    for (int32_t row = lengths.qo_indptr[b]; row < lengths.qo_indptr[b + 1]; ++row) {
      const int64_t position = int64_t{kv.KvLen(b)} - (lengths.qo_indptr[b + 1] - row);
      const int64_t first =
          spec.window_left < 0 ? 0 : std::max<int64_t>(0, position - spec.window_left);
      auto ranges = covered[row];
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

TEST(PlanTest, CoversEveryRowAndKeyOnce) {
  std::mt19937 random(23);
  BatchAttentionPlan plan;  // one plan, planned again and again
  for (int repeat = 0; repeat < 300; ++repeat) {
    std::vector<std::pair<int32_t, int32_t>> lens;
    for (size_t count = random() % 6; lens.size() < count;) {
      const int32_t kv_len = int32_t(random() % 3 == 0 ? random() % 6000 : random() % 300);
      lens.emplace_back(random() % 2 == 0 ? 1 : random() % 200, kv_len);
    }
    Lengths lengths(lens);
    if (repeat % 2 == 1) lengths.SharePages(random);
    const int32_t windows[] = {-1, 0, 100, 256, 1000, INT32_MAX};
    const AttentionSpec spec = Spec(1 + random() % 12, windows[random() % 6]);
    const size_t thread_count = 1 + random() % 4;
    AttentionPlanOptions options = {.thread_count = thread_count};
    if (random() % 2 == 0) options.costs.kv_byte_ps = 1e5;  // sharing pays wherever there is any
    const Status status = PlanBatchAttention(spec, lengths.qo_indptr, lengths.kv, options, &plan);
    ASSERT_TRUE(status.ok()) << status.message();
    CheckInvariants(spec, lengths, plan);
    if (thread_count == 1 && repeat % 2 == 0) {
      EXPECT_TRUE(plan.merged_rows().empty());
    }
    if (HasFatalFailure()) return;
  }
}

TEST(PlanTest, OneLongSequenceIsSharedOut) {
  const Lengths lengths({{1, 8192}});
  BatchAttentionPlan plan;
  ASSERT_TRUE(
      PlanBatchAttention(Spec(3), lengths.qo_indptr, lengths.kv, {.thread_count = 2}, &plan).ok());
  EXPECT_GE(plan.work_items().size(), 8u);
  EXPECT_LE(plan.work_items().size(), 32u);
  EXPECT_EQ(plan.merged_rows().size(), 1u);
}

TEST(PlanTest, AWindowSkipsWholeSplits) {
  const Lengths lengths({{1, 8192}});
  BatchAttentionPlan plan;
  ASSERT_TRUE(
      PlanBatchAttention(Spec(3, 500), lengths.qo_indptr, lengths.kv, {.thread_count = 1}, &plan)
          .ok());
  ASSERT_EQ(plan.work_items().size(), 1u);
  EXPECT_EQ(plan.work_items()[0].kv_begin, 7680);
  EXPECT_EQ(plan.work_items()[0].kv_end, 8192);
}

TEST(PlanTest, TheLongestWorkComesFirst) {
  const Lengths lengths({{1, 40}, {1, 2000}, {1, 300}, {1, 900}});
  BatchAttentionPlan plan;
  ASSERT_TRUE(
      PlanBatchAttention(Spec(4), lengths.qo_indptr, lengths.kv, {.thread_count = 1}, &plan).ok());
  int32_t before = INT32_MAX;
  for (const AttentionWorkItem& item : plan.work_items()) {
    EXPECT_LE(item.kv_end - item.kv_begin, before);
    before = item.kv_end - item.kv_begin;
  }
}

// 16 requests with lengths of a Zipf law: handed out in order to whoever is free, as ThreadPool
// does, no thread has more than 5 % above its share.
TEST(PlanTest, ThreadsAreBalancedOnZipfLengths) {
  std::vector<std::pair<int32_t, int32_t>> lens;
  for (int rank = 1; rank <= 16; ++rank) lens.emplace_back(1, 16384 / rank);
  const Lengths lengths(lens, 8, 128);
  for (const size_t threads : {2u, 4u, 8u, 16u}) {
    BatchAttentionPlan plan;
    ASSERT_TRUE(PlanBatchAttention(Spec(4, -1, 8, 128), lengths.qo_indptr, lengths.kv,
                                   {.thread_count = threads}, &plan)
                    .ok());
    std::vector<double> busy(threads, 0);
    double total = 0;
    for (const AttentionWorkItem& item : plan.work_items()) {
      for (int head = 0; head < 8; ++head) {
        *std::min_element(busy.begin(), busy.end()) += plan.Cost(item);
        total += plan.Cost(item);
      }
    }
    EXPECT_LE(*std::max_element(busy.begin(), busy.end()) / (total / double(threads)), 1.05)
        << threads << " threads";
  }
}

// Two prefixes of which one leaves the other: read once for all that hold them.
TEST(PlanTest, SharedPagesAreReadTogether) {
  Lengths lengths({{1, 2100}, {1, 2100}, {1, 2100}, {1, 1400}, {1, 2000}});
  const auto share = [&](size_t from, size_t to, int32_t pages) {
    std::copy_n(lengths.kv_indices.begin() + lengths.kv_indptr[from], pages,
                lengths.kv_indices.begin() + lengths.kv_indptr[to]);
  };
  share(0, 1, 64);
  share(0, 2, 64);
  share(0, 3, 32);
  AttentionPlanOptions options = {.thread_count = 1};
  options.costs.kv_byte_ps = 1e5;
  BatchAttentionPlan plan;
  ASSERT_TRUE(PlanBatchAttention(Spec(4), lengths.qo_indptr, lengths.kv, options, &plan).ok());
  std::map<std::pair<int32_t, int32_t>, int32_t> rows_of_range;
  for (const AttentionWorkItem& item : plan.work_items()) {
    rows_of_range[{item.kv_begin, item.kv_end}] += item.row_end - item.row_begin;
  }
  const std::map<std::pair<int32_t, int32_t>, int32_t> expected = {
      {{0, 1024}, 4}, {{1024, 2048}, 3}, {{2048, 2100}, 3}, {{1024, 1400}, 1}, {{0, 2000}, 1}};
  EXPECT_EQ(rows_of_range, expected);
  options.cascade = false;
  ASSERT_TRUE(PlanBatchAttention(Spec(4), lengths.qo_indptr, lengths.kv, options, &plan).ok());
  EXPECT_EQ(plan.work_items().size(), 5u);
  EXPECT_TRUE(plan.merged_rows().empty());
}

TEST(PlanTest, RefusesWhatDoesNotFitTogether) {
  const auto message = [](const AttentionSpec& spec, const auto& change, size_t thread_count = 1) {
    Lengths lengths({{1, 40}, {2, 70}});
    change(lengths);
    BatchAttentionPlan plan;
    const Status status = PlanBatchAttention(spec, lengths.qo_indptr, lengths.kv,
                                             {.thread_count = thread_count}, &plan);
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
  expect(message(spec, [](Lengths& l) { l.kv_indices[4] = 5; }), "kv_indices[4] is 5");
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
  ASSERT_TRUE(
      PlanBatchAttention(spec, batch.qo_indptr(), batch.kv(), {.thread_count = 2}, &plan).ok());
  EXPECT_FALSE(plan.merged_rows().empty());
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
