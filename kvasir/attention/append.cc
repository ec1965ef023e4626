#include "kvasir/attention/append.h"

#include <algorithm>
#include <cstring>

#include "kvasir/base/check.h"
#include "kvasir/formats/float16.h"

namespace kvasir {

namespace {

// Rows that one task writes: a block's worth.
constexpr size_t kTaskRows = kKvBlockTokens;
// Below this many numbers of K (~3 us of work) waking the other threads costs more than it saves.
constexpr size_t kParallelNumbers = 8192;

void AppendF32(const KvBlockLayout& layout, uint32_t token, const float* k, const float* v,
               float* k_tile, float* v_tile) {
  const size_t k_step =
      layout.head_dim > 1 ? layout.KElement(token, 1) - layout.KElement(token, 0) : 0;
  float* k_to = k_tile + layout.KElement(token, 0);
  for (uint32_t d = 0; d < layout.head_dim; ++d) k_to[d * k_step] = k[d];
  std::copy(v, v + layout.head_dim, v_tile + layout.VElement(token, 0));
}

void AppendBF16(const KvBlockLayout& layout, uint32_t token, const float* k, const float* v,
                uint16_t* k_tile, uint16_t* v_tile) {
  const uint32_t head_dim = layout.head_dim;
  const size_t pair_step = head_dim > 2 ? layout.KElement(token, 2) - layout.KElement(token, 0) : 0;
  uint16_t* k_to = k_tile + layout.KElement(token, 0);
  for (uint32_t d = 0; d < head_dim; d += 2, k_to += pair_step) {
    k_to[0] = BF16FromF32(k[d]);
    // The padding of an odd head_dim is always 0, so that equal tokens give equal bytes.
    k_to[1] = d + 1 < head_dim ? BF16FromF32(k[d + 1]) : uint16_t{0};
  }
  uint16_t* v_to = v_tile + layout.VElement(token, 0);
  for (uint32_t d = 0; d < head_dim; ++d) v_to[2 * size_t{d}] = BF16FromF32(v[d]);
}

// A sequence whose last group is another than the first that its rows lie in has begun the first
// one in the open slots, which the last one needs now: what is there moves to the staging slots.
void MoveOpenBlocks(const PagedKv& kv, uint32_t layer, std::span<const int32_t> qo_indptr) {
  const OpenKv& open = *kv.open;
  const auto group_blocks = int32_t(kv.layout.open_blocks);
  for (size_t b = 0; b < kv.batch_size(); ++b) {
    if (open.own_indptr[b + 1] - open.own_indptr[b] < 2) continue;
    const int32_t first_token = kv.KvLen(b) - (qo_indptr[b + 1] - qo_indptr[b]);
    const int32_t first = open.first_own_block[b];
    const int32_t last_block = (kv.KvLen(b) - 1) / int32_t{kKvBlockTokens};
    const int32_t last = last_block / group_blocks * group_blocks;
    if (first == last) continue;
    const int32_t open_slot = open.Slot(b, last);
    for (int32_t block = first; block * int32_t{kKvBlockTokens} < first_token; ++block) {
      std::memcpy(open.Tiles(open.Slot(b, block), layer),
                  open.Tiles(open_slot + block - first, layer), open.LayerBytes());
    }
  }
}

}  // namespace

void AppendPagedKv(const PagedKv& kv, uint32_t layer, std::span<const int32_t> qo_indptr,
                   MatrixView<const float> k, MatrixView<const float> v, ThreadPool& pool) {
  KVASIR_CHECK(!kv.rows);
  const bool quantized = kv.layout.quantized();
  KVASIR_CHECK(!quantized || kv.open.has_value());
  const KvBlockLayout& layout = quantized ? kv.open->layout : kv.layout;
  const size_t columns = size_t{layout.kv_head_count} * layout.head_dim;
  KVASIR_CHECK(layer < layout.layer_count && qo_indptr.size() == kv.batch_size() + 1);
  const size_t rows = size_t(qo_indptr.back());
  KVASIR_CHECK(k.rows() == rows && v.rows() == rows);
  KVASIR_CHECK(k.cols() == columns && v.cols() == columns);
  if (quantized) MoveOpenBlocks(kv, layer, qo_indptr);

  const auto layer_of = [&](size_t sequence, int32_t block) {
    if (quantized) return kv.open->Tiles(kv.open->Slot(sequence, block), layer);
    const size_t page = size_t(kv.kv_indptr[sequence] + block);
    return kv.Page(kv.kv_indices[page]) + layout.LayerOffset(layer);
  };
  const auto append_row = [&](size_t row, size_t sequence) {
    const int32_t token = kv.KvLen(sequence) - (qo_indptr[sequence + 1] - int32_t(row));
    if (token < 0) return;  // more queries than keys: this one has no place
    std::byte* tiles = layer_of(sequence, token / int32_t{kKvBlockTokens});
    const uint32_t offset = uint32_t(token) % kKvBlockTokens;
    for (uint32_t head = 0; head < layout.kv_head_count; ++head) {
      const float* k_from = k.row(row) + size_t{head} * layout.head_dim;
      const float* v_from = v.row(row) + size_t{head} * layout.head_dim;
      std::byte* k_tile = tiles + layout.KTileOffset(0, head);
      std::byte* v_tile = tiles + layout.VTileOffset(0, head);
      if (layout.format == KvFormat::kF32) {
        AppendF32(layout, offset, k_from, v_from, reinterpret_cast<float*>(k_tile),
                  reinterpret_cast<float*>(v_tile));
      } else {
        AppendBF16(layout, offset, k_from, v_from, reinterpret_cast<uint16_t*>(k_tile),
                   reinterpret_cast<uint16_t*>(v_tile));
      }
    }
  };
  const auto append_rows = [&](size_t first, size_t last) {
    const auto after = std::upper_bound(qo_indptr.begin(), qo_indptr.end(), int32_t(first));
    size_t sequence = size_t(after - qo_indptr.begin()) - 1;
    for (size_t row = first; row < last; ++row) {
      while (int32_t(row) >= qo_indptr[sequence + 1]) ++sequence;
      append_row(row, sequence);
    }
  };
  if (rows * columns < kParallelNumbers) {
    append_rows(0, rows);
    return;
  }
  pool.ParallelFor((rows + kTaskRows - 1) / kTaskRows, [&](size_t task, size_t) {
    append_rows(task * kTaskRows, std::min((task + 1) * kTaskRows, rows));
  });
}

}  // namespace kvasir
