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

// to [dim, 16]: numbers 0 .. dim - 1 of sixteen rows.
template <KvRowType kType>
HWY_INLINE void TransposeRows(const std::byte* const* rows, size_t dim, float* to) {
  FloatLanes lanes[kQuarterLanes];
  size_t d = 0;
  if constexpr (kType == KvRowType::kBF16) {
    // Two numbers in each 32-bit unit.
    constexpr size_t kStep = 2 * kQuarterLanes;
    for (; d + kStep <= dim; d += kStep) {
      TransposeQuarters(
          [&](size_t i) {
            return hn::LoadU(QuarterTag(), reinterpret_cast<const float*>(rows[i] + 2 * d));
          },
          lanes);
      for (size_t j = 0; j < kQuarterLanes; ++j) {
        FloatLanes low, high;
        SplitBF16Pairs(lanes[j], &low, &high);
        StoreLanes(low, to + (d + 2 * j) * kLaneCount);
        StoreLanes(high, to + (d + 2 * j + 1) * kLaneCount);
      }
    }
  } else {
    for (; d + kQuarterLanes <= dim; d += kQuarterLanes) {
      TransposeQuarters(
          [&](size_t i) {
            if constexpr (kType == KvRowType::kF32) {
              return hn::LoadU(QuarterTag(), reinterpret_cast<const float*>(rows[i]) + d);
            } else {
              const hn::Rebind<hwy::float16_t, QuarterTag> half_tag;
              const auto* from = reinterpret_cast<const hwy::float16_t*>(rows[i]) + d;
              return hn::PromoteTo(QuarterTag(), hn::LoadU(half_tag, from));
            }
          },
          lanes);
      for (size_t j = 0; j < kQuarterLanes; ++j) StoreLanes(lanes[j], to + (d + j) * kLaneCount);
    }
  }
  for (; d < dim; ++d) {
    for (size_t i = 0; i < kLaneCount; ++i) {
      to[d * kLaneCount + i] = NumberOfRow<kType>(rows[i], d);
    }
  }
}

// to [dim]: one row.
template <KvRowType kType>
HWY_INLINE void WidenRow(const std::byte* row, size_t dim, float* to) {
  size_t d = 0;
  for (; d + kLaneCount <= dim; d += kLaneCount) {
    if constexpr (kType == KvRowType::kF32) {
      StoreLanes(LoadLanes(reinterpret_cast<const float*>(row) + d), to + d);
    } else if constexpr (kType == KvRowType::kBF16) {
      StoreLanes(LoadBF16Lanes(reinterpret_cast<const uint16_t*>(row) + d), to + d);
    } else {
      StoreLanes(LoadF16Lanes(reinterpret_cast<const uint16_t*>(row) + d), to + d);
    }
  }
  for (; d < dim; ++d) to[d] = NumberOfRow<kType>(row, d);
}

template <KvRowType kType>
struct RowSource {
  using StreamedTile = ScratchTile;  // never streamed

  static bool StreamsKeys(const Item&) { return false; }
  static bool StreamsValues(const Item&) { return false; }
  static const std::byte* Key(const Item&, size_t) { return nullptr; }
  static const std::byte* Value(const Item&, size_t) { return nullptr; }

  // Finds the rows of the split's tokens. Those behind the last token of the sequence, whose
  // scores nobody looks at, are that token's.
  static void PrepareSplit(const Item& item, size_t split_tile, const TileRange& tiles) {
    const PagedKv& kv = item.run.kv;
    const KvRows& rows = *kv.rows;
    const AttentionScratch& scratch = item.scratch;
    constexpr int64_t kBytes = int64_t{KvRowTypeBytes(kType)};
    const auto offset = [&](const KvRowStrides& strides, int64_t page, int64_t token) {
      return kBytes *
             (page * strides.page + token * strides.token + int64_t(item.kv_head) * strides.head);
    };
    const size_t page_size = kv.is_ragged ? 1 : size_t(kv.page_size);
    const size_t begin = tiles.first * kKvBlockTokens;
    const size_t end = std::min(tiles.last * kKvBlockTokens, item.TokenCount());
    size_t page = begin / page_size, slot = begin % page_size;
    size_t i = begin - split_tile * kKvBlockTokens;
    for (size_t token = begin; token < end; ++token, ++i) {
      // A ragged sequence is one page that begins at its first token.
      const int64_t id = kv.PageId(size_t(item.work.sequence), item.kv_head, page);
      const int64_t at_page = kv.is_ragged ? 0 : id;
      const int64_t at_token = kv.is_ragged ? id : int64_t(slot);
      scratch.keys[i] = rows.k + offset(rows.k_strides, at_page, at_token);
      scratch.values[i] = rows.v + offset(rows.v_strides, at_page, at_token);
      if (rows.k_tail_dim > 0) {
        scratch.key_tails[i] = rows.k_tail + offset(rows.k_tail_strides, at_page, at_token);
      }
      if (++slot == page_size) {
        slot = 0;
        ++page;
      }
    }
    for (; i % kKvBlockTokens != 0; ++i) {
      scratch.keys[i] = scratch.keys[i - 1];
      scratch.values[i] = scratch.values[i - 1];
      scratch.key_tails[i] = scratch.key_tails[i - 1];
    }
  }

  static void WidenKeys(const Item& item, const TilePointer&, size_t first, size_t last) {
    const size_t tail_dim = item.run.kv.rows->k_tail_dim, main_dim = item.head_dim - tail_dim;
    const std::byte** keys = item.scratch.keys;
    Prefetch(keys, first + kKvBlockTokens, last, main_dim);
    for (size_t half = 0; half < kHalvesPerTile; ++half) {
      const size_t at = first + half * kLaneCount;
      float* to = item.scratch.k_tile + half * item.head_dim * kLaneCount;
      TransposeRows<kType>(keys + at, main_dim, to);
      if (tail_dim > 0) {
        TransposeRows<kType>(item.scratch.key_tails + at, tail_dim, to + main_dim * kLaneCount);
      }
    }
  }

  static void WidenValues(const Item& item, const TilePointer&, size_t first, size_t last,
                          size_t begin, size_t end) {
    const std::byte** values = item.scratch.values;
    Prefetch(values, first + kKvBlockTokens, last, item.v_dim);
    for (size_t token = begin; token < end; ++token) {
      float* to = item.scratch.v_tile + token * item.padded_v_dim;
      WidenRow<kType>(values[first + token], item.v_dim, to);
      std::fill(to + item.v_dim, to + item.padded_v_dim, 0.0f);
    }
  }

 private:
  // The rows of the next tile, while this one is gathered: they may lie anywhere.
  static void Prefetch(const std::byte* const* rows, size_t first, size_t last, size_t dim) {
    if (first >= last) return;
    const size_t bytes = dim * KvRowTypeBytes(kType);
    for (size_t i = first; i < first + kKvBlockTokens; ++i) {
      for (size_t at = 0; at < bytes; at += 64) __builtin_prefetch(rows[i] + at);
    }
  }
};

}  // namespace HWY_NAMESPACE
}  // namespace kvasir
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
