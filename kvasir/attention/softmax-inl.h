// The softmax of one row within one split: logits become weights exp(s - max), in place. Included
// once per target.

#if defined(KVASIR_ATTENTION_SOFTMAX_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef KVASIR_ATTENTION_SOFTMAX_INL_H_
#undef KVASIR_ATTENTION_SOFTMAX_INL_H_
#else
#define KVASIR_ATTENTION_SOFTMAX_INL_H_
#endif

#include <cstddef>
#include <limits>

#include "kvasir/kernels/exp-inl.h"
#include "kvasir/kernels/lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace kvasir {
namespace HWY_NAMESPACE {

// Turns scores[begin .. end) into weights and returns their sum and the largest logit. The sum runs
// in 16 lanes, token t in lane t % 16 of the split, and ends in one fixed tree, so that it does not
// depend on where the visible range begins. begin < end <= kKvSplitTokens.
HWY_INLINE void SoftmaxRow(float* scores, size_t begin, size_t end, float logits_soft_cap,
                           float* max_out, float* sum_out) {
  constexpr float kMasked = -std::numeric_limits<float>::infinity();
  const size_t first = begin / kLaneCount * kLaneCount;
  const size_t last = (end + kLaneCount - 1) / kLaneCount * kLaneCount;
  if (logits_soft_cap > 0) {
    const FloatLanes cap = SetLanes(logits_soft_cap), inverse = SetLanes(1.0f / logits_soft_cap);
    for (size_t t = first; t < last; t += kLaneCount) {
      StoreLanes(Mul(cap, Tanh(Mul(LoadLanes(scores + t), inverse))), scores + t);
    }
  }
  for (size_t t = first; t < begin; ++t) scores[t] = kMasked;
  for (size_t t = end; t < last; ++t) scores[t] = kMasked;

  FloatLanes max_lanes = SetLanes(kMasked);
  for (size_t t = first; t < last; t += kLaneCount) {
    max_lanes = Max(max_lanes, LoadLanes(scores + t));
  }
  const float max = MaxOfLanes(max_lanes);
  const FloatLanes max_all = SetLanes(max);
  FloatLanes sum = ZeroLanes();
  for (size_t t = first; t < last; t += kLaneCount) {
    const FloatLanes weight = ExpOfNonPositive(Sub(LoadLanes(scores + t), max_all));
    sum = Add(sum, weight);
    StoreLanes(weight, scores + t);
  }
  *max_out = max;
  *sum_out = SumOfLanes(sum);
}

}  // namespace HWY_NAMESPACE
}  // namespace kvasir
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
