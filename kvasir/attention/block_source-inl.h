// KV in the engine's blocks, as attend-inl.h reads it: tiles lie ready in memory and are streamed
// for few rows, or widened into scratch for many. Included once per target.
//
// A source has
//
//   kSharesScores   whether rows of a block may have scores of a tile from elsewhere, to be left
//   alone PrepareSplit(item, split_tile, tiles)   before the tiles of a split are used Key(item,
//   t), Value(item, t)            where tile t of the sequence lies, null if in pieces
//   StreamsKeys(item), StreamsValues(item)  whether tiles are read where they lie; then
//     ScoreStreamed(item, tile, place, rows, q, scores)
//     StreamedValues(item, tile, place)          -> values for WeighTile
//   otherwise they are widened into scratch first:
//     WidenKeys(item, tile, place)               -> k_tile, 32 tokens
//     WidenValues(item, tile, place, begin, end) -> v_tile, tokens [begin, end)

#if defined(KVASIR_ATTENTION_BLOCK_SOURCE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef KVASIR_ATTENTION_BLOCK_SOURCE_INL_H_
#undef KVASIR_ATTENTION_BLOCK_SOURCE_INL_H_
#else
#define KVASIR_ATTENTION_BLOCK_SOURCE_INL_H_
#endif

#include <algorithm>
#include <cstring>

#include "kvasir/attention/item-inl.h"
#include "kvasir/attention/score-inl.h"
#include "kvasir/attention/weigh-inl.h"
#include "kvasir/formats/float16.h"

HWY_BEFORE_NAMESPACE();
namespace kvasir {
namespace HWY_NAMESPACE {

// Tile: PagedF32Tile or PagedBF16Tile.
template <class Tile>
struct BlockSource {
  static constexpr bool kIsF32 = Tile::kFormat == KvFormat::kF32;
  static constexpr bool kSharesScores = false;

  static void PrepareSplit(const Item&, size_t, const TileRange&) {}
  static bool StreamsKeys(const Item& item) {
    return item.run.spec.rope == nullptr && (kIsF32 || item.row_count <= kStreamRowsMax);
  }
  // Rows of V that are no multiple of 16 long are copied to padded ones.
  static bool StreamsValues(const Item& item) {
    return item.padded_v_dim == item.v_dim && (kIsF32 || item.row_count <= kStreamRowsMax);
  }

  static void ScoreStreamed(const Item& item, const TilePointer& tile, const TilePlace&,
                            size_t rows, const float* q, float* scores) {
    ScoreTile<Tile>(rows, q, item.head_dim, tile, scores);
  }
  static TileValues<Tile> StreamedValues(const Item& item, const TilePointer& tile,
                                         const TilePlace&) {
    return {tile, item.v_dim};
  }

  static const std::byte* Key(const Item& item, size_t tile) {
    return item.key_tiles + PageOffset(item, tile);
  }
  static const std::byte* Value(const Item& item, size_t tile) {
    return item.value_tiles + PageOffset(item, tile);
  }
  static size_t PageOffset(const Item& item, size_t tile) {
    const size_t sequence = size_t(item.work.sequence);
    return size_t(item.run.kv.PageId(sequence, item.kv_head, tile)) * item.page_bytes;
  }

  static void WidenKeys(const Item& item, const TilePointer& tile, const TilePlace&) {
    float* to = item.scratch.k_tile;
    if constexpr (kIsF32) {
      std::memcpy(to, tile.data, kKvBlockTokens * item.head_dim * sizeof(float));
      return;
    }
    const size_t dim_pairs = (item.head_dim + 1) / 2;
    const uint16_t* from = reinterpret_cast<const uint16_t*>(tile.data);
    for (size_t half = 0; half < kHalvesPerTile; ++half) {
      for (size_t pair = 0; pair < dim_pairs; ++pair, from += 2 * kLaneCount) {
        FloatLanes low, high;
        LoadBF16Pairs(from, &low, &high);
        PrefetchSameOffset<Tile>(tile, from);
        StoreLanes(low, to);
        to += kLaneCount;
        if (2 * pair + 1 == item.head_dim) continue;  // the padding of an odd head_dim
        StoreLanes(high, to);
        to += kLaneCount;
      }
    }
  }

  static void WidenValues(const Item& item, const TilePointer& tile, const TilePlace&, size_t begin,
                          size_t end) {
    const size_t v_dim = item.v_dim, padded_dim = item.padded_v_dim;
    float* to = item.scratch.v_tile;
    if constexpr (kIsF32) {
      const float* from = reinterpret_cast<const float*>(tile.data);
      for (size_t token = begin; token < end; ++token) {
        float* row = to + token * padded_dim;
        std::memcpy(row, from + token * v_dim, v_dim * sizeof(float));
        std::fill(row + v_dim, row + padded_dim, 0.0f);
      }
      return;
    }
    for (size_t pair = begin / 2; pair < (end + 1) / 2; ++pair) {
      const uint16_t* from = reinterpret_cast<const uint16_t*>(tile.data) + pair * 2 * v_dim;
      float* even = to + 2 * pair * padded_dim;
      float* odd = even + padded_dim;
      size_t d = 0;
      for (; d + kLaneCount <= v_dim; d += kLaneCount) {
        FloatLanes low, high;
        LoadBF16Pairs(from + 2 * d, &low, &high);
        PrefetchSameOffset<Tile>(tile, from + 2 * d);
        StoreLanes(low, even + d);
        StoreLanes(high, odd + d);
      }
      for (; d < v_dim; ++d) {
        even[d] = F32FromBF16(from[2 * d]);
        odd[d] = F32FromBF16(from[2 * d + 1]);
      }
      for (; d < padded_dim; ++d) even[d] = odd[d] = 0;
    }
  }
};

}  // namespace HWY_NAMESPACE
}  // namespace kvasir
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
