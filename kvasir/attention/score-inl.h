// Scores of a block of query rows against one K tile. Lanes are tokens, so a score is a chain of
// multiply-adds over the dims in rising order and no sum runs across lanes: its bits depend on the
// row and the key alone. Included once per target.

#if defined(KVASIR_ATTENTION_SCORE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef KVASIR_ATTENTION_SCORE_INL_H_
#undef KVASIR_ATTENTION_SCORE_INL_H_
#else
#define KVASIR_ATTENTION_SCORE_INL_H_
#endif

#include <cstddef>

#include "kvasir/attention/attend.h"
#include "kvasir/formats/kv_block_layout.h"
#include "kvasir/kernels/lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace kvasir {
namespace HWY_NAMESPACE {

// Rows that share a load of K or V. With 32 registers: 8 rows x 2 accumulators, twice the 8 that
// two multiply-adds a cycle of 4 cycles' latency need. With 16 registers: 6 rows x one pair of
// registers, and 4 left for K and q.
constexpr size_t kBlockRowsMax = kParts == 1 ? 8 : 6;
// Rows for which bf16 is widened in registers. With 16 of those, the widening takes 6 for itself.
constexpr size_t kStreamRowsMax = kParts == 1 ? 8 : 4;
// Registers for accumulators.
template <KvFormat kFormat>
constexpr size_t AccumulatorsMax() {
  if (kParts == 1) return 16;
  return kFormat == KvFormat::kF32 ? 12 : 8;
}
constexpr size_t kHalvesPerTile = kKvBlockTokens / kKvLaneTokens;

// Where a tile comes from. Tiles in pages are streamed from memory: while one is used, the one to
// be used next is prefetched line by line (the hardware's prefetchers stop at each 4 KiB page, and
// tiles are about that long). The scratch tile is in the first-level cache.
struct PagedF32Tile {
  static constexpr KvFormat kFormat = KvFormat::kF32;
  static constexpr bool kPrefetch = true;
};
struct PagedBF16Tile {
  static constexpr KvFormat kFormat = KvFormat::kBF16;
  static constexpr bool kPrefetch = true;
};
struct ScratchTile {
  static constexpr KvFormat kFormat = KvFormat::kF32;
  static constexpr bool kPrefetch = false;
};

// A tile and the one that will be used after it (itself when there is none).
struct TilePointer {
  const std::byte* data;
  const std::byte* next;
};

template <class Tile>
HWY_INLINE void PrefetchSameOffset(const TilePointer& tile, const void* at) {
  if constexpr (Tile::kPrefetch) {
    // Into the second level: the first has some twenty line buffers, with which a core waits for
    // memory at a third of the rate that its second level can ask for.
    constexpr int kReadOnly = 0, kSecondLevel = 2;
    const std::byte* same = tile.next + (static_cast<const std::byte*>(at) - tile.data);
    __builtin_prefetch(same, kReadOnly, kSecondLevel);
  }
}

// Adds one dim of q [kRows] x K to acc; k holds that dim of each half.
template <int kRows, int kHalves>
HWY_INLINE void AddDim(const float* q, const FloatLanes (&k)[kHalves],
                       FloatLanes (&acc)[kRows][kHalves]) {
  HWY_UNROLL(8)
  for (int r = 0; r < kRows; ++r) {
    const FloatLanes x = SetLanes(q[r]);
    HWY_UNROLL(2)
    for (int h = 0; h < kHalves; ++h) acc[r][h] = MulAdd(x, k[h], acc[r][h]);
  }
}

// scores[r * kScoreStride + 16 * (half + h) ..] for kHalves halves of the tile from `half` on. q is
// [head_dim, kBlockRowsMax].
template <class Tile, int kRows, int kHalves>
HWY_INLINE void ScoreHalves(const float* q, size_t head_dim, const TilePointer& tile, size_t half,
                            float* scores) {
  FloatLanes acc[kRows][kHalves];
  HWY_UNROLL(8)
  for (int r = 0; r < kRows; ++r) {
    HWY_UNROLL(2)
    for (int h = 0; h < kHalves; ++h) acc[r][h] = ZeroLanes();
  }
  if constexpr (Tile::kFormat == KvFormat::kF32) {
    const size_t half_floats = head_dim * kLaneCount;
    const float* k = reinterpret_cast<const float*>(tile.data) + half * half_floats;
    for (size_t d = 0; d < head_dim; ++d, k += kLaneCount, q += kBlockRowsMax) {
      FloatLanes lanes[kHalves];
      HWY_UNROLL(2)
      for (int h = 0; h < kHalves; ++h) {
        lanes[h] = LoadLanes(k + size_t(h) * half_floats);
        PrefetchSameOffset<Tile>(tile, k + size_t(h) * half_floats);
      }
      AddDim<kRows, kHalves>(q, lanes, acc);
    }
  } else {
    // Two dims in each 32-bit lane; of an odd head_dim the last lane has only the lower one.
    const size_t half_numbers = (head_dim + 1) / 2 * 2 * kLaneCount;
    const uint16_t* k = reinterpret_cast<const uint16_t*>(tile.data) + half * half_numbers;
    for (size_t d = 0; d < head_dim; d += 2, k += 2 * kLaneCount, q += 2 * kBlockRowsMax) {
      FloatLanes low[kHalves], high[kHalves];
      HWY_UNROLL(2)
      for (int h = 0; h < kHalves; ++h) {
        LoadBF16Pairs(k + size_t(h) * half_numbers, &low[h], &high[h]);
        PrefetchSameOffset<Tile>(tile, k + size_t(h) * half_numbers);
      }
      AddDim<kRows, kHalves>(q, low, acc);
      if (d + 1 < head_dim) AddDim<kRows, kHalves>(q + kBlockRowsMax, high, acc);
    }
  }
  HWY_UNROLL(8)
  for (int r = 0; r < kRows; ++r) {
    HWY_UNROLL(2)
    for (int h = 0; h < kHalves; ++h) {
      StoreLanes(acc[r][h], scores + size_t(r) * kScoreStride + (half + size_t(h)) * kLaneCount);
    }
  }
}

// Scores of `rows` <= kRows query rows against the 32 tokens of a tile, those that no row sees
// included (their scores are not looked at).
template <class Tile, int kRows = int{kBlockRowsMax}>
void ScoreTile(size_t rows, const float* q, size_t head_dim, const TilePointer& tile,
               float* scores) {
  if constexpr (kRows > 1) {
    if (rows < size_t{kRows}) {
      return ScoreTile<Tile, kRows - 1>(rows, q, head_dim, tile, scores);
    }
  }
  // Both halves at once while the registers last: few rows alone do not hide the latency.
  if constexpr (kRows * kParts * kHalvesPerTile <= AccumulatorsMax<Tile::kFormat>()) {
    ScoreHalves<Tile, kRows, int{kHalvesPerTile}>(q, head_dim, tile, 0, scores);
  } else {
    for (size_t half = 0; half < kHalvesPerTile; ++half) {
      ScoreHalves<Tile, kRows, 1>(q, head_dim, tile, half, scores);
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace kvasir
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
