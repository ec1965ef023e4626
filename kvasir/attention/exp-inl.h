// exp and tanh of sixteen lanes, as attention needs them: the same polynomial and the same order of
// operations on every target, so that targets with fused multiply-add agree in every bit. Included
// once per target.

#if defined(KVASIR_ATTENTION_EXP_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef KVASIR_ATTENTION_EXP_INL_H_
#undef KVASIR_ATTENTION_EXP_INL_H_
#else
#define KVASIR_ATTENTION_EXP_INL_H_
#endif

#include "kvasir/kernels/lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace kvasir {
namespace HWY_NAMESPACE {

// exp(x) = scale * (1 + minus_one): scale a power of two, minus_one = exp(r) - 1 for the rest
// |r| <= ln(2) / 2.
struct SplitExp {
  FloatLanes scale;
  FloatLanes minus_one;
};

// REQUIRES -87.3 <= x <= 88 in each lane (2^-126 is the smallest power of two without subnormals).
HWY_INLINE SplitExp ExpInParts(const FloatLanes& x) {
  // Adding 1.5 * 2^23 rounds to an integer n, ties to even, which then stands in the low bits.
  const FloatLanes magic = SetLanes(12582912.0f);
  const FloatLanes shifted = MulAdd(x, SetLanes(1.44269502f), magic);  // x / ln(2)
  const FloatLanes n = Sub(shifted, magic);
  // ln(2) in two parts: the first has 9 bits, so that n times it is exact.
  FloatLanes r = MulAdd(n, SetLanes(-0.693359375f), x);
  r = MulAdd(n, SetLanes(2.12194440e-4f), r);
  // exp(r) = 1 + r + r^2 p(r): p fitted for the least maximal relative error of exp, 3.7e-9, which
  // is a sixteenth of half a unit in the last place.
  FloatLanes p = SetLanes(1.38145406e-3f);
  p = MulAdd(p, r, SetLanes(8.36874545e-3f));
  p = MulAdd(p, r, SetLanes(4.16683890e-2f));
  p = MulAdd(p, r, SetLanes(0.166665211f));
  p = MulAdd(p, r, SetLanes(0.499999940f));
  SplitExp result;
  result.minus_one = MulAdd(Mul(r, r), p, r);
  KVASIR_FOR_PARTS(i) {
    const auto exponent = hn::ShiftLeft<23>(hn::BitCast(IntTag(), shifted.part[i]));
    const auto one = hn::BitCast(IntTag(), hn::Set(FloatTag(), 1.0f));
    result.scale.part[i] = hn::BitCast(FloatTag(), hn::Add(exponent, one));
  }
  return result;
}

// exp(x) for x <= 0, -inf included: exactly 1 at 0, exactly 0 below -87.3, where the true value is
// less than 2^-125.
HWY_INLINE FloatLanes ExpOfNonPositive(const FloatLanes& x) {
  const FloatLanes lowest = SetLanes(-87.3f);
  const SplitExp exp = ExpInParts(Max(x, lowest));
  const FloatLanes value = MulAdd(exp.scale, exp.minus_one, exp.scale);
  FloatLanes result;
  KVASIR_FOR_PARTS(i) {
    result.part[i] = hn::IfThenZeroElse(hn::Lt(x.part[i], lowest.part[i]), value.part[i]);
  }
  return result;
}

// tanh(x) = -e / (2 + e) with e = exp(-2|x|) - 1, computed without cancellation near 0.
HWY_INLINE FloatLanes Tanh(const FloatLanes& x) {
  const FloatLanes one = SetLanes(1.0f);
  // Beyond 10, tanh is 1 in f32.
  const FloatLanes doubled = Mul(Min(Abs(x), SetLanes(10.0f)), SetLanes(-2.0f));
  const SplitExp exp = ExpInParts(doubled);
  const FloatLanes e = MulAdd(exp.scale, exp.minus_one, Sub(exp.scale, one));
  const FloatLanes magnitude = Div(Sub(ZeroLanes(), e), Add(SetLanes(2.0f), e));
  FloatLanes result;
  KVASIR_FOR_PARTS(i) result.part[i] = hn::CopySign(magnitude.part[i], x.part[i]);
  return result;
}

}  // namespace HWY_NAMESPACE
}  // namespace kvasir
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
