// PagedKv: a view of the keys and values of one batch in paged memory, with FlashInfer's names for
// the page table. Two kinds of memory:
//
//   blocks  pages of 32 tokens in the engine's own layout (formats/kv_block_layout.h); page p lies
//           at base + p * layout.block_bytes()
//   rows    plain arrays of a library user, one row of head_dim numbers for each token and head
//           (KvRows): NHD or HND pools with pages of any size, or ragged arrays without pages
//
// The same keys and values give the same bits of output in both. Quantised blocks (int8, int4, fp8)
// are read in place too; of each sequence the blocks that its queries lie in are also given
// unencoded. Owns nothing; valid as long as the
// memory and the index arrays.

#ifndef KVASIR_ATTENTION_PAGED_KV_H_
#define KVASIR_ATTENTION_PAGED_KV_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "kvasir/formats/kv_block_layout.h"

namespace kvasir {

enum class KvRowType : uint8_t { kF32, kBF16, kF16 };
inline constexpr size_t KvRowTypeBytes(KvRowType type) { return type == KvRowType::kF32 ? 4 : 2; }

// Distances between rows, in numbers; within a row the numbers are contiguous.
struct KvRowStrides {
  int64_t page = 0;
  int64_t token = 0;
  int64_t head = 0;

  // Strides of a dense pool of keys or of values.
  static KvRowStrides Nhd(int32_t page_size, uint32_t num_kv_heads, uint32_t head_dim) {
    const int64_t heads = num_kv_heads, dim = head_dim;
    return {.page = page_size * heads * dim, .token = heads * dim, .head = dim};
  }
  static KvRowStrides Hnd(int32_t page_size, uint32_t num_kv_heads, uint32_t head_dim) {
    const int64_t heads = num_kv_heads, dim = head_dim;
    return {.page = page_size * heads * dim, .token = dim, .head = page_size * dim};
  }
};

// Keys and values as rows of numbers. `k` and `v` point at page 0, token 0, head 0 and are aligned
// to their number type. Attention reads them only; AppendPagedKvRows writes.
struct KvRows {
  KvRowType type = KvRowType::kF32;
  std::byte* k = nullptr;
  std::byte* v = nullptr;
  KvRowStrides k_strides = {};
  KvRowStrides v_strides = {};
  // The last k_tail_dim numbers of each key lie in an array of their own: the rotated part of
  // DeepSeek's MLA, whose keys are | ckv 512 | kpe 64 | and whose values are ckv. 0 = no tail.
  uint32_t k_tail_dim = 0;
  std::byte* k_tail = nullptr;
  KvRowStrides k_tail_strides = {};

  // Two pools of f32 with the same strides.
  static KvRows F32(float* k, float* v, const KvRowStrides& strides) {
    return {.type = KvRowType::kF32,
            .k = reinterpret_cast<std::byte*>(k),
            .v = reinterpret_cast<std::byte*>(v),
            .k_strides = strides,
            .v_strides = strides};
  }
};

// Blocks whose layout is quantised are encoded as a whole, once, when their 32nd token is there.
// Until then, and as long as rows of a batch lie in their group (KvBlockLayout::open_blocks), their
// keys and values are here, in bf16: a row attends to the encoded numbers of the blocks before its
// own group, and to these of its own group, whether a block was completed by an earlier batch, by
// this one or not at all.
//
// A sequence's last group lies in open slots, one behind another, which outlive the batch and have
// all layers; those before it in staging slots, which have one layer at a time.
struct OpenKv {
  KvBlockLayout layout = {};          // bf16, of all layers
  std::byte* open_base = nullptr;     // [open slots][layers] x LayerBytes()
  std::byte* staging_base = nullptr;  // [staging slots] x LayerBytes()
  // [batch + 1]: the slots of sequence b are own_slots[own_indptr[b]] .. own_slots[own_indptr[b +
  // 1]], for its blocks from first_own_block[b] on: the groups that rows of the batch lie in.
  std::span<const int32_t> own_indptr = {};
  std::span<const int32_t> own_slots = {};  // open slot s, or staging slot -1 - s
  // [batch]: (KvLen - q_len) / 32, rounded down to whole groups
  std::span<const int32_t> first_own_block = {};

  size_t LayerBytes() const { return layout.layer_bytes(0); }
  // The layer's tiles in the slot: K of all heads, then V of all heads, each layout.tile_bytes().
  std::byte* Tiles(int32_t slot, uint32_t layer) const {
    if (slot < 0) return staging_base + size_t(-1 - slot) * LayerBytes();
    return open_base + (size_t(slot) * layout.layer_count + layer) * LayerBytes();
  }
  // The slot of block `block` of sequence `b`. REQUIRES one of its own blocks.
  int32_t Slot(size_t b, int32_t block) const {
    return own_slots[size_t(own_indptr[b] + block - first_own_block[b])];
  }
};

struct PagedKv {
  KvBlockLayout layout = {};  // of blocks; unused with rows
  std::byte* base = nullptr;  // of blocks, 64-byte aligned
  size_t page_count = 0;      // pages that exist

  std::span<const int32_t> kv_indptr = {};   // [batch + 1], in pages, rising from 0
  std::span<const int32_t> kv_indices = {};  // [kv_indptr[batch]], page ids < page_count
  // [batch], tokens in the last page: 1..page_size; ignored when there is no page.
  std::span<const int32_t> kv_last_page_len = {};

  int32_t page_size = kKvBlockTokens;  // tokens of a page; with blocks always 32
  std::optional<KvRows> rows = {};     // set: rows instead of blocks
  // Without pages: kv_indptr counts tokens, token t of sequence b is the "page" kv_indptr[b] + t of
  // one token, page_count the tokens that exist; kv_indices and kv_last_page_len are unused.
  bool is_ragged = false;
  // Of blocks whose layout is quantised; absent otherwise.
  std::optional<OpenKv> open = {};
  // Not 0: every KV head has page ids of its own, those of head h from kv_indices[h * stride] on
  // (block_select.h); kv_indptr and kv_last_page_len serve all heads.
  size_t kv_indices_head_stride = 0;

  size_t batch_size() const {
    return is_ragged ? (kv_indptr.empty() ? 0 : kv_indptr.size() - 1) : kv_last_page_len.size();
  }
  // Tokens of sequence `b`, those of the current batch included.
  int32_t KvLen(size_t b) const {
    const int32_t pages = kv_indptr[b + 1] - kv_indptr[b];
    if (is_ragged) return pages;
    return pages == 0 ? 0 : (pages - 1) * page_size + kv_last_page_len[b];
  }
  // The page that holds tokens page_size * i .. of sequence `b` for KV head `head`.
  int32_t PageId(size_t b, size_t head, size_t i) const {
    const size_t entry = size_t(kv_indptr[b]) + i;
    return is_ragged ? int32_t(entry) : kv_indices[head * kv_indices_head_stride + entry];
  }
  std::byte* Page(int32_t page) const { return base + size_t(page) * layout.block_bytes(); }
};

}  // namespace kvasir

#endif  // KVASIR_ATTENTION_PAGED_KV_H_
