// How a user writes an attention variant: a struct with some of the hooks below, at the place where
// Highway compiles code for each target, and one macro. examples/attention_variant.cc is a whole
// one; `kvasir attention build` makes a shared object of a header that holds such structs. Included
// once per target.
//
// A variant V may have
//
//   FloatLanes Logits(const AttentionRow& row, FloatLanes logits, FloatLanes keys) const
//       the new logits of sixteen keys, whose positions are `keys`; `logits` are scaled by sm_scale
//   LaneMask Visible(const AttentionRow& row, FloatLanes keys) const
//       which of them the row sees, of those that the causal mask and the window leave
//   static constexpr bool kUseSoftmax
//       false: the logits are the weights (a masked one 0), and their sum is not divided out
//
// and members, its parameters. It must be trivially copyable: it is read where it lies, by any
// thread. Lanes have + - * / and < <= > >= ==, masks have & | and !; Exp, Tanh, Min, Max, Abs and
// Select(mask, a, b) take lanes.

#if defined(KVASIR_ATTENTION_VARIANT_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef KVASIR_ATTENTION_VARIANT_INL_H_
#undef KVASIR_ATTENTION_VARIANT_INL_H_
#else
#define KVASIR_ATTENTION_VARIANT_INL_H_
#endif

#include <concepts>
#include <limits>
#include <type_traits>

#include "kvasir/attention/softmax-inl.h"
#include "kvasir/attention/variant.h"
#include "kvasir/kernels/exp-inl.h"
#include "kvasir/kernels/lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace kvasir {
namespace HWY_NAMESPACE {

// One bit for each of sixteen lanes.
struct LaneMask {
  hn::Mask<FloatTag> part[kParts];
};

HWY_INLINE FloatLanes operator+(const FloatLanes& a, const FloatLanes& b) { return Add(a, b); }
HWY_INLINE FloatLanes operator-(const FloatLanes& a, const FloatLanes& b) { return Sub(a, b); }
HWY_INLINE FloatLanes operator*(const FloatLanes& a, const FloatLanes& b) { return Mul(a, b); }
HWY_INLINE FloatLanes operator/(const FloatLanes& a, const FloatLanes& b) { return Div(a, b); }
HWY_INLINE FloatLanes operator+(const FloatLanes& a, float b) { return Add(a, SetLanes(b)); }
HWY_INLINE FloatLanes operator-(const FloatLanes& a, float b) { return Sub(a, SetLanes(b)); }
HWY_INLINE FloatLanes operator*(const FloatLanes& a, float b) { return Mul(a, SetLanes(b)); }
HWY_INLINE FloatLanes operator/(const FloatLanes& a, float b) { return Div(a, SetLanes(b)); }
HWY_INLINE FloatLanes operator+(float a, const FloatLanes& b) { return Add(SetLanes(a), b); }
HWY_INLINE FloatLanes operator-(float a, const FloatLanes& b) { return Sub(SetLanes(a), b); }
HWY_INLINE FloatLanes operator*(float a, const FloatLanes& b) { return Mul(SetLanes(a), b); }
HWY_INLINE FloatLanes operator/(float a, const FloatLanes& b) { return Div(SetLanes(a), b); }
HWY_INLINE FloatLanes operator-(const FloatLanes& a) { return Sub(ZeroLanes(), a); }

#define KVASIR_LANE_COMPARISON(op, Function)                                  \
  HWY_INLINE LaneMask operator op(const FloatLanes& a, const FloatLanes& b) { \
    LaneMask r;                                                               \
    KVASIR_FOR_PARTS(i) r.part[i] = hn::Function(a.part[i], b.part[i]);       \
    return r;                                                                 \
  }                                                                           \
  HWY_INLINE LaneMask operator op(const FloatLanes& a, float b) { return a op SetLanes(b); }
KVASIR_LANE_COMPARISON(<, Lt)
KVASIR_LANE_COMPARISON(<=, Le)
KVASIR_LANE_COMPARISON(>, Gt)
KVASIR_LANE_COMPARISON(>=, Ge)
KVASIR_LANE_COMPARISON(==, Eq)
#undef KVASIR_LANE_COMPARISON

HWY_INLINE LaneMask operator&(const LaneMask& a, const LaneMask& b) {
  LaneMask r;
  KVASIR_FOR_PARTS(i) r.part[i] = hn::And(a.part[i], b.part[i]);
  return r;
}
HWY_INLINE LaneMask operator|(const LaneMask& a, const LaneMask& b) {
  LaneMask r;
  KVASIR_FOR_PARTS(i) r.part[i] = hn::Or(a.part[i], b.part[i]);
  return r;
}
HWY_INLINE LaneMask operator!(const LaneMask& a) {
  LaneMask r;
  KVASIR_FOR_PARTS(i) r.part[i] = hn::Not(a.part[i]);
  return r;
}
HWY_INLINE FloatLanes Select(const LaneMask& mask, const FloatLanes& a, const FloatLanes& b) {
  FloatLanes r;
  KVASIR_FOR_PARTS(i) r.part[i] = hn::IfThenElse(mask.part[i], a.part[i], b.part[i]);
  return r;
}
// exp(x), clamped to what f32 holds: 0 below -87.3, 1.6e38 above 88.
HWY_INLINE FloatLanes Exp(const FloatLanes& x) {
  const SplitExp exp = ExpInParts(Min(Max(x, SetLanes(-87.3f)), SetLanes(88.0f)));
  const FloatLanes value = MulAdd(exp.scale, exp.minus_one, exp.scale);
  return Select(x < -87.3f, ZeroLanes(), value);
}

template <class V>
concept HasLogits = requires(const V& v, const AttentionRow& row, const FloatLanes& lanes) {
  { v.Logits(row, lanes, lanes) } -> std::same_as<FloatLanes>;
};
template <class V>
concept HasVisible = requires(const V& v, const AttentionRow& row, const FloatLanes& lanes) {
  { v.Visible(row, lanes) } -> std::same_as<LaneMask>;
};
template <class V>
concept AttentionVariantStruct = std::is_trivially_copyable_v<V> &&(HasLogits<V> || HasVisible<V>);

template <class V>
constexpr bool UsesSoftmax() {
  if constexpr (requires { V::kUseSoftmax; }) return V::kUseSoftmax;
  return true;
}

// The softmax step with the hooks of V.
template <AttentionVariantStruct V>
HWY_INLINE void VariantSoftmax(const V& variant, const AttentionRow& row, SoftmaxSpan* span) {
  const FloatLanes masked =
      SetLanes(UsesSoftmax<V>() ? -std::numeric_limits<float>::infinity() : 0.0f);
  for (size_t t = FirstLane(*span); t < LastLane(*span); t += kLaneCount) {
    const FloatLanes keys = KeyPositions(span->first_key + int32_t(t));
    FloatLanes logits = LoadLanes(span->scores + t);
    if constexpr (HasLogits<V>) logits = variant.Logits(row, logits, keys);
    if constexpr (HasVisible<V>) logits = Select(variant.Visible(row, keys), logits, masked);
    StoreLanes(logits, span->scores + t);
  }
  if constexpr (UsesSoftmax<V>()) {
    WeighLogits(span);
  } else {
    // A reference of 0 in every split: merging adds outputs as they are.
    FillRagged(*span, 0.0f);
    span->max = 0;
    span->sum = 1;
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace kvasir
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard

// KVASIR_ATTENTION_VARIANT(Name), inside namespace kvasir::HWY_NAMESPACE behind the struct Name,
// compiles the struct for the target. KVASIR_EXPORT_ATTENTION_VARIANT(Name), inside namespace
// kvasir under HWY_ONCE, defines AttentionVariant Name##Variant(const HWY_NAMESPACE::Name& params):
// the parameters must outlive the plans that use the variant.
#ifndef KVASIR_ATTENTION_VARIANT
#define KVASIR_ATTENTION_VARIANT(Name)                                                 \
  void Name##Softmax(const void* params, const AttentionRow& row, SoftmaxSpan* span) { \
    VariantSoftmax(*static_cast<const Name*>(params), row, span);                      \
  }
#define KVASIR_EXPORT_ATTENTION_VARIANT(Name)                                                    \
  HWY_EXPORT(Name##Softmax);                                                                     \
  void Name##DispatchedSoftmax(const void* params, const AttentionRow& row, SoftmaxSpan* span) { \
    HWY_DYNAMIC_DISPATCH(Name##Softmax)(params, row, span);                                      \
  }                                                                                              \
  AttentionVariant Name##Variant(const HWY_NAMESPACE::Name& params) {                            \
    return {.softmax = Name##DispatchedSoftmax,                                                  \
            .params = &params,                                                                   \
            .use_softmax = HWY_NAMESPACE::UsesSoftmax<HWY_NAMESPACE::Name>()};                   \
  }
#endif
