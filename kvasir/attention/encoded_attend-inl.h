// One work item over quantised KV: attend-inl.h with tiles of codes. A row reads the blocks before
// its own group (OwnBlockBegin) in their encoded form, and its own group (with other masks than the
// causal one also what is behind it) unencoded, in prefill as in decode: whatever the chunk, a row
// sees the same numbers. Both parts write into the row's logits of a split, which then go through
// one softmax; their values are added one part after the other.
//
// int8 and int4 are read as integers: queries and weights become int16 codes (code_rows-inl.h), the
// products are exact. With few rows the codes are widened in registers as they stream by, with more
// into scratch, once for all blocks of rows: the same integers. Included once per target.

#if defined(KVASIR_ATTENTION_ENCODED_ATTEND_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef KVASIR_ATTENTION_ENCODED_ATTEND_INL_H_
#undef KVASIR_ATTENTION_ENCODED_ATTEND_INL_H_
#else
#define KVASIR_ATTENTION_ENCODED_ATTEND_INL_H_
#endif

#include <algorithm>
#include <cstring>

#include "kvasir/attention/attend-inl.h"
#include "kvasir/attention/encoded_source-inl.h"
#include "kvasir/attention/score_codes-inl.h"
#include "kvasir/attention/weigh_codes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace kvasir {
namespace HWY_NAMESPACE {

// An item and the same item with what its rows see encoded, and unencoded, in the place of what
// they see.
struct EncodedItem {
  AttentionScratch encoded_scratch;
  AttentionScratch own_scratch;
  Item all;
  Item encoded;
  Item own;

  EncodedItem(const AttentionRun& run, const AttentionWorkItem& work, size_t kv_head,
              const AttentionScratch& scratch)
      : encoded_scratch(scratch),
        own_scratch(scratch),
        all(run, work, kv_head, scratch),
        encoded(run, work, kv_head, encoded_scratch),
        own(run, work, kv_head, own_scratch) {
    encoded_scratch.split_begin = scratch.encoded_begin;
    encoded_scratch.split_end = scratch.encoded_end;
    own_scratch.split_begin = scratch.own_begin;
    own_scratch.split_end = scratch.own_end;
  }
  EncodedItem(const EncodedItem&) = delete;  // the items point at the scratches
  EncodedItem& operator=(const EncodedItem&) = delete;
};

// Divides what the rows see of the split that begins at `begin`. Returns the ranges that some row
// sees of each part.
struct PartRanges {
  TokenRange encoded = {size_t{kKvSplitTokens}, 0};
  TokenRange own = {size_t{kKvSplitTokens}, 0};
};
inline PartRanges DivideRows(const Item& item, int32_t begin) {
  const AttentionScratch& scratch = item.scratch;
  PartRanges ranges;
  const auto put = [](int32_t from, int32_t to, int32_t* row_begin, int32_t* row_end,
                      TokenRange* all) {
    *row_begin = from < to ? from : 0;
    *row_end = from < to ? to : 0;
    if (from >= to) return;
    all->begin = std::min(all->begin, size_t(from));
    all->end = std::max(all->end, size_t(to));
  };
  for (size_t row = 0; row < item.row_count; ++row) {
    const int32_t from = scratch.split_begin[row], to = scratch.split_end[row];
    const int32_t own = OwnBlockBegin(item.run.kv.layout, item.PlanRow(row).row.position()) - begin;
    put(from, std::min(to, own), &scratch.encoded_begin[row], &scratch.encoded_end[row],
        &ranges.encoded);
    put(std::max(from, own), to, &scratch.own_begin[row], &scratch.own_end[row], &ranges.own);
  }
  return ranges;
}

inline TileRange TilesOf(const TokenRange& range, size_t split_tile) {
  return {split_tile + range.begin / kKvBlockTokens,
          split_tile + (range.end + kKvBlockTokens - 1) / kKvBlockTokens};
}

// Queries * sm_scale as codes.
inline void PackQueryCodes(const Item& item) {
  const AttentionScratch& scratch = item.scratch;
  const size_t chunks = (item.head_dim + kCodeChunkNumbers - 1) / kCodeChunkNumbers;
  const size_t padded = chunks * kCodeChunkNumbers;
  for (size_t row = 0; row < item.row_count; ++row) {
    const float* q = item.run.q.row(item.Query(row)) + item.QoHead(row) * item.head_dim;
    float* scaled = scratch.scaled_q;
    for (size_t d = 0; d < item.head_dim; ++d) scaled[d] = q[d] * item.run.spec.sm_scale;
    std::fill(scaled + item.head_dim, scaled + padded, 0.0f);
    const CodeScale scale = CodeScale::Of(LargestMagnitude(scaled, padded), kQueryCodeMax);
    scratch.q_scales[row] = scale.to_number;
    for (size_t chunk = 0; chunk < chunks; ++chunk) {
      PackChunk(scaled + chunk * kCodeChunkNumbers, scale.to_code,
                scratch.q_codes + (chunk * item.row_count + row) * kCodeChunkNumbers);
    }
  }
}

// Tiles that are streamed are asked for this many tiles before they are used: 2 KiB of codes are
// read in less time than memory takes to answer.
constexpr size_t kTilesAhead = 2;

// From the tile at `from` to that which is used kTilesAhead after tile t of keys: values follow the
// last keys.
using PagedSource = BlockSource<PagedBF16Tile>;  // for the places of pages
inline ptrdiff_t AheadOfKeys(const Item& item, const TileRange& tiles, size_t t,
                             const std::byte* from) {
  const size_t next = t + kTilesAhead, count = tiles.last - tiles.first;
  if (next < tiles.last) return PagedSource::Key(item, next) - from;
  const size_t value = std::min(next - tiles.last, count - 1);
  return PagedSource::Value(item, tiles.first + value) - from;
}
// The same of values, which the next split's keys follow.
inline ptrdiff_t AheadOfValues(const Item& item, const TileRange& tiles, size_t t,
                               const std::byte* from) {
  const size_t next = t + kTilesAhead;
  if (next < tiles.last) return PagedSource::Value(item, next) - from;
  const size_t end = size_t(item.work.kv_end) / kKvBlockTokens;
  return next < end ? PagedSource::Key(item, next) - from : 0;
}

// Logits of every row against the tiles of codes of one split.
template <class Codes>
void ScoreCodesOfSplit(const Item& item, const TileRange& tiles, size_t split_tile) {
  const KvTile places = item.run.kv.layout.KTile(item.run.layer);
  const bool is_streamed = item.row_count <= kBlockRowsMax;
  uint8_t* wide = reinterpret_cast<uint8_t*>(item.scratch.k_tile);
  for (size_t t = tiles.first; t < tiles.last; ++t) {
    const std::byte* data = PagedSource::Key(item, t);
    KeyCodes tile = {.codes = reinterpret_cast<const uint8_t*>(data),
                     .scales = reinterpret_cast<const uint16_t*>(data + places.code_bytes()),
                     .quads = places.padded_dim() / 4,
                     .ahead = AheadOfKeys(item, tiles, t, data)};
    __builtin_prefetch(data + places.code_bytes() + tile.ahead, 0, 2);
    if (!is_streamed) {
      WidenKeyCodes<Codes>(tile, wide);
      tile.codes = wide;
    }
    const size_t token = (t - split_tile) * kKvBlockTokens;
    for (size_t row = 0; row < item.row_count; row += item.block_rows) {
      const size_t rows = item.BlockRowCount(row);
      const TokenRange seen = UnionOfBlock(item, row, rows);
      if (seen.begin >= token + kKvBlockTokens || seen.end <= token) continue;
      const QueryCodes q = {.codes = item.scratch.q_codes + row * kCodeChunkNumbers,
                            .chunk_stride = item.row_count * kCodeChunkNumbers,
                            .scales = item.scratch.q_scales + row};
      float* scores = item.scratch.scores + row * kScoreStride + token;
      if (is_streamed) {
        ScoreKeyCodes<Codes, Codes::kIsInt4>(rows, tile, q, scores);
      } else {
        ScoreKeyCodes<WideCodes, Codes::kIsInt4>(rows, tile, q, scores);
      }
    }
  }
}

constexpr size_t kSplitTiles = kKvSplitTokens / kKvBlockTokens;

// The groups of dims of V that have weights of their own, and where those lie.
struct WeightGroups {
  size_t count;
  size_t lane_blocks;   // of a group
  size_t tile_stride;   // numbers from one tile's codes to the next
  size_t group_stride;  // from one group's to the next

  WeightGroups(const Item& item, const KvTile& places)
      : count(places.scale_count()),
        lane_blocks((places.scale_dims() + kLaneCount - 1) / kLaneCount),
        tile_stride(item.row_count * kCodeChunkNumbers),
        group_stride(kSplitTiles * tile_stride) {}
};

// The scales of the values of the tiles, as f32, and the largest of each tile.
inline void LoadValueScales(const Item& item, const KvTile& places, const TileRange& tiles,
                            size_t split_tile, size_t group_count) {
  const AttentionScratch& scratch = item.scratch;
  for (size_t t = tiles.first; t < tiles.last; ++t) {
    const auto* scales =
        reinterpret_cast<const uint16_t*>(PagedSource::Value(item, t) + places.code_bytes());
    const size_t tile = t - split_tile;
    for (size_t group = 0; group < group_count; ++group) {
      float* to = scratch.value_scales + group * kKvSplitTokens + tile * kKvBlockTokens;
      for (size_t token = 0; token < kKvBlockTokens; token += kLaneCount, scales += kLaneCount) {
        StoreLanes(LoadF16Lanes(scales), to + token);
      }
      scratch.scale_maxima[group * kSplitTiles + tile] = LargestMagnitude(to, kKvBlockTokens);
    }
  }
}

// The largest that a row's weights times scales can be: weights of a softmax are at most 1 in every
// split, and the scales those of the tiles that the row sees, whatever other rows see.
inline float WeightBound(const Item& item, size_t group, size_t first_tile, size_t last_tile,
                         float weight_max) {
  float largest = 0;
  for (size_t tile = first_tile; tile < last_tile; ++tile) {
    largest = std::max(largest, item.scratch.scale_maxima[group * kSplitTiles + tile]);
  }
  return largest * weight_max;
}

// Weights of the rows times the scales of the values, as codes. Tokens that a row does not see have
// the code 0, which takes nothing even from stale bytes.
inline void PackWeightCodes(const Item& item, const WeightGroups& groups, const TileRange& tiles,
                            size_t split_tile) {
  const AttentionScratch& scratch = item.scratch;
  const AttentionVariant* variant = item.run.spec.variant;
  const bool is_softmax = variant == nullptr || variant->use_softmax;
  for (size_t row = 0; row < item.row_count; ++row) {
    float* weights = scratch.scores + row * kScoreStride;
    // The encoded part of a row ends with a whole tile, but a window may begin within one.
    const size_t begin = size_t(scratch.split_begin[row]), end = size_t(scratch.split_end[row]);
    const size_t first_tile = begin / kKvBlockTokens, last_tile = end / kKvBlockTokens;
    if (begin < end) std::fill(weights + first_tile * kKvBlockTokens, weights + begin, 0.0f);
    const float weight_max = is_softmax
                                 ? 1.0f
                                 : LargestMagnitude(weights + first_tile * kKvBlockTokens,
                                                    (last_tile - first_tile) * kKvBlockTokens);
    for (size_t group = 0; group < groups.count; ++group) {
      const CodeScale scale = CodeScale::Of(
          WeightBound(item, group, first_tile, last_tile, weight_max), kWeightCodeMax);
      scratch.weight_scales[group * item.row_count + row] = scale.to_number;
      const float* scales = scratch.value_scales + group * kKvSplitTokens;
      const FloatLanes to_code = SetLanes(scale.to_code);
      int16_t* to = scratch.weight_codes + group * groups.group_stride + row * kCodeChunkNumbers;
      for (size_t tile = tiles.first - split_tile; tile < tiles.last - split_tile; ++tile) {
        const size_t token = tile * kKvBlockTokens;
        int16_t* codes = to + tile * groups.tile_stride;
        if (tile < first_tile || tile >= last_tile || scale.to_code == 0) {
          ClearChunk(codes);
          continue;
        }
        PackChunkOf(
            [&](size_t t) {
              const FloatLanes scaled = Mul(LoadLanes(scales + token + t), to_code);
              return Mul(LoadLanes(weights + token + t), scaled);
            },
            codes);
      }
    }
  }
}

// The weighted sum of the values of the tiles of codes, for every row that sees some.
template <class Codes>
void WeighCodesOfSplit(const Item& item, const TileRange& tiles, size_t split_tile,
                       const AttentionStates& states) {
  const KvTile places = item.run.kv.layout.VTile(item.run.layer);
  const WeightGroups groups(item, places);
  const AttentionScratch& scratch = item.scratch;
  LoadValueScales(item, places, tiles, split_tile, groups.count);
  PackWeightCodes(item, groups, tiles, split_tile);
  const size_t stride = item.padded_v_dim;
  std::memset(scratch.value_sums, 0, item.row_count * stride * sizeof(int32_t));
  const bool is_streamed = item.row_count <= kBlockRowsMax;
  uint8_t* wide = reinterpret_cast<uint8_t*>(scratch.v_tile);
  for (size_t t = tiles.first; t < tiles.last; ++t) {
    const std::byte* data = PagedSource::Value(item, t);
    ValueCodes tile = {.codes = reinterpret_cast<const uint8_t*>(data),
                       .blocks = stride / kLaneCount,
                       .ahead = AheadOfValues(item, tiles, t, data)};
    __builtin_prefetch(data + places.code_bytes() + tile.ahead, 0, 2);
    if (!is_streamed) {
      WidenValueCodes<Codes>(tile, wide);
      tile.codes = wide;
    }
    const size_t index = t - split_tile, token = index * kKvBlockTokens;
    for (size_t row = 0; row < item.row_count; row += item.block_rows) {
      const size_t rows = item.BlockRowCount(row);
      const TokenRange seen = UnionOfBlock(item, row, rows);
      if (seen.begin >= token + kKvBlockTokens || seen.end <= token) continue;
      const int16_t* weights =
          scratch.weight_codes + index * groups.tile_stride + row * kCodeChunkNumbers;
      int32_t* sums = scratch.value_sums + row * stride;
      if (is_streamed) {
        WeighCodes<Codes>(rows, tile, weights, groups.lane_blocks, groups.group_stride, sums,
                          stride);
      } else {
        WeighCodes<WideCodes>(rows, tile, weights, groups.lane_blocks, groups.group_stride, sums,
                              stride);
      }
    }
  }
  for (size_t row = 0; row < item.row_count; ++row) {
    if (scratch.split_end[row] == 0) continue;
    for (size_t d = 0; d < stride; d += kLaneCount) {
      const size_t group = d / kLaneCount / groups.lane_blocks;
      IntLanes sum;
      KVASIR_FOR_PARTS(i) {
        sum.part[i] = hn::LoadU(IntTag(), scratch.value_sums + row * stride + d + i * kPartLanes);
      }
      const FloatLanes scale = SetLanes(scratch.weight_scales[group * item.row_count + row]);
      StoreLanes(Mul(ToFloat(sum), scale), states.out + row * states.out_stride + d);
    }
  }
}

inline void ScoreEncoded(const Item& item, const TileRange& tiles, size_t split_tile) {
  switch (item.run.kv.layout.formats(item.run.layer).k) {
    case KvFormat::kF32:
      return ScoreSplit<BlockSource<PagedF32Tile>>(item, tiles, split_tile);
    case KvFormat::kBF16:
      return ScoreSplit<BlockSource<PagedBF16Tile>>(item, tiles, split_tile);
    case KvFormat::kInt8:
      return ScoreCodesOfSplit<Int8Codes>(item, tiles, split_tile);
    case KvFormat::kInt4:
      return ScoreCodesOfSplit<Int4Codes>(item, tiles, split_tile);
    case KvFormat::kFp8E4M3:
      return ScoreSplit<Fp8Source<KvFormat::kFp8E4M3>>(item, tiles, split_tile);
    case KvFormat::kFp8E5M2:
      return ScoreSplit<Fp8Source<KvFormat::kFp8E5M2>>(item, tiles, split_tile);
  }
}

inline void WeighEncoded(const Item& item, const TileRange& tiles, size_t split_tile,
                         const TokenRange& seen, const AttentionStates& states) {
  const auto weigh_as_f32 = [&](auto source) {
    using Source = decltype(source);
    WeighSplit<Source>(item, tiles, split_tile, seen, Source::Value(item, tiles.first), states);
  };
  switch (item.run.kv.layout.formats(item.run.layer).v) {
    case KvFormat::kF32:
      return weigh_as_f32(BlockSource<PagedF32Tile>());
    case KvFormat::kBF16:
      return weigh_as_f32(BlockSource<PagedBF16Tile>());
    case KvFormat::kInt8:
      return WeighCodesOfSplit<Int8Codes>(item, tiles, split_tile, states);
    case KvFormat::kInt4:
      return WeighCodesOfSplit<Int4Codes>(item, tiles, split_tile, states);
    case KvFormat::kFp8E4M3:
      return weigh_as_f32(Fp8Source<KvFormat::kFp8E4M3>());
    case KvFormat::kFp8E5M2:
      return weigh_as_f32(Fp8Source<KvFormat::kFp8E5M2>());
  }
}

// The states of the rows over the keys [begin, end), one split.
inline void AttendEncodedSplit(const EncodedItem& item, int32_t begin, int32_t end,
                               const AttentionStates& states) {
  const TokenRange seen = ClipToSplit(item.all, begin, end);
  ClearAttentionStates(states);
  if (seen.begin >= seen.end) return;
  const size_t split_tile = size_t(begin) / kKvBlockTokens;
  const PartRanges ranges = DivideRows(item.all, begin);
  const bool has_encoded = ranges.encoded.begin < ranges.encoded.end;
  const bool has_own = ranges.own.begin < ranges.own.end;
  const TileRange encoded_tiles = TilesOf(ranges.encoded, split_tile);
  const TileRange own_tiles = TilesOf(ranges.own, split_tile);
  if (has_encoded) ScoreEncoded(item.encoded, encoded_tiles, split_tile);
  if (has_own) ScoreSplit<OwnSource>(item.own, own_tiles, split_tile);
  for (size_t row = 0; row < item.all.row_count; ++row) {
    SoftmaxRow(item.all, row, begin, states);
    if (item.all.scratch.split_end[row] > 0) continue;
    // Sees nothing, or nothing but logits of -inf.
    const AttentionScratch& scratch = item.all.scratch;
    scratch.encoded_begin[row] = scratch.encoded_end[row] = 0;
    scratch.own_begin[row] = scratch.own_end[row] = 0;
  }
  if (has_encoded) {
    WeighEncoded(item.encoded, encoded_tiles, split_tile, ranges.encoded, states);
  }
  if (has_own) {
    WeighSplit<OwnSource>(item.own, own_tiles, split_tile, ranges.own,
                          OwnSource::Value(item.own, own_tiles.first), states);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace kvasir
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
