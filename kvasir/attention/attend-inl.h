// One work item: all query heads of a KV head for a tile of queries, split by split. Each K and V
// tile is read from memory once for all rows. With few rows (decode) the kernels widen bf16 in
// registers as they stream it; with more (prefill) a tile is widened once into scratch and used for
// every block of rows. The arithmetic of a row is the same either way. Included once per target.

#if defined(KVASIR_ATTENTION_ATTEND_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef KVASIR_ATTENTION_ATTEND_INL_H_
#undef KVASIR_ATTENTION_ATTEND_INL_H_
#else
#define KVASIR_ATTENTION_ATTEND_INL_H_
#endif

#include <algorithm>
#include <atomic>
#include <cstring>
#include <limits>

#include "kvasir/attention/attend.h"
#include "kvasir/attention/score-inl.h"
#include "kvasir/attention/softmax-inl.h"
#include "kvasir/attention/state-inl.h"
#include "kvasir/attention/weigh-inl.h"
#include "kvasir/formats/float16.h"

HWY_BEFORE_NAMESPACE();
namespace kvasir {
namespace HWY_NAMESPACE {

// The item being executed. Rows are dealt to blocks of equal size <= kBlockRowsMax; block i has its
// queries, scaled, in q + i * head_dim * kBlockRowsMax as [head_dim, kBlockRowsMax], so that the
// numbers which meet one dim of K lie side by side.
struct Item {
  const AttentionRun& run;
  const AttentionWorkItem& work;
  const AttentionScratch& scratch;
  size_t head_dim;
  size_t padded_dim;  // rounded up to a multiple of 16
  size_t group;       // query heads per KV head
  size_t row_count;
  size_t block_rows;  // rows of each block, the last may have fewer

  Item(const AttentionRun& r, const AttentionWorkItem& w, const AttentionScratch& s)
      : run(r),
        work(w),
        scratch(s),
        head_dim(r.spec.head_dim),
        padded_dim((head_dim + kLaneCount - 1) / kLaneCount * kLaneCount),
        group(r.spec.num_qo_heads / r.spec.num_kv_heads),
        row_count(size_t(w.q_end - w.q_begin) * group) {
    const size_t blocks = (row_count + kBlockRowsMax - 1) / kBlockRowsMax;
    block_rows = (row_count + blocks - 1) / blocks;
  }

  size_t BlockRowCount(size_t first_row) const {
    return std::min(block_rows, row_count - first_row);
  }
  float* BlockQ(size_t first_row) const {
    return scratch.q + first_row / block_rows * head_dim * kBlockRowsMax;
  }
  const float* QRow(size_t row) const {
    return run.q.row(size_t(work.q_begin) + row / group) + Column(row);
  }
  float* OutRow(size_t row) const {
    return run.out.row(size_t(work.q_begin) + row / group) + Column(row);
  }
  size_t Column(size_t row) const {
    return (size_t(work.kv_head) * group + row % group) * head_dim;
  }
  const std::byte* KTile(size_t tile) const {
    return Page(tile) + run.kv.layout.KTileOffset(run.layer, uint32_t(work.kv_head));
  }
  const std::byte* VTile(size_t tile) const {
    return Page(tile) + run.kv.layout.VTileOffset(run.layer, uint32_t(work.kv_head));
  }
  const std::byte* Page(size_t tile) const {
    const size_t first = size_t(run.kv.kv_indptr[size_t(work.sequence)]);
    return run.kv.Page(run.kv.kv_indices[first + tile]);
  }
};

// Scales and packs the queries and notes which keys each row sees.
inline void PackRows(const Item& item) {
  const AttentionSpec& spec = item.run.spec;
  const size_t b = size_t(item.work.sequence);
  const int32_t first_of_sequence = item.run.qo_indptr[b];
  const int32_t offset = item.run.kv.KvLen(b) - (item.run.qo_indptr[b + 1] - first_of_sequence);
  for (size_t row = 0; row < item.row_count; ++row) {
    const float* q = item.QRow(row);
    float* to = item.BlockQ(row) + row % item.block_rows;
    for (size_t d = 0; d < item.head_dim; ++d) to[d * kBlockRowsMax] = q[d] * spec.sm_scale;
    const int32_t position =
        offset + item.work.q_begin - first_of_sequence + int32_t(row / item.group);
    item.scratch.visible_end[row] = std::max(position + 1, 0);
    item.scratch.visible_begin[row] =
        spec.window_left < 0 ? 0 : std::max(position - std::min(spec.window_left, position), 0);
  }
}

// Widens a K tile of bf16: [16 tokens of a half][dim] as f32.
inline void WidenKTile(const TilePointer& tile, size_t head_dim, float* to) {
  const size_t dim_pairs = (head_dim + 1) / 2;
  const uint16_t* from = reinterpret_cast<const uint16_t*>(tile.data);
  for (size_t half = 0; half < kHalvesPerTile; ++half) {
    for (size_t pair = 0; pair < dim_pairs; ++pair, from += 2 * kLaneCount) {
      FloatLanes low, high;
      LoadBF16Pairs(from, &low, &high);
      PrefetchSameOffset<PagedBF16Tile>(tile, from);
      StoreLanes(low, to);
      to += kLaneCount;
      if (2 * pair + 1 == head_dim) continue;  // the padding of an odd head_dim
      StoreLanes(high, to);
      to += kLaneCount;
    }
  }
}

// Copies tokens [begin, end) of a V tile to f32 rows of padded_dim, the padding 0.
template <class Tile>
void WidenVTile(const TilePointer& tile, size_t head_dim, size_t padded_dim, size_t begin,
                size_t end, float* to) {
  if constexpr (Tile::kFormat == KvFormat::kF32) {
    const float* from = reinterpret_cast<const float*>(tile.data);
    for (size_t token = begin; token < end; ++token) {
      float* row = to + token * padded_dim;
      std::memcpy(row, from + token * head_dim, head_dim * sizeof(float));
      std::fill(row + head_dim, row + padded_dim, 0.0f);
    }
  } else {
    for (size_t pair = begin / 2; pair < (end + 1) / 2; ++pair) {
      const uint16_t* from = reinterpret_cast<const uint16_t*>(tile.data) + pair * 2 * head_dim;
      float* even = to + 2 * pair * padded_dim;
      float* odd = even + padded_dim;
      size_t d = 0;
      for (; d + kLaneCount <= head_dim; d += kLaneCount) {
        FloatLanes low, high;
        LoadBF16Pairs(from + 2 * d, &low, &high);
        PrefetchSameOffset<Tile>(tile, from + 2 * d);
        StoreLanes(low, even + d);
        StoreLanes(high, odd + d);
      }
      for (; d < head_dim; ++d) {
        even[d] = F32FromBF16(from[2 * d]);
        odd[d] = F32FromBF16(from[2 * d + 1]);
      }
      for (; d < padded_dim; ++d) even[d] = odd[d] = 0;
    }
  }
}

// The visible ranges of the rows within the split [begin, end): an empty one is (0, 0). Returns the
// range that some row sees.
struct TokenRange {
  size_t begin = 0;
  size_t end = 0;
};
inline TokenRange ClipToSplit(const Item& item, int32_t begin, int32_t end) {
  TokenRange all = {size_t{kKvSplitTokens}, 0};
  for (size_t row = 0; row < item.row_count; ++row) {
    const int32_t from = std::max(item.scratch.visible_begin[row], begin) - begin;
    const int32_t to = std::min(item.scratch.visible_end[row], end) - begin;
    item.scratch.split_begin[row] = from < to ? from : 0;
    item.scratch.split_end[row] = from < to ? to : 0;
    if (from >= to) continue;
    all.begin = std::min(all.begin, size_t(from));
    all.end = std::max(all.end, size_t(to));
  }
  return all;
}

// Range that some, or all, rows of a block see within the split.
inline TokenRange UnionOfBlock(const Item& item, size_t first_row, size_t rows) {
  TokenRange range = {size_t{kKvSplitTokens}, 0};
  for (size_t row = first_row; row < first_row + rows; ++row) {
    if (item.scratch.split_end[row] == 0) continue;
    range.begin = std::min(range.begin, size_t(item.scratch.split_begin[row]));
    range.end = std::max(range.end, size_t(item.scratch.split_end[row]));
  }
  return range;
}
inline TokenRange IntersectionOfBlock(const Item& item, size_t first_row, size_t rows) {
  TokenRange range = {0, size_t{kKvSplitTokens}};
  for (size_t row = first_row; row < first_row + rows; ++row) {
    range.begin = std::max(range.begin, size_t(item.scratch.split_begin[row]));
    range.end = std::min(range.end, size_t(item.scratch.split_end[row]));
  }
  return range;
}

// Tiles [first, last) of one split, by index in the sequence.
struct TileRange {
  size_t first;
  size_t last;
};

// Logits of every row against the tiles of one split, which begins at `split_tile`.
template <class Tile>
void ScoreSplit(const Item& item, const TileRange& tiles, size_t split_tile) {
  const bool widen = Tile::kFormat != KvFormat::kF32 && item.row_count > kStreamRowsMax;
  for (size_t t = tiles.first; t < tiles.last; ++t) {
    const TilePointer tile = {item.KTile(t),
                              t + 1 < tiles.last ? item.KTile(t + 1) : item.VTile(tiles.first)};
    const size_t token = (t - split_tile) * kKvBlockTokens;
    if (widen) WidenKTile(tile, item.head_dim, item.scratch.k_tile);
    const std::byte* widened = reinterpret_cast<const std::byte*>(item.scratch.k_tile);
    for (size_t row = 0; row < item.row_count; row += item.block_rows) {
      const size_t rows = item.BlockRowCount(row);
      const TokenRange seen = UnionOfBlock(item, row, rows);
      if (seen.begin >= token + kKvBlockTokens || seen.end <= token) continue;
      float* scores = item.scratch.scores + row * kScoreStride + token;
      if (widen) {
        ScoreTile<ScratchTile>(rows, item.BlockQ(row), item.head_dim, {widened, widened}, scores);
      } else {
        ScoreTile<Tile>(rows, item.BlockQ(row), item.head_dim, tile, scores);
      }
    }
  }
}

// Adds the tokens of one V tile, at offset `token` of the split, to a block of rows. Tokens that
// all rows see are added together; the ragged ends that causality and windows leave, row by row:
// a weight of 0 would not do, because 0 times a stale or infinite number is NaN.
template <class Tile>
void WeighBlock(const Item& item, size_t first_row, size_t rows, const TilePointer& tile,
                size_t v_stride, size_t token, const AttentionStates& states) {
  const auto weigh = [&](size_t row, size_t count, size_t begin, size_t end) {
    begin = std::max(begin, token);
    end = std::min(end, token + kKvBlockTokens);
    if (begin >= end) return;
    WeighTile<Tile>(count, tile, v_stride, begin - token, end - token,
                    item.scratch.scores + row * kScoreStride + token,
                    states.out + row * states.out_stride, states.out_stride);
  };
  TokenRange common = IntersectionOfBlock(item, first_row, rows);
  if (common.begin >= common.end) common = {size_t{kKvSplitTokens}, size_t{kKvSplitTokens}};
  for (size_t row = first_row; row < first_row + rows; ++row) {
    weigh(row, 1, size_t(item.scratch.split_begin[row]),
          std::min(size_t(item.scratch.split_end[row]), common.begin));
  }
  weigh(first_row, rows, common.begin, common.end);
  for (size_t row = first_row; row < first_row + rows; ++row) {
    weigh(row, 1, std::max(size_t(item.scratch.split_begin[row]), common.end),
          size_t(item.scratch.split_end[row]));
  }
}

// The weighted sum of the values of the tiles, for every row. `seen` is what some row sees; `after`
// is what will be read next.
template <class Tile>
void WeighSplit(const Item& item, const TileRange& tiles, size_t split_tile, const TokenRange& seen,
                const std::byte* after, const AttentionStates& states) {
  // Rows of V that are no multiple of 16 long are copied to padded ones.
  const bool widen = item.padded_dim != item.head_dim ||
                     (Tile::kFormat != KvFormat::kF32 && item.row_count > kStreamRowsMax);
  for (size_t t = tiles.first; t < tiles.last; ++t) {
    const TilePointer tile = {item.VTile(t), t + 1 < tiles.last ? item.VTile(t + 1) : after};
    const size_t token = (t - split_tile) * kKvBlockTokens;
    const std::byte* widened = reinterpret_cast<const std::byte*>(item.scratch.v_tile);
    if (widen) {
      const size_t begin = std::max(seen.begin, token) - token;
      const size_t end = std::min(seen.end - token, size_t{kKvBlockTokens});
      WidenVTile<Tile>(tile, item.head_dim, item.padded_dim, begin, end, item.scratch.v_tile);
    }
    for (size_t row = 0; row < item.row_count; row += item.block_rows) {
      const size_t rows = item.BlockRowCount(row);
      if (widen) {
        WeighBlock<ScratchTile>(item, row, rows, {widened, widened}, item.padded_dim, token,
                                states);
      } else {
        WeighBlock<Tile>(item, row, rows, tile, item.head_dim, token, states);
      }
    }
  }
}

// The states of the rows over the keys [begin, end), one split.
template <class Tile>
void AttendSplit(const Item& item, int32_t begin, int32_t end, const AttentionStates& states) {
  const TokenRange seen = ClipToSplit(item, begin, end);
  ClearAttentionStates(states);
  if (seen.begin >= seen.end) return;
  const size_t split_tile = size_t(begin) / kKvBlockTokens;
  const TileRange tiles = {split_tile + seen.begin / kKvBlockTokens,
                           split_tile + (seen.end + kKvBlockTokens - 1) / kKvBlockTokens};
  ScoreSplit<Tile>(item, tiles, split_tile);
  for (size_t row = 0; row < item.row_count; ++row) {
    const size_t from = size_t(item.scratch.split_begin[row]);
    const size_t to = size_t(item.scratch.split_end[row]);
    if (from == to) continue;
    SoftmaxRow(item.scratch.scores + row * kScoreStride, from, to, item.run.spec.logits_soft_cap,
               &states.max[row], &states.sum[row]);
    if (states.max[row] == -std::numeric_limits<float>::infinity()) {
      // Every logit is -inf: as if the row saw no key of this split.
      states.sum[row] = 0;
      item.scratch.split_begin[row] = item.scratch.split_end[row] = 0;
      continue;
    }
    std::memset(states.out + row * states.out_stride, 0, states.out_stride * sizeof(float));
  }
  const std::byte* after =
      end < item.work.kv_end ? item.KTile(size_t(end) / kKvBlockTokens) : item.VTile(tiles.first);
  WeighSplit<Tile>(item, tiles, split_tile, seen, after, states);
}

// Whether this item was the last of its merge item, whose other partial states are then visible.
inline bool IsLastFinisher(const AttentionRun& run, const AttentionWorkItem& work) {
  const uint32_t total = uint32_t(run.merge_items[size_t(work.merge)].work_item_count);
  std::atomic_ref<uint32_t> finished(run.finished[work.merge]);
  if (finished.fetch_add(1, std::memory_order_acq_rel) + 1 < total) return false;
  finished.store(0, std::memory_order_relaxed);  // for the next Run
  return true;
}

// The left fold, in order of splits, that ends every row, and its output.
inline void FoldPartials(const Item& item, const AttentionMergeItem& merge,
                         const AttentionStates& running) {
  const size_t split_floats = AttentionStates::FloatCount(item.row_count, item.head_dim);
  ClearAttentionStates(running);
  for (int32_t split = 0; split < merge.split_count; ++split) {
    float* memory = item.run.partials + merge.first_partial + size_t(split) * split_floats;
    MergeStates(AttentionStates::At(memory, item.row_count, item.head_dim), running);
  }
}

template <class Tile>
void AttendItem(const AttentionRun& run, const AttentionWorkItem& work,
                const AttentionScratch& scratch) {
  const Item item(run, work, scratch);
  PackRows(item);
  const AttentionStates running =
      AttentionStates::At(scratch.running, item.row_count, item.head_dim);
  const AttentionStates current =
      AttentionStates::At(scratch.current, item.row_count, item.head_dim);
  const size_t split_floats = AttentionStates::FloatCount(item.row_count, item.head_dim);
  const bool is_whole = work.merge < 0;
  if (is_whole) ClearAttentionStates(running);
  for (int32_t begin = work.kv_begin; begin < work.kv_end; begin += kKvSplitTokens) {
    const int32_t end = std::min(begin + kKvSplitTokens, work.kv_end);
    if (is_whole) {
      const bool is_first = begin == work.kv_begin;
      AttendSplit<Tile>(item, begin, end, is_first ? running : current);
      if (!is_first) MergeStates(current, running);
    } else {
      const AttentionMergeItem& merge = run.merge_items[size_t(work.merge)];
      const size_t split = size_t(begin - merge.kv_begin) / size_t{kKvSplitTokens};
      AttendSplit<Tile>(
          item, begin, end,
          AttentionStates::At(run.partials + merge.first_partial + split * split_floats,
                              item.row_count, item.head_dim));
    }
  }
  if (!is_whole) {
    if (!IsLastFinisher(run, work)) return;
    FoldPartials(item, run.merge_items[size_t(work.merge)], running);
  }
  for (size_t row = 0; row < item.row_count; ++row) {
    FinishRow(running, row, item.head_dim, item.OutRow(row));
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace kvasir
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
