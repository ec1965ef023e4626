// Sixteen lanes of f32 or i32, and 64 bytes, whatever the width of the machine's registers: one
// 512-bit register, two of 256 or four of 128. Every kernel works in these units, so that each
// target adds the same numbers in the same order. Included once per target (hwy/foreach_target.h).

#if defined(KVASIR_KERNELS_LANES_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef KVASIR_KERNELS_LANES_INL_H_
#undef KVASIR_KERNELS_LANES_INL_H_
#else
#define KVASIR_KERNELS_LANES_INL_H_
#endif

#include <hwy/highway.h>

#include <cstddef>
#include <cstdint>

HWY_BEFORE_NAMESPACE();
namespace kvasir {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using FloatTag = hn::CappedTag<float, 16>;
using IntTag = hn::RebindToSigned<FloatTag>;
using ByteTag = hn::Repartition<uint8_t, FloatTag>;

constexpr size_t kLaneCount = 16;
constexpr size_t kPartLanes = HWY_MIN(HWY_LANES(float), 16);
constexpr size_t kParts = kLaneCount / kPartLanes;

struct FloatLanes {
  hn::Vec<FloatTag> part[kParts];
};
struct IntLanes {
  hn::Vec<IntTag> part[kParts];
};
struct Bytes64 {
  hn::Vec<ByteTag> part[kParts];
};

#define KVASIR_FOR_PARTS(i) _Pragma("GCC unroll 4") for (size_t i = 0; i < kParts; ++i)

HWY_INLINE FloatLanes ZeroLanes() {
  FloatLanes r;
  KVASIR_FOR_PARTS(i) r.part[i] = hn::Zero(FloatTag());
  return r;
}
HWY_INLINE FloatLanes SetLanes(float x) {
  FloatLanes r;
  KVASIR_FOR_PARTS(i) r.part[i] = hn::Set(FloatTag(), x);
  return r;
}
HWY_INLINE FloatLanes LoadLanes(const float* from) {
  FloatLanes r;
  KVASIR_FOR_PARTS(i) r.part[i] = hn::LoadU(FloatTag(), from + i * kPartLanes);
  return r;
}
HWY_INLINE void StoreLanes(const FloatLanes& a, float* to) {
  KVASIR_FOR_PARTS(i) hn::StoreU(a.part[i], FloatTag(), to + i * kPartLanes);
}
HWY_INLINE FloatLanes Add(const FloatLanes& a, const FloatLanes& b) {
  FloatLanes r;
  KVASIR_FOR_PARTS(i) r.part[i] = hn::Add(a.part[i], b.part[i]);
  return r;
}
HWY_INLINE FloatLanes Sub(const FloatLanes& a, const FloatLanes& b) {
  FloatLanes r;
  KVASIR_FOR_PARTS(i) r.part[i] = hn::Sub(a.part[i], b.part[i]);
  return r;
}
HWY_INLINE FloatLanes Mul(const FloatLanes& a, const FloatLanes& b) {
  FloatLanes r;
  KVASIR_FOR_PARTS(i) r.part[i] = hn::Mul(a.part[i], b.part[i]);
  return r;
}
HWY_INLINE FloatLanes Div(const FloatLanes& a, const FloatLanes& b) {
  FloatLanes r;
  KVASIR_FOR_PARTS(i) r.part[i] = hn::Div(a.part[i], b.part[i]);
  return r;
}
HWY_INLINE FloatLanes Min(const FloatLanes& a, const FloatLanes& b) {
  FloatLanes r;
  KVASIR_FOR_PARTS(i) r.part[i] = hn::Min(a.part[i], b.part[i]);
  return r;
}
HWY_INLINE FloatLanes Max(const FloatLanes& a, const FloatLanes& b) {
  FloatLanes r;
  KVASIR_FOR_PARTS(i) r.part[i] = hn::Max(a.part[i], b.part[i]);
  return r;
}
HWY_INLINE FloatLanes Abs(const FloatLanes& a) {
  FloatLanes r;
  KVASIR_FOR_PARTS(i) r.part[i] = hn::Abs(a.part[i]);
  return r;
}
// a * b + c, fused where the target can.
HWY_INLINE FloatLanes MulAdd(const FloatLanes& a, const FloatLanes& b, const FloatLanes& c) {
  FloatLanes r;
  KVASIR_FOR_PARTS(i) r.part[i] = hn::MulAdd(a.part[i], b.part[i], c.part[i]);
  return r;
}
HWY_INLINE FloatLanes ToFloat(const IntLanes& a) {
  FloatLanes r;
  KVASIR_FOR_PARTS(i) r.part[i] = hn::ConvertTo(FloatTag(), a.part[i]);
  return r;
}
// To the nearest integer, ties to even.
HWY_INLINE IntLanes ToNearestInt(const FloatLanes& a) {
  IntLanes r;
  KVASIR_FOR_PARTS(i) r.part[i] = hn::NearestInt(a.part[i]);
  return r;
}
// Sixteen f16 numbers.
HWY_INLINE FloatLanes LoadF16Lanes(const uint16_t* from) {
  const hn::Rebind<hwy::float16_t, FloatTag> half_tag;
  FloatLanes r;
  KVASIR_FOR_PARTS(i) {
    r.part[i] = hn::PromoteTo(
        FloatTag(),
        hn::LoadU(half_tag, reinterpret_cast<const hwy::float16_t*>(from) + i * kPartLanes));
  }
  return r;
}
// Sixteen bytes as numbers.
template <typename Byte>
HWY_INLINE FloatLanes LoadByteLanes(const Byte* from) {
  const hn::Rebind<Byte, FloatTag> byte_tag;
  FloatLanes r;
  KVASIR_FOR_PARTS(i) {
    const auto bytes = hn::LoadU(byte_tag, from + i * kPartLanes);
    r.part[i] = hn::ConvertTo(FloatTag(), hn::PromoteTo(IntTag(), bytes));
  }
  return r;
}
// The low and the high half of each 32-bit lane, both bf16, as f32.
HWY_INLINE void SplitBF16Pairs(const FloatLanes& pairs, FloatLanes* low, FloatLanes* high) {
  const hn::RebindToUnsigned<FloatTag> bits_tag;
  KVASIR_FOR_PARTS(i) {
    const auto bits = hn::BitCast(bits_tag, pairs.part[i]);
    low->part[i] = hn::BitCast(FloatTag(), hn::ShiftLeft<16>(bits));
    high->part[i] = hn::BitCast(FloatTag(), hn::And(bits, hn::Set(bits_tag, 0xFFFF0000u)));
  }
}
// Sixteen pairs of bf16.
HWY_INLINE void LoadBF16Pairs(const uint16_t* from, FloatLanes* low, FloatLanes* high) {
  SplitBF16Pairs(LoadLanes(reinterpret_cast<const float*>(from)), low, high);
}
// Sixteen bf16 numbers.
HWY_INLINE FloatLanes LoadBF16Lanes(const uint16_t* from) {
  const hn::Rebind<uint16_t, FloatTag> half_tag;
  const hn::RebindToUnsigned<FloatTag> bits_tag;
  FloatLanes r;
  KVASIR_FOR_PARTS(i) {
    const auto bits = hn::PromoteTo(bits_tag, hn::LoadU(half_tag, from + i * kPartLanes));
    r.part[i] = hn::BitCast(FloatTag(), hn::ShiftLeft<16>(bits));
  }
  return r;
}

// Sum of the sixteen lanes by one fixed tree: lanes i and i + 8, then i + 4, i + 2, i
// + 1.
HWY_INLINE float SumOfLanes(const FloatLanes& a) {
  alignas(64) float x[kLaneCount];
  StoreLanes(a, x);
  for (size_t width = kLaneCount / 2; width > 0; width /= 2) {
    for (size_t i = 0; i < width; ++i) x[i] += x[i + width];
  }
  return x[0];
}
// Maximum of the sixteen lanes, in whatever order: it is exact. REQUIRES no NaN.
HWY_INLINE float MaxOfLanes(const FloatLanes& a) {
  auto largest = a.part[0];
  KVASIR_FOR_PARTS(i) largest = hn::Max(largest, a.part[i]);
  return hn::GetLane(hn::MaxOfLanes(FloatTag(), largest));
}

HWY_INLINE Bytes64 LoadBytes(const uint8_t* from) {
  Bytes64 r;
  KVASIR_FOR_PARTS(i) r.part[i] = hn::LoadU(ByteTag(), from + i * kPartLanes * 4);
  return r;
}
HWY_INLINE void StoreBytes(const Bytes64& a, uint8_t* to) {
  KVASIR_FOR_PARTS(i) hn::StoreU(a.part[i], ByteTag(), to + i * kPartLanes * 4);
}
HWY_INLINE Bytes64 AndBytes(const Bytes64& a, uint8_t mask) {
  Bytes64 r;
  KVASIR_FOR_PARTS(i) r.part[i] = hn::And(a.part[i], hn::Set(ByteTag(), mask));
  return r;
}
HWY_INLINE Bytes64 OrBytes(const Bytes64& a, const Bytes64& b) {
  Bytes64 r;
  KVASIR_FOR_PARTS(i) r.part[i] = hn::Or(a.part[i], b.part[i]);
  return r;
}
HWY_INLINE Bytes64 XorBytes(const Bytes64& a, uint8_t mask) {
  Bytes64 r;
  KVASIR_FOR_PARTS(i) r.part[i] = hn::Xor(a.part[i], hn::Set(ByteTag(), mask));
  return r;
}
// Shifts 16-bit words: bits cross from one byte into its neighbour, so mask afterwards. Positive
// counts go right.
template <int kRight>
HWY_INLINE Bytes64 ShiftWords(const Bytes64& a) {
  const hn::Repartition<uint16_t, FloatTag> word_tag;
  Bytes64 r;
  KVASIR_FOR_PARTS(i) {
    const auto words = hn::BitCast(word_tag, a.part[i]);
    if constexpr (kRight >= 0) {
      r.part[i] = hn::BitCast(ByteTag(), hn::ShiftRight<kRight>(words));
    } else {
      r.part[i] = hn::BitCast(ByteTag(), hn::ShiftLeft<-kRight>(words));
    }
  }
  return r;
}

}  // namespace HWY_NAMESPACE
}  // namespace kvasir
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
