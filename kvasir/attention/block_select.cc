#include "kvasir/attention/block_select.h"

#include <algorithm>
#include <bit>
#include <limits>
#include <string>

#include "kvasir/attention/block_bounds.h"
#include "kvasir/base/check.h"

namespace kvasir {

namespace {

Status CheckOption(const char* name, int64_t value, int64_t min) {
  constexpr int64_t kMax = std::numeric_limits<int32_t>::max() / 4;
  if (value >= min && value <= kMax) return OkStatus();
  return InvalidArgument(std::string(name) + " is " + std::to_string(value) + ", allowed is " +
                         std::to_string(min) + " to " + std::to_string(kMax));
}

// Rises as `bound` falls, and for equal bounds with `index`. REQUIRES no NaN.
uint64_t OrderKey(float bound, size_t index) {
  const uint32_t bits = std::bit_cast<uint32_t>(bound + 0.0f);  // -0 becomes 0
  const uint32_t rising = bits & 0x80000000u ? ~bits : bits | 0x80000000u;
  return (uint64_t{~rising} << 32) | index;
}

}  // namespace

Status BlockSelection::Plan(const BlockSelectOptions& options, std::span<const int32_t> qo_indptr,
                            const PagedKv& kv, std::span<const uint8_t> may_select) {
  KVASIR_CHECK(!kv.rows && kv.kv_indices_head_stride == 0);
  KVASIR_CHECK(may_select.empty() || may_select.size() == kv.batch_size());
  KVASIR_RETURN_IF_ERROR(CheckOption("sink_blocks", options.sink_blocks, 0));
  KVASIR_RETURN_IF_ERROR(CheckOption("recent_blocks", options.recent_blocks, 1));
  const int32_t always_count = options.sink_blocks + options.recent_blocks;
  KVASIR_RETURN_IF_ERROR(CheckOption("budget_blocks", options.budget_blocks, always_count + 1));
  source_ = kv;
  chosen_count_ = options.budget_blocks - always_count;
  rows_.clear();
  candidates_.clear();
  kv_indptr_.assign(1, 0);
  for (size_t b = 0; b < kv.batch_size(); ++b) {
    const auto pages = kv.kv_indices.subspan(size_t(kv.kv_indptr[b]),
                                             size_t(kv.kv_indptr[b + 1] - kv.kv_indptr[b]));
    const bool selects = (may_select.empty() || may_select[b] != 0) &&
                         qo_indptr[b + 1] - qo_indptr[b] == 1 &&
                         pages.size() > size_t(options.budget_blocks);
    if (selects) {
      const auto judged =
          pages.subspan(size_t(options.sink_blocks), pages.size() - size_t(always_count));
      rows_.push_back({.row = qo_indptr[b],
                       .first_candidate = candidates_.size(),
                       .candidate_count = judged.size(),
                       .first_index = size_t(kv_indptr_.back() + options.sink_blocks)});
      candidates_.insert(candidates_.end(), judged.begin(), judged.end());
    }
    kv_indptr_.push_back(kv_indptr_.back() +
                         (selects ? options.budget_blocks : int32_t(pages.size())));
  }
  if (rows_.empty()) return OkStatus();

  // Lists of the right lengths for all heads: the first pages of those that select, then the latest
  // ones. Select replaces what lies between.
  const size_t heads = kv.layout.kv_head_count;
  const size_t stride = size_t(kv_indptr_.back());
  kv_indices_.resize(heads * stride);
  for (size_t b = 0; b < kv.batch_size(); ++b) {
    const auto pages = kv.kv_indices.subspan(size_t(kv.kv_indptr[b]),
                                             size_t(kv.kv_indptr[b + 1] - kv.kv_indptr[b]));
    const size_t kept = size_t(kv_indptr_[b + 1] - kv_indptr_[b]);
    const size_t recent = kept == pages.size() ? 0 : size_t(options.recent_blocks);
    for (size_t head = 0; head < heads; ++head) {
      auto to = kv_indices_.begin() + ptrdiff_t(head * stride) + kv_indptr_[b];
      to = std::copy_n(pages.begin(), kept - recent, to);
      std::copy_n(pages.end() - ptrdiff_t(recent), recent, to);
    }
  }
  bounds_.resize(heads * candidates_.size());
  order_.resize(heads * candidates_.size());
  return OkStatus();
}

void BlockSelection::Select(const BlockSummaries& summaries, uint32_t layer,
                            MatrixView<const float> q, ThreadPool& pool) {
  const KvBlockLayout& layout = source_.layout;
  const size_t heads = layout.kv_head_count;
  KVASIR_CHECK(summaries.layout() == layout && summaries.page_count() == source_.page_count);
  KVASIR_CHECK(layer < layout.layer_count && q.cols() % (heads * layout.head_dim) == 0);
  // Once: the number of query heads does not change.
  split_queries_.resize(rows_.size() * q.cols() / layout.head_dim * 2 * PaddedSummaryDim(layout));
  pool.ParallelFor(rows_.size() * heads, [&](size_t task, size_t) {
    SelectHead(summaries, layer, q, rows_[task / heads], task % heads);
  });
}

void BlockSelection::SelectHead(const BlockSummaries& summaries, uint32_t layer,
                                MatrixView<const float> q, const Row& row, size_t kv_head) {
  const KvBlockLayout& layout = source_.layout;
  const size_t head_dim = layout.head_dim, padded_dim = PaddedSummaryDim(layout);
  const size_t qo_heads = q.cols() / head_dim, group = qo_heads / layout.kv_head_count;
  float* split = split_queries_.data() +
                 (size_t(&row - rows_.data()) * qo_heads + kv_head * group) * 2 * padded_dim;
  for (size_t h = 0; h < group; ++h) {
    const auto head =
        q.row_span(size_t(row.row)).subspan((kv_head * group + h) * head_dim, head_dim);
    SplitQuery(head, padded_dim, split + h * 2 * padded_dim);
  }
  const size_t scratch = kv_head * candidates_.size() + row.first_candidate;
  const auto pages = std::span(candidates_).subspan(row.first_candidate, row.candidate_count);
  float* bounds = bounds_.data() + scratch;
  BoundPages(layout, group, split, summaries.Entries(layer, uint32_t(kv_head)),
             summaries.page_stride_bytes(), pages, bounds);

  const auto order = std::span(order_).subspan(scratch, pages.size());
  for (size_t i = 0; i < pages.size(); ++i) order[i] = OrderKey(bounds[i], i);
  const auto chosen = order.first(size_t(chosen_count_));
  std::nth_element(order.begin(), chosen.end(), order.end());
  for (uint64_t& key : chosen) key &= 0xFFFFFFFFu;  // the index alone
  std::sort(chosen.begin(), chosen.end());
  int32_t* to = kv_indices_.data() + kv_head * size_t(kv_indptr_.back()) + row.first_index;
  for (const uint64_t index : chosen) *to++ = pages[index];
}

PagedKv BlockSelection::kv() const {
  PagedKv kv = source_;
  kv.kv_indptr = kv_indptr_;
  kv.kv_indices = kv_indices_;
  kv.kv_indices_head_stride = size_t(kv_indptr_.back());
  return kv;
}

}  // namespace kvasir
