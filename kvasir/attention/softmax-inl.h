// The softmax of one row within one split: logits become weights exp(s - max), in place, after the
// built-in changes of logits (ALiBi, soft cap, custom mask). Variants of users' own have the same
// shape (variant-inl.h). Included once per target.

#if defined(KVASIR_ATTENTION_SOFTMAX_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef KVASIR_ATTENTION_SOFTMAX_INL_H_
#undef KVASIR_ATTENTION_SOFTMAX_INL_H_
#else
#define KVASIR_ATTENTION_SOFTMAX_INL_H_
#endif

#include <cstddef>
#include <limits>

#include "kvasir/attention/attention_spec.h"
#include "kvasir/attention/variant.h"
#include "kvasir/kernels/exp-inl.h"
#include "kvasir/kernels/lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace kvasir {
namespace HWY_NAMESPACE {

// Scores are looked at sixteen at a time; these are the first and the end of the runs that hold
// the keys of a span.
HWY_INLINE size_t FirstLane(const SoftmaxSpan& span) {
  return span.begin / kLaneCount * kLaneCount;
}
HWY_INLINE size_t LastLane(const SoftmaxSpan& span) {
  return (span.end + kLaneCount - 1) / kLaneCount * kLaneCount;
}

// Positions key .. key + 15 as numbers, exact up to 2^24.
HWY_INLINE FloatLanes KeyPositions(int32_t key) {
  FloatLanes r;
  KVASIR_FOR_PARTS(i) r.part[i] = hn::Iota(FloatTag(), float(key + int32_t(i * kPartLanes)));
  return r;
}

// `value` in the scores of a span's runs that lie outside [begin, end).
HWY_INLINE void FillRagged(const SoftmaxSpan& span, float value) {
  for (size_t t = FirstLane(span); t < span.begin; ++t) span.scores[t] = value;
  for (size_t t = span.end; t < LastLane(span); ++t) span.scores[t] = value;
}

// Turns logits into weights, and sets their sum and the largest logit. The sum runs in 16 lanes,
// token t in lane t % 16 of the split, and ends in one fixed tree, so that it does not depend on
// where the visible range begins. begin < end <= kKvSplitTokens.
HWY_INLINE void WeighLogits(SoftmaxSpan* span) {
  constexpr float kMasked = -std::numeric_limits<float>::infinity();
  const size_t first = FirstLane(*span), last = LastLane(*span);
  float* scores = span->scores;
  FillRagged(*span, kMasked);
  FloatLanes max_lanes = SetLanes(kMasked);
  for (size_t t = first; t < last; t += kLaneCount) {
    max_lanes = Max(max_lanes, LoadLanes(scores + t));
  }
  span->max = MaxOfLanes(max_lanes);
  const FloatLanes max_all = SetLanes(span->max);
  FloatLanes sum = ZeroLanes();
  for (size_t t = first; t < last; t += kLaneCount) {
    const FloatLanes weight = ExpOfNonPositive(Sub(LoadLanes(scores + t), max_all));
    sum = Add(sum, weight);
    StoreLanes(weight, scores + t);
  }
  span->sum = SumOfLanes(sum);
}

// The custom mask of one row: bit `bit` of the segment [data, data + byte_count) is its key 0.
struct MaskRow {
  const uint8_t* data;
  size_t byte_count;
  size_t bit;

  // The bits of keys key .. key + 15, those beyond the segment 0.
  uint32_t Bits(size_t key) const {
    const size_t first = bit + key, byte = first / 8;
    uint32_t bits = 0;
    for (size_t i = 0; i < 3 && byte + i < byte_count; ++i) {
      bits |= uint32_t(data[byte + i]) << (8 * i);
    }
    return bits >> (first % 8);
  }
};

HWY_INLINE void MaskScores(const MaskRow& mask, const SoftmaxSpan& span) {
  const FloatLanes masked = SetLanes(-std::numeric_limits<float>::infinity());
  for (size_t t = FirstLane(span); t < LastLane(span); t += kLaneCount) {
    const uint32_t bits = mask.Bits(size_t(span.first_key) + t);
    if ((bits & 0xFFFF) == 0xFFFF) continue;
    FloatLanes scores = LoadLanes(span.scores + t);
    KVASIR_FOR_PARTS(i) {
      // Bit i of each lane's own: all ones times a power of two.
      const auto lane_bits = hn::Set(IntTag(), int32_t(bits >> (i * kPartLanes)));
      const auto powers = hn::Shl(hn::Set(IntTag(), 1), hn::Iota(IntTag(), 0));
      const auto seen = hn::RebindMask(FloatTag(), hn::TestBit(lane_bits, powers));
      scores.part[i] = hn::IfThenElse(seen, scores.part[i], masked.part[i]);
    }
    StoreLanes(scores, span.scores + t);
  }
}

HWY_INLINE void BuiltInSoftmax(const AttentionSpec& spec, const AttentionRow& row,
                               SoftmaxSpan* span) {
  const size_t first = FirstLane(*span), last = LastLane(*span);
  float* scores = span->scores;
  if (!spec.alibi_slopes.empty()) {
    const FloatLanes slope = SetLanes(spec.alibi_slopes[size_t(row.qo_head)]);
    const FloatLanes position = SetLanes(float(row.position()));
    for (size_t t = first; t < last; t += kLaneCount) {
      const FloatLanes distance = Sub(KeyPositions(span->first_key + int32_t(t)), position);
      StoreLanes(MulAdd(slope, distance, LoadLanes(scores + t)), scores + t);
    }
  }
  if (spec.logits_soft_cap > 0) {
    const FloatLanes cap = SetLanes(spec.logits_soft_cap);
    const FloatLanes inverse = SetLanes(1.0f / spec.logits_soft_cap);
    for (size_t t = first; t < last; t += kLaneCount) {
      StoreLanes(Mul(cap, Tanh(Mul(LoadLanes(scores + t), inverse))), scores + t);
    }
  }
  if (!spec.packed_custom_mask.empty()) {
    const size_t begin = size_t(spec.mask_indptr[size_t(row.sequence)]);
    const size_t end = size_t(spec.mask_indptr[size_t(row.sequence) + 1]);
    MaskScores({.data = spec.packed_custom_mask.data() + begin,
                .byte_count = end - begin,
                .bit = size_t(row.q_index) * size_t(row.kv_len)},
               *span);
  }
  WeighLogits(span);
}

}  // namespace HWY_NAMESPACE
}  // namespace kvasir
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
