// PagedKv: a view of the keys and values of one batch in paged memory, with FlashInfer's names for
// the page table. A page is a KV block of formats/kv_block_layout.h; page p lies at base + p *
// layout.block_bytes(). Owns nothing; valid as long as the pool and the index arrays.

#ifndef KVASIR_ATTENTION_PAGED_KV_H_
#define KVASIR_ATTENTION_PAGED_KV_H_

#include <cstddef>
#include <cstdint>
#include <span>

#include "kvasir/formats/kv_block_layout.h"

namespace kvasir {

struct PagedKv {
  KvBlockLayout layout;
  std::byte* base = nullptr;  // 64-byte aligned
  size_t page_count = 0;      // pages that exist at base

  std::span<const int32_t> kv_indptr;   // [batch + 1], in pages, rising from 0
  std::span<const int32_t> kv_indices;  // [kv_indptr[batch]], page ids < page_count
  std::span<const int32_t>
      kv_last_page_len;  // [batch], tokens in the last page: 1..32; ignored when there is no page

  size_t batch_size() const { return kv_last_page_len.size(); }
  // Tokens of sequence `b`, those of the current batch included.
  int32_t KvLen(size_t b) const {
    const int32_t pages = kv_indptr[b + 1] - kv_indptr[b];
    return pages == 0 ? 0 : (pages - 1) * int32_t{kKvBlockTokens} + kv_last_page_len[b];
  }
  std::byte* Page(int32_t page) const { return base + size_t(page) * layout.block_bytes(); }
};

}  // namespace kvasir

#endif  // KVASIR_ATTENTION_PAGED_KV_H_
