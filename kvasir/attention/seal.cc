#include "kvasir/attention/seal.h"

#include <algorithm>

#include "kvasir/base/check.h"
#include "kvasir/kernels/kv_encode.h"

namespace kvasir {

namespace {

// The tiles of one KV head of one block.
void SealTiles(const PagedKv& kv, uint32_t layer, int32_t slot, int32_t page, uint32_t head) {
  const KvBlockLayout& layout = kv.layout;
  const size_t tile_bytes = kv.open->layout.tile_bytes();
  const std::byte* from = kv.open->Tiles(slot, layer) + head * tile_bytes;
  std::byte* block = kv.Page(page);
  EncodeOpenKvTile(layout.KTile(layer), from, block + layout.KTileOffset(layer, head));
  EncodeOpenKvTile(layout.VTile(layer), from + layout.kv_head_count * tile_bytes,
                   block + layout.VTileOffset(layer, head));
}

}  // namespace

void SealPagedKv(const PagedKv& kv, uint32_t layer, std::span<const int32_t> qo_indptr,
                 ThreadPool& pool) {
  if (!kv.layout.quantized()) return;
  KVASIR_CHECK(kv.open.has_value() && qo_indptr.size() == kv.batch_size() + 1);
  const OpenKv& open = *kv.open;
  const size_t heads = kv.layout.kv_head_count;
  // The blocks of a sequence that the batch completes. Those before are encoded already.
  const auto first_new = [&](size_t b) {
    const int32_t q_len = qo_indptr[b + 1] - qo_indptr[b];
    return std::max(kv.KvLen(b) - q_len, 0) / int32_t{kKvBlockTokens};
  };
  const auto complete = [&](size_t b) { return kv.KvLen(b) / int32_t{kKvBlockTokens}; };
  // Most decode steps complete nothing.
  bool any = false;
  for (size_t b = 0; b < kv.batch_size() && !any; ++b) {
    any = open.own_indptr[b + 1] > open.own_indptr[b] && complete(b) > first_new(b);
  }
  if (!any) return;
  pool.ParallelFor(open.own_slots.size() * heads, [&](size_t task, size_t) {
    const auto own = int32_t(task / heads);
    size_t b = 0;
    while (open.own_indptr[b + 1] <= own) ++b;
    const int32_t block = open.first_own_block[b] + own - open.own_indptr[b];
    if (block < first_new(b) || block >= complete(b)) return;
    SealTiles(kv, layer, open.own_slots[size_t(own)], kv.PageId(b, 0, size_t(block)),
              uint32_t(task % heads));
  });
}

}  // namespace kvasir
