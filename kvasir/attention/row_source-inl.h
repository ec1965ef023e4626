// KV in plain rows (KvRows), as attend-inl.h reads it: the rows of 32 tokens, wherever they lie,
// are gathered into tiles of f32, K transposed so that lanes are tokens. A tile then holds the same
// numbers as one of blocks, and everything after is the same code: results agree in every bit. The
// interface is that of block_source-inl.h. Included once per target.

#if defined(KVASIR_ATTENTION_ROW_SOURCE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef KVASIR_ATTENTION_ROW_SOURCE_INL_H_
#undef KVASIR_ATTENTION_ROW_SOURCE_INL_H_
#else
#define KVASIR_ATTENTION_ROW_SOURCE_INL_H_
#endif

#include <algorithm>

#include "kvasir/attention/item-inl.h"
#include "kvasir/attention/score-inl.h"
#include "kvasir/attention/weigh-inl.h"
#include "kvasir/formats/float16.h"

HWY_BEFORE_NAMESPACE();
namespace kvasir {
namespace HWY_NAMESPACE {

using QuarterTag = hn::CappedTag<float, 4>;  // 128 bits
constexpr size_t kQuarterLanes = 4;

// Where 32-bit units u .. u + 3 of sixteen rows go: lane i of to[j] is unit u + j of row i. Four
// steps in each 128-bit block, whose row i + 4 b is loaded into block b.
template <class LoadQuarter>
HWY_INLINE void TransposeQuarters(const LoadQuarter& load, FloatLanes (&to)[kQuarterLanes]) {
  KVASIR_FOR_PARTS(part) {
    const size_t first = part * kPartLanes;
    const auto lanes = [&](size_t i) {
      if constexpr (kPartLanes == 4) {
        return load(first + i);
      } else if constexpr (kPartLanes == 8) {
        return hn::Combine(FloatTag(), load(first + 4 + i), load(first + i));
      } else {
        const hn::CappedTag<float, 8> half_tag;
        return hn::Combine(FloatTag(),
                           hn::Combine(half_tag, load(first + 12 + i), load(first + 8 + i)),
                           hn::Combine(half_tag, load(first + 4 + i), load(first + i)));
      }
    };
    const hn::RepartitionToWide<FloatTag> pair_tag;
    const auto row0 = lanes(0), row1 = lanes(1), row2 = lanes(2), row3 = lanes(3);
    // Units 0 and 1, then 2 and 3, of rows 0 and 1, and of rows 2 and 3.
    const auto low01 = hn::BitCast(pair_tag, hn::InterleaveLower(FloatTag(), row0, row1));
    const auto low23 = hn::BitCast(pair_tag, hn::InterleaveLower(FloatTag(), row2, row3));
    const auto high01 = hn::BitCast(pair_tag, hn::InterleaveUpper(FloatTag(), row0, row1));
    const auto high23 = hn::BitCast(pair_tag, hn::InterleaveUpper(FloatTag(), row2, row3));
    const auto store = [&](size_t j, auto v) { to[j].part[part] = hn::BitCast(FloatTag(), v); };
    store(0, hn::InterleaveLower(pair_tag, low01, low23));
    store(1, hn::InterleaveUpper(pair_tag, low01, low23));
    store(2, hn::InterleaveLower(pair_tag, high01, high23));
    store(3, hn::InterleaveUpper(pair_tag, high01, high23));
  }
}

template <KvRowType kType>
float NumberOfRow(const std::byte* row, size_t d) {
  if constexpr (kType == KvRowType::kF32) return reinterpret_cast<const float*>(row)[d];
  const uint16_t bits = reinterpret_cast<const uint16_t*>(row)[d];
  return kType == KvRowType::kBF16 ? F32FromBF16(bits) : F32FromF16(bits);
}

// Dims that TransposeDims gives at once: four units of 32 bits, or of four numbers widened.
template <KvRowType kType>
constexpr size_t TransposedDims() {
  return kType == KvRowType::kBF16 ? 2 * kQuarterLanes : kQuarterLanes;
}

// to[j]: number d + j of sixteen rows.
template <KvRowType kType>
HWY_INLINE void TransposeDims(const std::byte* const* rows, size_t d,
                              FloatLanes (&to)[TransposedDims<kType>()]) {
  if constexpr (kType == KvRowType::kBF16) {
    FloatLanes pairs[kQuarterLanes];
    const auto load = [&](size_t i) {
      return hn::LoadU(QuarterTag(), reinterpret_cast<const float*>(rows[i] + 2 * d));
    };
    TransposeQuarters(load, pairs);
    HWY_UNROLL(4)
    for (size_t j = 0; j < kQuarterLanes; ++j) {
      SplitBF16Pairs(pairs[j], &to[2 * j], &to[2 * j + 1]);
    }
  } else if constexpr (kType == KvRowType::kF32) {
    const auto load = [&](size_t i) {
      return hn::LoadU(QuarterTag(), reinterpret_cast<const float*>(rows[i]) + d);
    };
    TransposeQuarters(load, to);
  } else {
    const auto load = [&](size_t i) {
      const hn::Rebind<hwy::float16_t, QuarterTag> half_tag;
      const auto* from = reinterpret_cast<const hwy::float16_t*>(rows[i]) + d;
      return hn::PromoteTo(QuarterTag(), hn::LoadU(half_tag, from));
    };
    TransposeQuarters(load, to);
  }
}

// Asks for numbers d .. of some of the next sixteen rows, into the second level as
// PrefetchSameOffset: called once for each TransposeDims, all of their lines in time. A burst of
// them at the start of a tile would fill the line buffers, and the core would wait.
template <KvRowType kType>
HWY_INLINE void PrefetchDims(const std::byte* const* next, size_t d) {
  constexpr size_t kStep = TransposedDims<kType>();
  constexpr size_t kStepsPerLine = 64 / (kStep * KvRowTypeBytes(kType));
  constexpr size_t kRows = kLaneCount / kStepsPerLine;
  const size_t first = d / kStep % kStepsPerLine * kRows;
  const size_t line = d * KvRowTypeBytes(kType) / 64 * 64;
  HWY_UNROLL(4)
  for (size_t i = first; i < first + kRows; ++i) __builtin_prefetch(next[i] + line, 0, 2);
}

// to [dim, 16]: numbers 0 .. dim - 1 of sixteen rows; `next` will be wanted next.
template <KvRowType kType>
HWY_INLINE void TransposeRows(const std::byte* const* rows, const std::byte* const* next,
                              size_t dim, float* to) {
  constexpr size_t kStep = TransposedDims<kType>();
  size_t d = 0;
  for (; d + kStep <= dim; d += kStep) {
    FloatLanes lanes[kStep];
    TransposeDims<kType>(rows, d, lanes);
    PrefetchDims<kType>(next, d);
    HWY_UNROLL(8)
    for (size_t j = 0; j < kStep; ++j) StoreLanes(lanes[j], to + (d + j) * kLaneCount);
  }
  for (; d < dim; ++d) {
    for (size_t i = 0; i < kLaneCount; ++i) {
      to[d * kLaneCount + i] = NumberOfRow<kType>(rows[i], d);
    }
  }
}

// Sixteen numbers of a row.
template <KvRowType kType>
HWY_INLINE FloatLanes LoadRowLanes(const std::byte* row, size_t d) {
  if constexpr (kType == KvRowType::kF32) {
    return LoadLanes(reinterpret_cast<const float*>(row) + d);
  } else if constexpr (kType == KvRowType::kBF16) {
    return LoadBF16Lanes(reinterpret_cast<const uint16_t*>(row) + d);
  } else {
    return LoadF16Lanes(reinterpret_cast<const uint16_t*>(row) + d);
  }
}

// to [dim]: one row.
template <KvRowType kType>
HWY_INLINE void WidenRow(const std::byte* row, size_t dim, float* to) {
  size_t d = 0;
  for (; d + kLaneCount <= dim; d += kLaneCount) StoreLanes(LoadRowLanes<kType>(row, d), to + d);
  for (; d < dim; ++d) to[d] = NumberOfRow<kType>(row, d);
}

// Scores of kRows query rows against the 32 tokens of a tile, transposed on the way. q is
// [head_dim, kBlockRowsMax]; the chain of multiply-adds of each score is that of ScoreTile.
template <KvRowType kType, int kRows>
HWY_INLINE void ScoreRowTile(const std::byte* const* keys, const std::byte* const* next,
                             size_t head_dim, const float* q, float* scores) {
  constexpr int kHalves = int{kHalvesPerTile};
  FloatLanes acc[kRows][kHalves];
  HWY_UNROLL(4)
  for (int r = 0; r < kRows; ++r) {
    for (int h = 0; h < kHalves; ++h) acc[r][h] = ZeroLanes();
  }
  const auto add = [&](int h, size_t d, const FloatLanes& k) {
    HWY_UNROLL(4)
    for (int r = 0; r < kRows; ++r) {
      acc[r][h] = MulAdd(SetLanes(q[d * kBlockRowsMax + size_t(r)]), k, acc[r][h]);
    }
  };
  constexpr size_t kStep = TransposedDims<kType>();
  size_t d = 0;
  for (; d + kStep <= head_dim; d += kStep) {
    for (int h = 0; h < kHalves; ++h) {
      FloatLanes lanes[kStep];
      TransposeDims<kType>(keys + size_t(h) * kLaneCount, d, lanes);
      PrefetchDims<kType>(next + size_t(h) * kLaneCount, d);
      HWY_UNROLL(8)
      for (size_t j = 0; j < kStep; ++j) add(h, d + j, lanes[j]);
    }
  }
  for (; d < head_dim; ++d) {
    for (int h = 0; h < kHalves; ++h) {
      float numbers[kLaneCount];
      for (size_t i = 0; i < kLaneCount; ++i) {
        numbers[i] = NumberOfRow<kType>(keys[size_t(h) * kLaneCount + i], d);
      }
      add(h, d, LoadLanes(numbers));
    }
  }
  for (int r = 0; r < kRows; ++r) {
    for (int h = 0; h < kHalves; ++h) {
      StoreLanes(acc[r][h], scores + size_t(r) * kScoreStride + size_t(h) * kLaneCount);
    }
  }
}

// The values of a tile, for WeighTile: rows [32], and those that will be wanted next.
template <KvRowType kType>
struct RowValues {
  static constexpr KvFormat kFormat = KvFormat::kF32;  // as for registers: widened in one step
  const std::byte* const* rows;
  const std::byte* const* next;

  template <int kRows, int kVectors>
  HWY_INLINE void Add(size_t dim, size_t begin, size_t end, const float* weights,
                      FloatLanes (&acc)[kRows][kVectors]) const {
    FloatLanes v[kVectors];
    for (size_t token = begin; token < end; ++token) {
      HWY_UNROLL(4)
      for (int i = 0; i < kVectors; ++i) {
        const size_t d = dim + size_t(i) * kLaneCount;
        v[i] = LoadRowLanes<kType>(rows[token], d);
        __builtin_prefetch(next[token] + d * KvRowTypeBytes(kType), 0, 2);
      }
      AddToken<kRows, kVectors>(weights + token, v, acc);
    }
  }
};

template <KvRowType kType>
struct RowSource {
  // Rows for which transposing into registers is better than into scratch: those leave room for
  // the accumulators of a tile.
  static constexpr size_t kFusedRowsMax = kParts == 1 ? 4 : 2;
  static constexpr bool kSharesScores = false;

  static bool StreamsKeys(const Item& item) {
    return item.row_count <= kFusedRowsMax && item.run.spec.rope == nullptr &&
           item.run.kv.rows->k_tail_dim == 0;
  }
  static bool StreamsValues(const Item& item) {
    return item.padded_v_dim == item.v_dim && item.row_count <= kStreamRowsMax;
  }
  static void ScoreStreamed(const Item& item, const TilePointer&, const TilePlace& place,
                            size_t rows, const float* q, float* scores) {
    const std::byte** keys = item.scratch.keys + place.token;
    const std::byte** next = NextKeys(item, place);
    switch (rows) {
      case 1:
        return ScoreRowTile<kType, 1>(keys, next, item.head_dim, q, scores);
      case 2:
        return ScoreRowTile<kType, 2>(keys, next, item.head_dim, q, scores);
      case 3:
        return ScoreRowTile<kType, 3>(keys, next, item.head_dim, q, scores);
      default:
        return ScoreRowTile<kType, 4>(keys, next, item.head_dim, q, scores);
    }
  }
  static RowValues<kType> StreamedValues(const Item& item, const TilePointer&,
                                         const TilePlace& place) {
    const std::byte** values = item.scratch.values + place.token;
    return {values, NextValues(item, place)};
  }
  static const std::byte* Key(const Item&, size_t) { return nullptr; }
  static const std::byte* Value(const Item&, size_t) { return nullptr; }

  // Finds the rows of the split's tokens. Those behind the last token of the sequence, whose
  // scores nobody looks at, are that token's.
  static void PrepareSplit(const Item& item, size_t split_tile, const TileRange& tiles) {
    const PagedKv& kv = item.run.kv;
    const KvRows& rows = *kv.rows;
    const AttentionScratch& scratch = item.scratch;
    const size_t begin = tiles.first * kKvBlockTokens;
    const size_t end = std::min(tiles.last * kKvBlockTokens, item.TokenCount());
    const size_t first = begin - split_tile * kKvBlockTokens;
    FindRows(item, rows.k, rows.k_strides, begin, end, scratch.keys + first);
    FindRows(item, rows.v, rows.v_strides, begin, end, scratch.values + first);
    if (rows.k_tail_dim > 0) {
      FindRows(item, rows.k_tail, rows.k_tail_strides, begin, end, scratch.key_tails + first);
    }
  }

  static void WidenKeys(const Item& item, const TilePointer&, const TilePlace& place) {
    const size_t tail_dim = item.run.kv.rows->k_tail_dim, main_dim = item.head_dim - tail_dim;
    const std::byte** next = NextKeys(item, place);
    for (size_t half = 0; half < kHalvesPerTile; ++half) {
      const size_t at = place.token + half * kLaneCount;
      float* to = item.scratch.k_tile + half * item.head_dim * kLaneCount;
      TransposeRows<kType>(item.scratch.keys + at, next + half * kLaneCount, main_dim, to);
      if (tail_dim > 0) {
        const std::byte** tails = item.scratch.key_tails + at;
        TransposeRows<kType>(tails, tails, tail_dim, to + main_dim * kLaneCount);
      }
    }
  }

  static void WidenValues(const Item& item, const TilePointer&, const TilePlace& place,
                          size_t begin, size_t end) {
    const std::byte** values = item.scratch.values + place.token;
    const std::byte** next = NextValues(item, place);
    const size_t row_bytes = item.v_dim * KvRowTypeBytes(kType);
    for (size_t i = begin; i < end; ++i) {
      float* to = item.scratch.v_tile + i * item.padded_v_dim;
      WidenRow<kType>(values[i], item.v_dim, to);
      std::fill(to + item.v_dim, to + item.padded_v_dim, 0.0f);
      for (size_t at = 0; at < row_bytes; at += 64) __builtin_prefetch(next[i] + at, 0, 2);
    }
  }

 private:
  // to[i]: the row of token begin + i; up to the end of the tile.
  static void FindRows(const Item& item, const std::byte* base, const KvRowStrides& strides,
                       size_t begin, size_t end, const std::byte** to) {
    constexpr int64_t kBytes = int64_t{KvRowTypeBytes(kType)};
    const PagedKv& kv = item.run.kv;
    const int64_t token_bytes = kBytes * strides.token;
    base += kBytes * int64_t(item.kv_head) * strides.head;
    const std::byte** last = to + (end - begin);
    if (kv.is_ragged) {
      const int64_t first = kv.kv_indptr[size_t(item.work.sequence)] + int64_t(begin);
      for (const std::byte* row = base + first * token_bytes; to < last; row += token_bytes) {
        *to++ = row;
      }
    } else {
      const size_t page_size = size_t(kv.page_size);
      size_t page = begin / page_size, slot = begin % page_size;
      for (; to < last; ++page, slot = 0) {
        const int64_t id = kv.PageId(size_t(item.work.sequence), item.kv_head, page);
        const std::byte* row = base + kBytes * id * strides.page + int64_t(slot) * token_bytes;
        const std::byte** page_end = std::min(to + (page_size - slot), last);
        for (; to < page_end; row += token_bytes) *to++ = row;
      }
    }
    for (size_t i = end - begin; i % kKvBlockTokens != 0; ++i, ++to) *to = to[-1];
  }

  // What is read after the tile at `token`: the next tile's rows, the first values after the last
  // keys, and after the last values nothing that is known.
  static const std::byte** NextKeys(const Item& item, const TilePlace& place) {
    const AttentionScratch& scratch = item.scratch;
    const size_t next = place.token + kKvBlockTokens;
    return next < place.last ? scratch.keys + next : scratch.values + place.first;
  }
  static const std::byte** NextValues(const Item& item, const TilePlace& place) {
    const size_t next = place.token + kKvBlockTokens;
    return item.scratch.values + (next < place.last ? next : place.token);
  }
};

}  // namespace HWY_NAMESPACE
}  // namespace kvasir
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
