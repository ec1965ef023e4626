// BlockSummaries: the smallest and largest number of each key dim in every page of a block pool, by
// layer and KV head (Quest, Tang et al. 2024, arXiv 2406.10774): what block selection
// (block_select.h) knows of a page without reading it. An array beside the pool, with an entry for
// each page: the bytes of blocks do not change. Owned by whoever owns the pool; one thread at a
// time.
//
//   layer 0                                               layer 1 ...
//   | page 0: head 0 | head 1 | ... | page 1: head 0 ... || page 0 ...     entries: block_bounds.h
//
// A page's summary is a function of its bytes, computed when it is first wanted and kept while the
// bytes stay. Two things tell that they did not: rows that are appended to the page (Forget), and
// the page's allocation number, which rises whenever the pool hands the page out, whatever it is
// filled with then. Sharing a page, letting it go and finding it again changes neither.

#ifndef KVASIR_ATTENTION_BLOCK_SUMMARIES_H_
#define KVASIR_ATTENTION_BLOCK_SUMMARIES_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "kvasir/attention/paged_kv.h"
#include "kvasir/base/aligned_buffer.h"
#include "kvasir/base/status.h"
#include "kvasir/base/thread_pool.h"

namespace kvasir {

class BlockSummaries {
 public:
  // kResourceExhausted when the memory cannot be had.
  static Result<BlockSummaries> Create(const KvBlockLayout& layout, size_t page_count);
  // Bytes that Create would take; the largest size_t when they exceed it.
  static size_t ByteCount(const KvBlockLayout& layout, size_t page_count);

  const KvBlockLayout& layout() const { return layout_; }
  size_t page_count() const { return stamps_.size(); }

  // Forgets the pages that the batch's rows are about to be appended to. Must see every batch that
  // writes to the pool, also those that select nothing. REQUIRES blocks of layout().
  void Forget(const PagedKv& kv, std::span<const int32_t> qo_indptr);
  // Makes the summaries of `pages` current for all layers; pages may repeat. `allocations`
  // [page_count], or empty where pages change by appended rows alone. REQUIRES pages whose 32 keys
  // are complete.
  void Refresh(const PagedKv& kv, std::span<const uint64_t> allocations,
               std::span<const int32_t> pages, ThreadPool& pool);
  // Whether a page's summary was computed for this allocation and is not forgotten.
  bool IsCurrent(int32_t page, uint64_t allocation) const {
    return stamps_[size_t(page)] == allocation + 1;
  }

  // The entry of page 0 for a layer and KV head, and the distance from page to page.
  const std::byte* Entries(uint32_t layer, uint32_t kv_head) const;
  size_t page_stride_bytes() const;

 private:
  KvBlockLayout layout_;
  AlignedBuffer entries_;
  std::vector<uint64_t> stamps_;  // by page: its allocation number + 1, or 0 without a summary
  std::vector<int32_t> stale_;    // of Refresh, kept for its memory
};

}  // namespace kvasir

#endif  // KVASIR_ATTENTION_BLOCK_SUMMARIES_H_
