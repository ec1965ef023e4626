// The merge of attention states (state.h), in sixteen lanes. Included once per target.

#if defined(KVASIR_ATTENTION_STATE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef KVASIR_ATTENTION_STATE_INL_H_
#undef KVASIR_ATTENTION_STATE_INL_H_
#else
#define KVASIR_ATTENTION_STATE_INL_H_
#endif

#include <cstring>
#include <limits>

#include "kvasir/attention/state.h"
#include "kvasir/kernels/exp-inl.h"
#include "kvasir/kernels/lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace kvasir {
namespace HWY_NAMESPACE {

HWY_INLINE void MergeRow(const float* from, float from_weight, float* into, float into_weight,
                         size_t stride) {
  const FloatLanes a = SetLanes(into_weight), b = SetLanes(from_weight);
  for (size_t d = 0; d < stride; d += kLaneCount) {
    StoreLanes(MulAdd(b, LoadLanes(from + d), Mul(a, LoadLanes(into + d))), into + d);
  }
}

HWY_INLINE void MergeStates(const AttentionStates& from, const AttentionStates& into) {
  constexpr float kNoKeys = -std::numeric_limits<float>::infinity();
  const size_t stride = into.out_stride;
  for (size_t first = 0; first < into.row_count; first += kLaneCount) {
    const size_t count = HWY_MIN(into.row_count - first, kLaneCount);
    const FloatLanes into_max = LoadLanes(into.max + first);
    const FloatLanes from_max = LoadLanes(from.max + first);
    // Kept finite, so that two empty states give exp(-inf) = 0 and not exp(-inf + inf) = NaN.
    const FloatLanes max =
        Max(Max(into_max, from_max), SetLanes(std::numeric_limits<float>::lowest()));
    const FloatLanes into_weight = ExpOfNonPositive(Sub(into_max, max));
    const FloatLanes from_weight = ExpOfNonPositive(Sub(from_max, max));
    const FloatLanes sum = MulAdd(from_weight, LoadLanes(from.sum + first),
                                  Mul(into_weight, LoadLanes(into.sum + first)));
    float into_weights[kLaneCount], from_weights[kLaneCount], sums[kLaneCount], maxima[kLaneCount];
    StoreLanes(into_weight, into_weights);
    StoreLanes(from_weight, from_weights);
    StoreLanes(sum, sums);
    StoreLanes(max, maxima);
    for (size_t i = 0; i < count; ++i) {
      const size_t row = first + i;
      if (from.max[row] == kNoKeys) continue;
      float* into_out = into.out + row * stride;
      const float* from_out = from.out + row * stride;
      if (into.max[row] == kNoKeys) {
        std::memcpy(into_out, from_out, stride * sizeof(float));
        into.max[row] = from.max[row];
        into.sum[row] = from.sum[row];
      } else {
        MergeRow(from_out, from_weights[i], into_out, into_weights[i], stride);
        into.max[row] = maxima[i];
        into.sum[row] = sums[i];
      }
    }
  }
}

// Merges a row with the state of one more key, of logit `sink` and value 0; -inf is no key.
HWY_INLINE void AddSink(float sink, const AttentionStates& states, size_t row) {
  constexpr float kNoKeys = -std::numeric_limits<float>::infinity();
  if (sink == kNoKeys) return;
  float* out = states.out + row * states.out_stride;
  if (states.max[row] == kNoKeys) {
    std::memset(out, 0, states.out_stride * sizeof(float));
    states.max[row] = sink;
    states.sum[row] = 1;
    return;
  }
  const float max = HWY_MAX(states.max[row], sink);
  float weights[kLaneCount], sink_weights[kLaneCount];
  StoreLanes(ExpOfNonPositive(SetLanes(states.max[row] - max)), weights);
  StoreLanes(ExpOfNonPositive(SetLanes(sink - max)), sink_weights);
  for (size_t d = 0; d < states.out_stride; d += kLaneCount) {
    StoreLanes(Mul(SetLanes(weights[0]), LoadLanes(out + d)), out + d);
  }
  states.sum[row] = states.sum[row] * weights[0] + sink_weights[0];
  states.max[row] = max;
}

HWY_INLINE void FinishRow(const AttentionStates& states, size_t row, size_t head_dim, float* out) {
  const float sum = states.sum[row];
  if (sum == 0) {
    std::memset(out, 0, head_dim * sizeof(float));
    return;
  }
  const float* from = states.out + row * states.out_stride;
  size_t d = 0;
  for (; d + kLaneCount <= head_dim; d += kLaneCount) {
    StoreLanes(Div(LoadLanes(from + d), SetLanes(sum)), out + d);
  }
  for (; d < head_dim; ++d) out[d] = from[d] / sum;
}

}  // namespace HWY_NAMESPACE
}  // namespace kvasir
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
