// The weighted sum of values: out += weight x V over the tokens of one V tile. Lanes are dims, so a
// number of the output is a chain of multiply-adds over the tokens in rising order. Included once
// per target.

#if defined(KVASIR_ATTENTION_WEIGH_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef KVASIR_ATTENTION_WEIGH_INL_H_
#undef KVASIR_ATTENTION_WEIGH_INL_H_
#else
#define KVASIR_ATTENTION_WEIGH_INL_H_
#endif

#include <cstddef>

#include "kvasir/attention/attend.h"
#include "kvasir/attention/score-inl.h"
#include "kvasir/kernels/lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace kvasir {
namespace HWY_NAMESPACE {

// Adds one token: weights[r * kScoreStride] x v to acc.
template <int kRows, int kVectors>
HWY_INLINE void AddToken(const float* weights, const FloatLanes (&v)[kVectors],
                         FloatLanes (&acc)[kRows][kVectors]) {
  HWY_UNROLL(8)
  for (int r = 0; r < kRows; ++r) {
    const FloatLanes weight = SetLanes(weights[size_t(r) * kScoreStride]);
    HWY_UNROLL(4)
    for (int i = 0; i < kVectors; ++i) acc[r][i] = MulAdd(weight, v[i], acc[r][i]);
  }
}

// Dims [dim, dim + 16 * kVectors) of kRows rows over tokens [begin, end) of the tile. V has
// `v_stride` numbers a token; weights[r * kScoreStride + token]; out [kRows, out_stride].
template <class Tile, int kRows, int kVectors>
HWY_INLINE void WeighDims(const TilePointer& tile, size_t v_stride, size_t dim, size_t begin,
                          size_t end, const float* weights, float* out, size_t out_stride) {
  FloatLanes acc[kRows][kVectors];
  HWY_UNROLL(8)
  for (int r = 0; r < kRows; ++r) {
    HWY_UNROLL(4)
    for (int i = 0; i < kVectors; ++i) {
      acc[r][i] = LoadLanes(out + size_t(r) * out_stride + dim + size_t(i) * kLaneCount);
    }
  }
  FloatLanes v[kVectors];
  if constexpr (Tile::kFormat == KvFormat::kF32) {
    const float* from = reinterpret_cast<const float*>(tile.data) + begin * v_stride + dim;
    for (size_t token = begin; token < end; ++token, from += v_stride) {
      HWY_UNROLL(4)
      for (int i = 0; i < kVectors; ++i) {
        v[i] = LoadLanes(from + size_t(i) * kLaneCount);
        PrefetchSameOffset<Tile>(tile, from + size_t(i) * kLaneCount);
      }
      AddToken<kRows, kVectors>(weights + token, v, acc);
    }
  } else {
    // Two tokens in each 32-bit lane: the one of even index in the low half.
    FloatLanes odd[kVectors];
    for (size_t pair = begin / 2; pair < (end + 1) / 2; ++pair) {
      const uint16_t* from =
          reinterpret_cast<const uint16_t*>(tile.data) + 2 * (pair * v_stride + dim);
      HWY_UNROLL(4)
      for (int i = 0; i < kVectors; ++i) {
        LoadBF16Pairs(from + size_t(i) * 2 * kLaneCount, &v[i], &odd[i]);
        PrefetchSameOffset<Tile>(tile, from + size_t(i) * 2 * kLaneCount);
      }
      if (2 * pair >= begin) AddToken<kRows, kVectors>(weights + 2 * pair, v, acc);
      if (2 * pair + 1 < end) AddToken<kRows, kVectors>(weights + 2 * pair + 1, odd, acc);
    }
  }
  HWY_UNROLL(8)
  for (int r = 0; r < kRows; ++r) {
    HWY_UNROLL(4)
    for (int i = 0; i < kVectors; ++i) {
      StoreLanes(acc[r][i], out + size_t(r) * out_stride + dim + size_t(i) * kLaneCount);
    }
  }
}

// All dims (v_stride and out_stride are multiples of 16 here) of `rows` <= kRows rows. A token
// outside [begin, end) is not touched: its memory may be stale and hold anything.
template <class Tile, int kRows = int{kBlockRowsMax}>
void WeighTile(size_t rows, const TilePointer& tile, size_t v_stride, size_t begin, size_t end,
               const float* weights, float* out, size_t out_stride) {
  if constexpr (kRows > 1) {
    if (rows < size_t{kRows}) {
      return WeighTile<Tile, kRows - 1>(rows, tile, v_stride, begin, end, weights, out, out_stride);
    }
  }
  // As many accumulators as the registers allow.
  constexpr int kWanted = int{AccumulatorsMax<Tile::kFormat>() / (kRows * kParts)};
  constexpr int kVectors = kWanted >= 4 ? 4 : kWanted >= 2 ? 2 : 1;
  size_t dim = 0;
  for (; dim + kVectors * kLaneCount <= v_stride; dim += kVectors * kLaneCount) {
    WeighDims<Tile, kRows, kVectors>(tile, v_stride, dim, begin, end, weights, out, out_stride);
  }
  for (; dim < v_stride; dim += kLaneCount) {
    WeighDims<Tile, kRows, 1>(tile, v_stride, dim, begin, end, weights, out, out_stride);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace kvasir
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
