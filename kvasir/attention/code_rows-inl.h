// What meets the codes of quantised K and V: rows of f32 (queries, or the weights of one split) as
// int16 codes with one scale, in chunks of 32 numbers that lie as quad_codes-inl.h wants them.
// Included once per target.
//
//   scale = M / code_max, M the largest magnitude of the row       code = x * (code_max / M), to
//   the nearest integer, ties to even
//
//   chunk: 64 bytes, 8 quads of int16:  | x0 x2 x1 x3 | x4 x6 x5 x7 | ...
//
// A row of zeros, or one too small for its inverse to be finite, has codes and scale 0. A row that
// holds an infinity or a NaN has scale NaN, so that whatever is computed with it is NaN.

#if defined(KVASIR_ATTENTION_CODE_ROWS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef KVASIR_ATTENTION_CODE_ROWS_INL_H_
#undef KVASIR_ATTENTION_CODE_ROWS_INL_H_
#else
#define KVASIR_ATTENTION_CODE_ROWS_INL_H_
#endif

#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>

#include "kvasir/attention/attend.h"
#include "kvasir/kernels/lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace kvasir {
namespace HWY_NAMESPACE {

using WordTag = hn::Repartition<int16_t, FloatTag>;
using WordVec = hn::Vec<WordTag>;

constexpr size_t kChunkQuads = kCodeChunkNumbers / 4;

// The largest magnitudes so far, lane by lane, as the bits of f32: integers have the same order, in
// which NaN is larger than infinity.
struct Magnitudes {
  IntLanes largest;

  HWY_INLINE Magnitudes() { KVASIR_FOR_PARTS(i) largest.part[i] = hn::Zero(IntTag()); }
  HWY_INLINE void Add(const FloatLanes& x) {
    const FloatLanes magnitude = Abs(x);
    KVASIR_FOR_PARTS(i) {
      largest.part[i] = hn::Max(largest.part[i], hn::BitCast(IntTag(), magnitude.part[i]));
    }
  }
  HWY_INLINE float Largest() const {
    auto all = largest.part[0];
    KVASIR_FOR_PARTS(i) all = hn::Max(all, largest.part[i]);
    return std::bit_cast<float>(hn::GetLane(hn::MaxOfLanes(IntTag(), all)));
  }
};

// The magnitude of the largest of `count` numbers, a multiple of 16.
HWY_INLINE float LargestMagnitude(const float* x, size_t count) {
  Magnitudes magnitudes;
  for (size_t t = 0; t < count; t += kLaneCount) magnitudes.Add(LoadLanes(x + t));
  return magnitudes.Largest();
}

// What turns numbers into codes, and codes into numbers.
struct CodeScale {
  float to_code = 0;
  float to_number = 0;

  static CodeScale Of(float magnitude, float code_max) {
    constexpr float kInfinity = std::numeric_limits<float>::infinity();
    if (!(magnitude < kInfinity)) return {0, std::numeric_limits<float>::quiet_NaN()};
    const float to_code = code_max / magnitude;  // of 0: infinite
    if (!(to_code < kInfinity)) return {0, 0};
    return {to_code, magnitude / code_max};
  }
};

// One chunk: 32 numbers, which number(t) gives sixteen at a time, to the nearest integers.
template <class NumberFn>
HWY_INLINE void PackChunkOf(const NumberFn& number, int16_t* to) {
  alignas(16) static constexpr uint8_t kOrder[16] = {0, 1, 4,  5,  2,  3,  6,  7,
                                                     8, 9, 12, 13, 10, 11, 14, 15};
  const hn::Rebind<int16_t, FloatTag> code_tag;
  const hn::Repartition<uint8_t, decltype(code_tag)> byte_tag;
  const auto order = hn::LoadDup128(byte_tag, kOrder);
  for (size_t t = 0; t < kCodeChunkNumbers; t += kLaneCount) {
    const IntLanes codes = ToNearestInt(number(t));
    KVASIR_FOR_PARTS(i) {
      const auto words = hn::BitCast(byte_tag, hn::DemoteTo(code_tag, codes.part[i]));
      hn::StoreU(hn::BitCast(code_tag, hn::TableLookupBytes(words, order)), code_tag,
                 to + t + i * kPartLanes);
    }
  }
}
HWY_INLINE void ClearChunk(int16_t* to) { std::memset(to, 0, kCodeChunkNumbers * sizeof(int16_t)); }

// x [32] * to_code -> codes. With to_code = 0 x may be anything.
HWY_INLINE void PackChunk(const float* x, float to_code, int16_t* to) {
  if (to_code == 0) return ClearChunk(to);
  PackChunkOf([&](size_t t) { return Mul(LoadLanes(x + t), SetLanes(to_code)); }, to);
}

}  // namespace HWY_NAMESPACE
}  // namespace kvasir
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
