#include "kvasir/attention/block_summaries.h"

#include <algorithm>
#include <limits>

#include "kvasir/attention/block_bounds.h"
#include "kvasir/base/check.h"

namespace kvasir {

size_t BlockSummaries::ByteCount(const KvBlockLayout& layout, size_t page_count) {
  const size_t page_bytes = layout.layer_count * layout.kv_head_count * SummaryBytes(layout);
  size_t byte_count;
  if (__builtin_mul_overflow(page_count, page_bytes + sizeof(uint64_t), &byte_count)) {
    return std::numeric_limits<size_t>::max();
  }
  return byte_count;
}

Result<BlockSummaries> BlockSummaries::Create(const KvBlockLayout& layout, size_t page_count) {
  const size_t byte_count = ByteCount(layout, page_count);
  if (byte_count == std::numeric_limits<size_t>::max()) {
    return ResourceExhausted("the summaries of KV blocks exceed the address space");
  }
  BlockSummaries summaries;
  summaries.layout_ = layout;
  summaries.stamps_.assign(page_count, 0);
  KVASIR_ASSIGN_OR_RETURN(summaries.entries_,
                          AlignedBuffer::Allocate(byte_count - page_count * sizeof(uint64_t)));
  return summaries;
}

size_t BlockSummaries::page_stride_bytes() const {
  return layout_.kv_head_count * SummaryBytes(layout_);
}

const std::byte* BlockSummaries::Entries(uint32_t layer, uint32_t kv_head) const {
  return entries_.data() + layer * page_count() * page_stride_bytes() +
         kv_head * SummaryBytes(layout_);
}

void BlockSummaries::Forget(const PagedKv& kv, std::span<const int32_t> qo_indptr) {
  KVASIR_CHECK(kv.layout == layout_ && kv.page_count == page_count());
  for (size_t b = 0; b < kv.batch_size(); ++b) {
    const int32_t q_len = qo_indptr[b + 1] - qo_indptr[b], kv_len = kv.KvLen(b);
    if (q_len == 0) continue;
    const int32_t first = std::max(kv_len - q_len, 0) / kv.page_size;
    for (int32_t i = first; i * kv.page_size < kv_len; ++i) {
      stamps_[size_t(kv.PageId(b, 0, size_t(i)))] = 0;
    }
  }
}

void BlockSummaries::Refresh(const PagedKv& kv, std::span<const uint64_t> allocations,
                             std::span<const int32_t> pages, ThreadPool& pool) {
  KVASIR_CHECK(kv.layout == layout_ && kv.page_count == page_count());
  KVASIR_CHECK(allocations.empty() || allocations.size() == page_count());
  stale_.clear();
  for (const int32_t page : pages) {
    const uint64_t allocation = allocations.empty() ? 0 : allocations[size_t(page)];
    if (IsCurrent(page, allocation)) continue;
    stamps_[size_t(page)] = allocation + 1;
    stale_.push_back(page);
  }
  const uint32_t layers = layout_.layer_count;
  pool.ParallelFor(stale_.size() * layers, [&](size_t task, size_t) {
    const int32_t page = stale_[task / layers];
    const uint32_t layer = uint32_t(task % layers);
    std::byte* entry =
        entries_.data() + (layer * page_count() + size_t(page)) * page_stride_bytes();
    for (uint32_t head = 0; head < layout_.kv_head_count; ++head, entry += SummaryBytes(layout_)) {
      SummarizeKeys(layout_, kv.Page(page) + layout_.KTileOffset(layer, head), entry);
    }
  });
}

}  // namespace kvasir
