// DotSum: the integer heart of the GEMM: sums of products of unsigned weight codes and int8
// activations, one output per 32-bit lane, four inputs ("a quad") per step. All targets give the
// same integers.
//
// AVX-512 VNNI multiplies and adds a quad in one vpdpbusd. AVX2 multiplies with vpmaddubsw (u8 x
// s8, neighbours added in 16 bits) and widens with vpmaddwd. Widening each step would cost as much
// as multiplying, so quads are added in 16 bits first, as many as cannot overflow: two products of
// a b-bit code and 127 are at most 2 * (2^b - 1) * 127:
//
//   4 bits  8 quads: 8 * 2 * 15 * 127 = 30,480 < 32,768     (a whole group)
//   5 bits  4 quads: 4 * 2 * 31 * 127 = 31,496
//   6 bits  2 quads: 2 * 2 * 63 * 127 = 32,004
//   8 bits  signed codes w: |w| * sign(a, w), 2 * 128 * 127 = 32,512, widened each quad
//
// For 8 bits VNNI wants unsigned codes: w + 128, and 128 * sum of a is taken off through the
// group's sums. Included once per target.

#if defined(KVASIR_KERNELS_DOT_SUM_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef KVASIR_KERNELS_DOT_SUM_INL_H_
#undef KVASIR_KERNELS_DOT_SUM_INL_H_
#else
#define KVASIR_KERNELS_DOT_SUM_INL_H_
#endif

#include <bit>
#include <cstring>

#include "kvasir/kernels/lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace kvasir {
namespace HWY_NAMESPACE {

// True when 8-bit codes are stored and multiplied as w + 128.
constexpr bool kOffsetBytes = HWY_TARGET == HWY_AVX3_DL;

// Four activations, broadcast to all lanes.
HWY_INLINE Bytes64 BroadcastQuad(const int8_t* activations) {
  int32_t quad;
  std::memcpy(&quad, activations, sizeof(quad));
  Bytes64 r;
  KVASIR_FOR_PARTS(i) r.part[i] = hn::BitCast(ByteTag(), hn::Set(IntTag(), quad));
  return r;
}

HWY_INLINE IntLanes SetInt(int32_t x) {
  IntLanes r;
  KVASIR_FOR_PARTS(i) r.part[i] = hn::Set(IntTag(), x);
  return r;
}
HWY_INLINE IntLanes ZeroInt() { return SetInt(0); }
HWY_INLINE IntLanes AddInt(const IntLanes& a, const IntLanes& b) {
  IntLanes r;
  KVASIR_FOR_PARTS(i) r.part[i] = hn::Add(a.part[i], b.part[i]);
  return r;
}

#if HWY_TARGET == HWY_AVX3_DL

template <int kBits>
class DotSum {
 public:
  // `start`: what the sum begins with.
  HWY_INLINE void Start(const IntLanes& start) { sum_ = start.part[0].raw; }
  // Adds quad number kQuad of a run that begins with 0 after Start.
  template <int kQuad>
  HWY_INLINE void Add(const Bytes64& codes, const Bytes64& activations) {
    // Spelt out, because Highway 1.0.3 compiles this target without the flag that the intrinsic
    // asks for.
    __asm__("vpdpbusd %2, %1, %0"
            : "+v"(sum_)
            : "v"(codes.part[0].raw), "v"(activations.part[0].raw));
  }
  HWY_INLINE IntLanes Sum() const { return {{hn::Vec<IntTag>{sum_}}}; }

 private:
  __m512i sum_;
};

#else

#if HWY_TARGET == HWY_AVX2
using RawVec = __m256i;
HWY_INLINE RawVec MulAddBytes(RawVec codes, RawVec a) { return _mm256_maddubs_epi16(codes, a); }
HWY_INLINE RawVec WidenPairs(RawVec a) { return _mm256_madd_epi16(a, _mm256_set1_epi16(1)); }
HWY_INLINE RawVec Add16(RawVec a, RawVec b) { return _mm256_add_epi16(a, b); }
HWY_INLINE RawVec Add32(RawVec a, RawVec b) { return _mm256_add_epi32(a, b); }
HWY_INLINE RawVec AbsBytes(RawVec a) { return _mm256_abs_epi8(a); }
HWY_INLINE RawVec SignBytes(RawVec a, RawVec sign) { return _mm256_sign_epi8(a, sign); }
#else
using RawVec = __m128i;
HWY_INLINE RawVec MulAddBytes(RawVec codes, RawVec a) { return _mm_maddubs_epi16(codes, a); }
HWY_INLINE RawVec WidenPairs(RawVec a) { return _mm_madd_epi16(a, _mm_set1_epi16(1)); }
HWY_INLINE RawVec Add16(RawVec a, RawVec b) { return _mm_add_epi16(a, b); }
HWY_INLINE RawVec Add32(RawVec a, RawVec b) { return _mm_add_epi32(a, b); }
HWY_INLINE RawVec AbsBytes(RawVec a) { return _mm_abs_epi8(a); }
HWY_INLINE RawVec SignBytes(RawVec a, RawVec sign) { return _mm_sign_epi8(a, sign); }
#endif

template <int kBits>
class DotSum {
 public:
  HWY_INLINE void Start(const IntLanes& start) { KVASIR_FOR_PARTS(i) sum_[i] = start.part[i].raw; }
  template <int kQuad>
  HWY_INLINE void Add(const Bytes64& codes, const Bytes64& activations) {
    KVASIR_FOR_PARTS(i) {
      const RawVec c = codes.part[i].raw, a = activations.part[i].raw;
      if constexpr (kBits == 8) {
        sum_[i] = Add32(sum_[i], WidenPairs(MulAddBytes(AbsBytes(c), SignBytes(a, c))));
      } else {
        const RawVec products = MulAddBytes(c, a);
        narrow_[i] = kQuad % kNarrowQuads == 0 ? products : Add16(narrow_[i], products);
        if constexpr (kQuad % kNarrowQuads == kNarrowQuads - 1) {
          sum_[i] = Add32(sum_[i], WidenPairs(narrow_[i]));
        }
      }
    }
  }
  HWY_INLINE IntLanes Sum() const {
    IntLanes r;
    KVASIR_FOR_PARTS(i) r.part[i] = hn::Vec<IntTag>{sum_[i]};
    return r;
  }

 private:
  // Quads that fit into 16 bits: see above.
  static constexpr int kNarrowQuads = kBits == 4 ? 8 : kBits == 5 ? 4 : 2;

  RawVec sum_[kParts];
  RawVec narrow_[kParts];
};

#endif

}  // namespace HWY_NAMESPACE
}  // namespace kvasir
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
