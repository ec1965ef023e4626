#include "kvasir/attention/block_select.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "kvasir/attention/append.h"
#include "kvasir/attention/attention_test_util.h"
#include "kvasir/attention/block_bounds.h"
#include "kvasir/formats/float16.h"
#include "kvasir/kernels/cpu_target.h"

namespace kvasir {
namespace {

constexpr uint32_t kLayer = TestBatch::kLayer;
// Of a sum of a few hundred products in f32: relative to the sum of their magnitudes.
constexpr double kRounding = 1e-5;

// Pages of `batch` that summaries may be wanted of: those whose keys are complete.
std::vector<int32_t> CompletePages(const TestBatch& batch) {
  std::vector<int32_t> pages;
  const PagedKv& kv = batch.kv();
  for (size_t b = 0; b < kv.batch_size(); ++b) {
    for (int32_t i = 0; (i + 1) * 32 <= kv.KvLen(b); ++i) {
      pages.push_back(kv.PageId(b, 0, size_t(i)));
    }
  }
  return pages;
}

BlockSummaries FreshSummaries(const TestBatch& batch) {
  BlockSummaries summaries =
      std::move(BlockSummaries::Create(batch.kv().layout, batch.kv().page_count)).value();
  ThreadPool pool(2);
  summaries.Refresh(batch.kv(), {}, CompletePages(batch), pool);
  return summaries;
}

// The number at `index` of an entry, whatever its type.
float EntryNumber(const KvBlockLayout& layout, const std::byte* entry, size_t index) {
  return layout.format == KvFormat::kF32 ? LoadF32(entry + 4 * index) : LoadBF16(entry + 2 * index);
}

const float* Key(const TestBatch& batch, size_t sequence, int32_t token, uint32_t head) {
  const AttentionSpec& spec = batch.spec();
  return &batch.sequences()[sequence].k[(size_t(token) * spec.num_kv_heads + head) * spec.head_dim];
}

std::span<const float> Query(const TestBatch& batch, size_t sequence, uint32_t qo_head) {
  const AttentionSpec& spec = batch.spec();
  return std::span(batch.sequences()[sequence].q).subspan(qo_head * spec.head_dim, spec.head_dim);
}

// In float64: what no q.k of page `i` of a sequence exceeds for any head of the group, and the
// magnitude that rounding errors are relative to.
struct ReferenceBound {
  double bound = -std::numeric_limits<double>::infinity();
  double scale = 0;
};
ReferenceBound BoundOfPage(const TestBatch& batch, size_t sequence, int32_t i, uint32_t kv_head) {
  const AttentionSpec& spec = batch.spec();
  ReferenceBound reference;
  for (uint32_t h = 0; h < spec.group_size(); ++h) {
    const auto q = Query(batch, sequence, kv_head * spec.group_size() + h);
    double sum = 0, scale = 0;
    for (uint32_t d = 0; d < spec.head_dim; ++d) {
      double low = INFINITY, high = -INFINITY;
      for (int32_t t = 32 * i; t < 32 * (i + 1); ++t) {
        low = std::min(low, double(Key(batch, sequence, t, kv_head)[d]));
        high = std::max(high, double(Key(batch, sequence, t, kv_head)[d]));
      }
      sum += std::max(double(q[d]) * low, double(q[d]) * high);
      scale += std::abs(double(q[d])) * std::max(std::abs(low), std::abs(high));
    }
    reference.bound = std::max(reference.bound, sum);
    reference.scale = std::max(reference.scale, scale);
  }
  return reference;
}

MatrixView<const float> Queries(const TestBatch& batch, std::vector<float>* memory) {
  memory->clear();
  for (const TestSequence& s : batch.sequences()) {
    memory->insert(memory->end(), s.q.begin(), s.q.end());
  }
  return {memory->data(), batch.row_count(),
          size_t{batch.spec().num_qo_heads} * batch.spec().head_dim};
}

// The page ids of sequence `b` for a head.
std::vector<int32_t> PagesOf(const PagedKv& kv, size_t b, size_t head) {
  std::vector<int32_t> pages;
  for (int32_t i = 0; i < kv.kv_indptr[b + 1] - kv.kv_indptr[b]; ++i) {
    pages.push_back(kv.PageId(b, head, size_t(i)));
  }
  return pages;
}

// All lists of a selection with `threads` threads, head by head.
std::vector<int32_t> Select(const TestBatch& batch, const BlockSelectOptions& options,
                            size_t threads, BlockSelection* selection) {
  const BlockSummaries summaries = FreshSummaries(batch);
  EXPECT_TRUE(selection->Plan(options, batch.qo_indptr(), batch.kv()).ok());
  if (selection->empty()) return {};
  ThreadPool pool(threads);
  std::vector<float> q;
  selection->Select(summaries, kLayer, Queries(batch, &q), pool);
  const PagedKv kv = selection->kv();
  return {kv.kv_indices.begin(), kv.kv_indices.end()};
}

struct Case {
  const char* name;
  AttentionSpec spec;
  KvFormat format;
};
const Case kCases[] = {
    {"smollm2", {9, 3, 64, 0.125f}, KvFormat::kBF16},
    {"smollm2 f32", {9, 3, 64, 0.125f}, KvFormat::kF32},
    {"group 4", {8, 2, 128, 0.088f}, KvFormat::kBF16},
    {"group 7, odd dim", {7, 1, 35, 0.17f}, KvFormat::kBF16},
    {"single heads, dim 40", {2, 2, 40, 0.158f}, KvFormat::kF32},
    {"one dim", {2, 1, 1, 1.0f}, KvFormat::kBF16},
};

class BlockSelectTest : public testing::TestWithParam<CpuTarget> {
 protected:
  TestBatch RandomBatch(const Case& c, const std::vector<std::pair<int32_t, int32_t>>& lengths) {
    std::vector<TestSequence> sequences;
    for (const auto& [kv_len, q_len] : lengths) {
      sequences.push_back(RandomSequence(c.spec, c.format, kv_len, q_len, random_));
    }
    return TestBatch(c.spec, c.format, std::move(sequences), random_);
  }

  const ScopedCpuTarget scope_{GetParam()};
  std::mt19937 random_{23};
};

INSTANTIATE_TEST_SUITE_P(Targets, BlockSelectTest, testing::ValuesIn(SupportedCpuTargets()),
                         [](const auto& info) { return std::string(CpuTargetName(info.param)); });

TEST_P(BlockSelectTest, SummariesAreTheExtremesOfTheKeys) {
  for (const Case& c : kCases) {
    const TestBatch batch = RandomBatch(c, {{200, 1}, {64, 1}, {31, 1}});
    const BlockSummaries summaries = FreshSummaries(batch);
    const KvBlockLayout& layout = batch.kv().layout;
    const size_t padded_dim = PaddedSummaryDim(layout);
    for (size_t b = 0; b < 3; ++b) {
      for (int32_t i = 0; (i + 1) * 32 <= batch.kv().KvLen(b); ++i) {
        for (uint32_t head = 0; head < c.spec.num_kv_heads; ++head) {
          const std::byte* entry =
              summaries.Entries(kLayer, head) +
              size_t(batch.kv().PageId(b, 0, size_t(i))) * summaries.page_stride_bytes();
          for (uint32_t d = 0; d < padded_dim; ++d) {
            float low = d < c.spec.head_dim ? INFINITY : 0, high = -low;
            for (int32_t t = 32 * i; t < 32 * (i + 1) && d < c.spec.head_dim; ++t) {
              low = std::min(low, Key(batch, b, t, head)[d]);
              high = std::max(high, Key(batch, b, t, head)[d]);
            }
            ASSERT_EQ(EntryNumber(layout, entry, d), low) << c.name << ", dim " << d;
            ASSERT_EQ(EntryNumber(layout, entry, padded_dim + d), high) << c.name << ", dim " << d;
          }
        }
      }
    }
  }
}

TEST_P(BlockSelectTest, NoKeyOfABlockExceedsItsBound) {
  for (const Case& c : kCases) {
    const TestBatch batch = RandomBatch(c, {{416, 1}});
    const BlockSummaries summaries = FreshSummaries(batch);
    const KvBlockLayout& layout = batch.kv().layout;
    const size_t padded_dim = PaddedSummaryDim(layout), group = c.spec.group_size();
    std::vector<float> split(group * 2 * padded_dim), bounds(13);
    for (uint32_t head = 0; head < c.spec.num_kv_heads; ++head) {
      for (uint32_t h = 0; h < group; ++h) {
        SplitQuery(Query(batch, 0, uint32_t(head * group) + h), padded_dim,
                   &split[h * 2 * padded_dim]);
      }
      BoundPages(layout, group, split.data(), summaries.Entries(kLayer, head),
                 summaries.page_stride_bytes(), batch.kv().kv_indices, bounds.data());
      for (int32_t i = 0; i < 13; ++i) {
        const ReferenceBound reference = BoundOfPage(batch, 0, i, head);
        const double tolerance = kRounding * reference.scale;
        EXPECT_NEAR(double(bounds[size_t(i)]), reference.bound, tolerance) << c.name;
        for (int32_t t = 32 * i; t < 32 * (i + 1); ++t) {
          for (uint32_t h = 0; h < group; ++h) {
            const auto q = Query(batch, 0, uint32_t(head * group) + h);
            double product = 0;
            for (uint32_t d = 0; d < c.spec.head_dim; ++d) {
              product += double(q[d]) * double(Key(batch, 0, t, head)[d]);
            }
            ASSERT_LE(product, double(bounds[size_t(i)]) + tolerance) << c.name << ", token " << t;
          }
        }
      }
    }
  }
}

TEST_P(BlockSelectTest, ReadsTheFirstTheLatestAndTheBestBlocks) {
  for (const Case& c : kCases) {
    for (const BlockSelectOptions& options :
         {BlockSelectOptions{.budget_blocks = 4}, BlockSelectOptions{.budget_blocks = 9},
          BlockSelectOptions{.budget_blocks = 6, .sink_blocks = 0, .recent_blocks = 1},
          BlockSelectOptions{.budget_blocks = 7, .sink_blocks = 2, .recent_blocks = 3}}) {
      // Longer than all budgets, of exactly one (it reads all), a chunk, one that ends with a
      // block.
      const TestBatch batch =
          RandomBatch(c, {{600, 1}, {32 * options.budget_blocks, 1}, {500, 7}, {0, 0}, {320, 1}});
      BlockSelection selection;
      Select(batch, options, 2, &selection);
      ASSERT_FALSE(selection.empty());
      const PagedKv kv = selection.kv();
      ASSERT_TRUE(CheckAttention(c.spec, batch.qo_indptr(), kv).ok());
      for (size_t b = 0; b < 5; ++b) {
        const std::vector<int32_t> all = PagesOf(batch.kv(), b, 0);
        const bool selects = b == 0 || (b == 4 && options.budget_blocks < 10);
        for (uint32_t head = 0; head < c.spec.num_kv_heads; ++head) {
          const std::vector<int32_t> pages = PagesOf(kv, b, head);
          if (!selects) {
            ASSERT_EQ(pages, all);
            continue;
          }
          ASSERT_EQ(pages.size(), size_t(options.budget_blocks));
          std::vector<int32_t> places;
          for (const int32_t page : pages) {
            places.push_back(int32_t(std::find(all.begin(), all.end(), page) - all.begin()));
          }
          const int32_t count = int32_t(all.size());
          ASSERT_TRUE(std::is_sorted(places.begin(), places.end(), std::less_equal<>()));
          ASSERT_EQ(places.back(), count - 1);
          ASSERT_EQ(places[size_t(options.budget_blocks - options.recent_blocks)],
                    count - options.recent_blocks);
          for (int32_t i = 0; i < options.sink_blocks; ++i) ASSERT_EQ(places[size_t(i)], i);
          double worst_chosen = INFINITY, best_left = -INFINITY, tolerance = 0;
          for (int32_t i = options.sink_blocks; i < count - options.recent_blocks; ++i) {
            const ReferenceBound reference = BoundOfPage(batch, b, i, head);
            tolerance = std::max(tolerance, kRounding * reference.scale);
            if (std::binary_search(places.begin(), places.end(), i)) {
              worst_chosen = std::min(worst_chosen, reference.bound);
            } else {
              best_left = std::max(best_left, reference.bound);
            }
          }
          EXPECT_GE(worst_chosen, best_left - 2 * tolerance) << c.name;
        }
      }
    }
  }
}

TEST_P(BlockSelectTest, EqualBoundsGoToTheEarlierBlockAndNaNIsChosen) {
  const Case& c = kCases[0];
  TestSequence same = RandomSequence(c.spec, c.format, 320, 1, random_);
  const size_t block_numbers = 32 * size_t{c.spec.num_kv_heads} * c.spec.head_dim;
  for (size_t i = block_numbers; i < same.k.size(); ++i) same.k[i] = same.k[i % block_numbers];
  const TestBatch equal(c.spec, c.format, {same}, random_);
  BlockSelection selection;
  Select(equal, {.budget_blocks = 6}, 1, &selection);
  const std::vector<int32_t> all = PagesOf(equal.kv(), 0, 0);
  EXPECT_EQ(PagesOf(selection.kv(), 0, 2),
            (std::vector<int32_t>{all[0], all[1], all[2], all[3], all[8], all[9]}));

  // A block whose keys are broken must be seen, or the answer would hide it.
  for (size_t i = 0; i < block_numbers; ++i) {
    same.k[6 * block_numbers + i] = std::numeric_limits<float>::quiet_NaN();
  }
  const TestBatch broken(c.spec, c.format, {same}, random_);
  Select(broken, {.budget_blocks = 4}, 1, &selection);
  const std::vector<int32_t> pages = PagesOf(broken.kv(), 0, 0);
  EXPECT_EQ(PagesOf(selection.kv(), 0, 1),
            (std::vector<int32_t>{pages[0], pages[6], pages[8], pages[9]}));
}

// Attention over the selection against the float64 truth over the tokens of the chosen blocks.
TEST_P(BlockSelectTest, AttentionReadsTheChosenBlocksAlone) {
  for (const Case& c : kCases) {
    const TestBatch batch = RandomBatch(c, {{300, 5}, {601, 1}, {90, 1}});
    BlockSelection selection;
    Select(batch, {.budget_blocks = 6}, 2, &selection);
    const PagedKv kv = selection.kv();
    BatchAttentionPlan plan;
    ASSERT_TRUE(PlanBatchAttention(c.spec, batch.qo_indptr(), kv, {.thread_count = 2}, &plan).ok());
    std::vector<float> q, out(batch.row_count() * c.spec.num_qo_heads * c.spec.head_dim);
    const MatrixView<const float> queries = Queries(batch, &q);
    ThreadPool pool(2);
    plan.Run(kv, kLayer, queries, MatrixView<float>(out.data(), queries.rows(), queries.cols()),
             pool);
    // Rows that do not select have the bits of full attention.
    const std::vector<float> full = batch.Run(1);
    EXPECT_TRUE(std::equal(out.begin(), out.begin() + ptrdiff_t(5 * queries.cols()), full.begin()));
    EXPECT_TRUE(std::equal(out.begin() + ptrdiff_t(6 * queries.cols()), out.end(),
                           full.begin() + ptrdiff_t(6 * queries.cols())));

    const std::vector<int32_t> all = PagesOf(batch.kv(), 1, 0);
    const TestSequence& source = batch.sequences()[1];
    for (uint32_t head = 0; head < c.spec.num_kv_heads; ++head) {
      TestSequence chosen;
      chosen.q_len = 1;
      chosen.q = source.q;
      const size_t columns = size_t{c.spec.num_kv_heads} * c.spec.head_dim;
      for (const int32_t page : PagesOf(kv, 1, head)) {
        const int32_t place = int32_t(std::find(all.begin(), all.end(), page) - all.begin());
        for (int32_t t = 32 * place; t < std::min(32 * (place + 1), 601); ++t, ++chosen.kv_len) {
          const auto from = ptrdiff_t(size_t(t) * columns), to = from + ptrdiff_t(columns);
          chosen.k.insert(chosen.k.end(), source.k.begin() + from, source.k.begin() + to);
          chosen.v.insert(chosen.v.end(), source.v.begin() + from, source.v.begin() + to);
        }
      }
      ASSERT_EQ(chosen.kv_len, 5 * 32 + 601 % 32);
      const ReferenceOutput reference = ReferenceAttention(c.spec, chosen);
      const size_t group_columns = size_t{c.spec.group_size()} * c.spec.head_dim;
      for (size_t i = head * group_columns; i < (head + 1) * group_columns; ++i) {
        ASSERT_NEAR(double(out[5 * queries.cols() + i]), reference.out[i],
                    2e-5 * reference.scale[i / c.spec.head_dim])
            << c.name;
      }
    }
  }
}

TEST_P(BlockSelectTest, ThreadsAndNeighboursDoNotMatter) {
  for (const Case& c : kCases) {
    const TestSequence own = RandomSequence(c.spec, c.format, 700, 1, random_);
    const auto places = [&](std::vector<TestSequence> sequences, size_t index, size_t threads) {
      const TestBatch batch(c.spec, c.format, std::move(sequences), random_);
      BlockSelection selection;
      Select(batch, {.budget_blocks = 8}, threads, &selection);
      const std::vector<int32_t> all = PagesOf(batch.kv(), index, 0);
      std::vector<ptrdiff_t> found;
      for (uint32_t head = 0; head < c.spec.num_kv_heads; ++head) {
        for (const int32_t page : PagesOf(selection.kv(), index, head)) {
          found.push_back(std::find(all.begin(), all.end(), page) - all.begin());
        }
      }
      return found;
    };
    const std::vector<ptrdiff_t> expected = places({own}, 0, 1);
    const auto other = [&](int32_t kv_len, int32_t q_len) {
      return RandomSequence(c.spec, c.format, kv_len, q_len, random_);
    };
    for (const size_t threads : {1u, 2u, 5u}) {
      EXPECT_EQ(places({own}, 0, threads), expected) << c.name;
      EXPECT_EQ(places({other(900, 1), other(40, 12), own, other(301, 1)}, 2, threads), expected)
          << c.name;
    }
  }
}

TEST(BlockSelectNumericsTest, TargetsOfAClassChooseTheSameBlocks) {
  const std::vector<CpuTarget> targets = SupportedCpuTargets();
  for (const Case& c : kCases) {
    std::mt19937 random(29);
    std::vector<TestSequence> sequences = {RandomSequence(c.spec, c.format, 2000, 1, random)};
    const TestBatch batch(c.spec, c.format, std::move(sequences), random);
    const BlockSummaries summaries = FreshSummaries(batch);
    const size_t padded_dim = PaddedSummaryDim(batch.kv().layout), group = c.spec.group_size();
    std::vector<float> split(group * 2 * padded_dim);
    for (uint32_t h = 0; h < group; ++h) {
      SplitQuery(Query(batch, 0, h), padded_dim, &split[h * 2 * padded_dim]);
    }
    std::vector<std::vector<float>> bounds(targets.size(), std::vector<float>(62));
    for (size_t i = 0; i < targets.size(); ++i) {
      const ScopedCpuTarget scope(targets[i]);
      BoundPages(batch.kv().layout, group, split.data(), summaries.Entries(kLayer, 0),
                 summaries.page_stride_bytes(), batch.kv().kv_indices.first(62), bounds[i].data());
      for (size_t j = 0; j < i; ++j) {
        if (NumericsClass(targets[i]) == NumericsClass(targets[j])) {
          EXPECT_EQ(bounds[i], bounds[j]) << c.name;
        }
      }
    }
  }
}

TEST(BlockSelectionTest, ABudgetThatCoversEverythingSelectsNothing) {
  std::mt19937 random(3);
  const Case& c = kCases[0];
  const TestBatch batch(c.spec, c.format, {RandomSequence(c.spec, c.format, 190, 1, random)},
                        random);
  BlockSelection selection;
  ASSERT_TRUE(selection.Plan({.budget_blocks = 6}, batch.qo_indptr(), batch.kv()).ok());
  EXPECT_TRUE(selection.empty());
  ASSERT_TRUE(selection.Plan({.budget_blocks = 5}, batch.qo_indptr(), batch.kv()).ok());
  EXPECT_FALSE(selection.empty());
  const uint8_t may_not = 0;
  ASSERT_TRUE(
      selection.Plan({.budget_blocks = 5}, batch.qo_indptr(), batch.kv(), {&may_not, 1}).ok());
  EXPECT_TRUE(selection.empty());
}

TEST(BlockSelectionTest, RefusesOptionsByName) {
  BlockSelection selection;
  const std::vector<int32_t> qo_indptr = {0}, kv_indptr = {0};
  PagedKv kv;
  kv.kv_indptr = kv_indptr;
  const auto refusal = [&](const BlockSelectOptions& options) {
    return selection.Plan(options, qo_indptr, kv).message();
  };
  EXPECT_EQ(refusal({.budget_blocks = 3}), "budget_blocks is 3, allowed is 4 to 536870911");
  EXPECT_EQ(refusal({.budget_blocks = 9, .sink_blocks = -1}),
            "sink_blocks is -1, allowed is 0 to 536870911");
  EXPECT_EQ(refusal({.budget_blocks = 9, .recent_blocks = 0}),
            "recent_blocks is 0, allowed is 1 to 536870911");
}

TEST(BlockSelectionTest, LaterLayersAllocateNothing) {
  std::mt19937 random(3);
  const Case& c = kCases[0];
  const TestBatch batch(c.spec, c.format, {RandomSequence(c.spec, c.format, 900, 1, random)},
                        random);
  const BlockSummaries summaries = FreshSummaries(batch);
  BlockSelection selection;
  ASSERT_TRUE(selection.Plan({.budget_blocks = 9}, batch.qo_indptr(), batch.kv()).ok());
  ThreadPool pool(1);
  std::vector<float> q;
  const MatrixView<const float> queries = Queries(batch, &q);
  selection.Select(summaries, 0, queries, pool);
  const size_t before = AllocationCount();
  selection.Select(summaries, kLayer, queries, pool);
  EXPECT_EQ(AllocationCount(), before);
}

// ---- Summaries that the pages have left behind ----

class StaleSummariesTest : public testing::Test {
 protected:
  // A page of ones from the start.
  StaleSummariesTest() {
    memory_ = std::move(AlignedBuffer::Allocate(kPages * layout_.block_bytes())).value();
    Write(0, 0, 32, 1);
    Write(1, 0, 32, 1);
  }

  // Appends tokens [begin, end) of page `page`, keys of `value` in all dims.
  void Write(int32_t page, int32_t begin, int32_t end, float value) {
    const int32_t rows = end - begin;
    const std::vector<float> numbers(size_t(rows) * 4, value);
    const MatrixView<const float> k(numbers.data(), size_t(rows), 4);
    const std::vector<int32_t> qo_indptr = {0, rows}, kv_indptr = {0, 1};
    const PagedKv kv = View(kv_indptr, &page, &end);
    if (summaries_) summaries_->Forget(kv, qo_indptr);
    AppendPagedKv(kv, 0, qo_indptr, k, k, pool_);
  }
  PagedKv View(const std::vector<int32_t>& kv_indptr, const int32_t* page,
               const int32_t* last_page_len) const {
    return {.layout = layout_,
            .base = memory_.data(),
            .page_count = kPages,
            .kv_indptr = kv_indptr,
            .kv_indices = {page, 1},
            .kv_last_page_len = {last_page_len, 1}};
  }
  // What the summary says the largest key of `page` is.
  float Largest(int32_t page) {
    const std::vector<int32_t> kv_indptr = {0, 1};
    const int32_t last_page_len = 32;
    if (!summaries_) summaries_ = std::move(BlockSummaries::Create(layout_, kPages)).value();
    const std::vector<int32_t> twice = {page, page};
    summaries_->Refresh(View(kv_indptr, &page, &last_page_len), allocations_, twice, pool_);
    const std::byte* entry =
        summaries_->Entries(0, 0) + size_t(page) * summaries_->page_stride_bytes();
    return EntryNumber(layout_, entry, PaddedSummaryDim(layout_));
  }

  static constexpr size_t kPages = 3;
  const KvBlockLayout layout_{1, 1, 4, KvFormat::kF32};
  ThreadPool pool_{1};
  AlignedBuffer memory_;
  std::optional<BlockSummaries> summaries_;
  std::vector<uint64_t> allocations_ = {1, 1, 1};
};

TEST_F(StaleSummariesTest, AppendedRowsForgetTheirPage) {
  EXPECT_EQ(Largest(0), 1);
  EXPECT_EQ(Largest(1), 1);
  Write(0, 30, 32, 5);  // the sequence was cut to 30 tokens and went on otherwise
  EXPECT_FALSE(summaries_->IsCurrent(0, 1));
  EXPECT_TRUE(summaries_->IsCurrent(1, 1));
  EXPECT_EQ(Largest(0), 5);
  EXPECT_EQ(Largest(1), 1);
}

TEST_F(StaleSummariesTest, APageThatIsHandedOutAgainIsNotTrusted) {
  EXPECT_EQ(Largest(0), 1);
  // Filled by somebody else than Append: copied, or read from a disk.
  reinterpret_cast<float*>(memory_.data())[layout_.KElement(7, 0)] = 9;
  EXPECT_EQ(Largest(0), 1) << "nobody said that the bytes changed";
  ++allocations_[0];
  EXPECT_EQ(Largest(0), 9);
}

TEST_F(StaleSummariesTest, BytesStayAsCounted) {
  const KvBlockLayout layout = {30, 3, 64, KvFormat::kBF16};
  // Two vectors of bf16 where a block has 64: 1 / 32 of its bytes, and a stamp.
  EXPECT_EQ(BlockSummaries::ByteCount(layout, 10), 10 * (30 * 3 * 64 * 2 * 2 + 8u));
  EXPECT_EQ(BlockSummaries::ByteCount(layout, SIZE_MAX / 8), SIZE_MAX);
}

}  // namespace
}  // namespace kvasir
