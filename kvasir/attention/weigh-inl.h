// The weighted sum of values: out += weight x V over the tokens of one V tile, wherever its numbers
// lie (Values). Lanes are dims, so a
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

// Loads the accumulators of kRows rows, dims [dim, dim + 16 * kVectors), and stores them back.
template <int kRows, int kVectors>
HWY_INLINE void LoadAccumulators(const float* out, size_t out_stride,
                                 FloatLanes (&acc)[kRows][kVectors]) {
  HWY_UNROLL(8)
  for (int r = 0; r < kRows; ++r) {
    HWY_UNROLL(4)
    for (int i = 0; i < kVectors; ++i) {
      acc[r][i] = LoadLanes(out + size_t(r) * out_stride + size_t(i) * kLaneCount);
    }
  }
}
template <int kRows, int kVectors>
HWY_INLINE void StoreAccumulators(const FloatLanes (&acc)[kRows][kVectors], float* out,
                                  size_t out_stride) {
  HWY_UNROLL(8)
  for (int r = 0; r < kRows; ++r) {
    HWY_UNROLL(4)
    for (int i = 0; i < kVectors; ++i) {
      StoreLanes(acc[r][i], out + size_t(r) * out_stride + size_t(i) * kLaneCount);
    }
  }
}

// The values of one tile whose tokens have `stride` numbers each.
template <class Tile>
struct TileValues {
  static constexpr KvFormat kFormat = Tile::kFormat;
  TilePointer tile;
  size_t stride;

  // Adds tokens [begin, end), dims [dim, dim + 16 * kVectors).
  template <int kRows, int kVectors>
  HWY_INLINE void Add(size_t dim, size_t begin, size_t end, const float* weights,
                      FloatLanes (&acc)[kRows][kVectors]) const {
    FloatLanes v[kVectors];
    if constexpr (kFormat == KvFormat::kF32) {
      const float* from = reinterpret_cast<const float*>(tile.data) + begin * stride + dim;
      for (size_t token = begin; token < end; ++token, from += stride) {
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
            reinterpret_cast<const uint16_t*>(tile.data) + 2 * (pair * stride + dim);
        HWY_UNROLL(4)
        for (int i = 0; i < kVectors; ++i) {
          LoadBF16Pairs(from + size_t(i) * 2 * kLaneCount, &v[i], &odd[i]);
          PrefetchSameOffset<Tile>(tile, from + size_t(i) * 2 * kLaneCount);
        }
        if (2 * pair >= begin) AddToken<kRows, kVectors>(weights + 2 * pair, v, acc);
        if (2 * pair + 1 < end) AddToken<kRows, kVectors>(weights + 2 * pair + 1, odd, acc);
      }
    }
  }
};

// out [rows, out_stride] += weights[row * kScoreStride + token] x values over tokens [begin, end),
// for dims [0, dim_count), a multiple of 16, and `rows` <= kRows rows. A token outside is not
// touched: its memory may be stale and hold anything.
template <class Values, int kRows = int{kBlockRowsMax}>
void WeighTile(size_t rows, const Values& values, size_t dim_count, size_t begin, size_t end,
               const float* weights, float* out, size_t out_stride) {
  if constexpr (kRows > 1) {
    if (rows < size_t{kRows}) {
      return WeighTile<Values, kRows - 1>(rows, values, dim_count, begin, end, weights, out,
                                          out_stride);
    }
  }
  // As many accumulators as the registers allow.
  constexpr int kWanted = int{AccumulatorsMax<Values::kFormat>() / (kRows * kParts)};
  constexpr int kVectors = kWanted >= 4 ? 4 : kWanted >= 2 ? 2 : 1;
  size_t dim = 0;
  for (; dim + kVectors * kLaneCount <= dim_count; dim += kVectors * kLaneCount) {
    FloatLanes acc[kRows][kVectors];
    LoadAccumulators<kRows, kVectors>(out + dim, out_stride, acc);
    values.template Add<kRows, kVectors>(dim, begin, end, weights, acc);
    StoreAccumulators<kRows, kVectors>(acc, out + dim, out_stride);
  }
  for (; dim < dim_count; dim += kLaneCount) {
    FloatLanes acc[kRows][1];
    LoadAccumulators<kRows, 1>(out + dim, out_stride, acc);
    values.template Add<kRows, 1>(dim, begin, end, weights, acc);
    StoreAccumulators<kRows, 1>(acc, out + dim, out_stride);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace kvasir
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
