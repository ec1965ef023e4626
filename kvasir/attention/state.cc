#include "kvasir/attention/state.h"

#include <cmath>
#include <limits>

#include "kvasir/base/check.h"
#include "kvasir/kernels/highway_targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kvasir/attention/state.cc"
// Must come after the choice of targets and before everything else of Highway.
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kvasir/attention/state-inl.h"

HWY_BEFORE_NAMESPACE();
namespace kvasir {
namespace HWY_NAMESPACE {

void MergeStatesCall(const AttentionStates& from, const AttentionStates& into) {
  MergeStates(from, into);
}

void FinishRowCall(const AttentionStates& states, size_t row, size_t head_dim, float* out) {
  FinishRow(states, row, head_dim, out);
}

}  // namespace HWY_NAMESPACE
}  // namespace kvasir
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace kvasir {

namespace {

size_t RoundUpToLanes(size_t count) { return (count + 15) / 16 * 16; }

}  // namespace

size_t AttentionStates::FloatCount(size_t row_count, size_t head_dim) {
  return 2 * RoundUpToLanes(row_count) + row_count * RoundUpToLanes(head_dim);
}

AttentionStates AttentionStates::At(float* memory, size_t row_count, size_t head_dim) {
  AttentionStates states;
  states.row_count = row_count;
  states.out_stride = RoundUpToLanes(head_dim);
  states.max = memory;
  states.sum = states.max + RoundUpToLanes(row_count);
  states.out = states.sum + RoundUpToLanes(row_count);
  return states;
}

void ClearAttentionStates(const AttentionStates& states) {
  for (size_t row = 0; row < states.row_count; ++row) {
    states.max[row] = -std::numeric_limits<float>::infinity();
    states.sum[row] = 0;
  }
}

HWY_EXPORT(MergeStatesCall);
HWY_EXPORT(FinishRowCall);

void MergeAttentionStates(const AttentionStates& from, const AttentionStates& into) {
  KVASIR_CHECK(from.row_count == into.row_count && from.out_stride == into.out_stride);
  HWY_DYNAMIC_DISPATCH(MergeStatesCall)(from, into);
}

float FinishAttentionState(const AttentionStates& states, size_t row, size_t head_dim, float* out) {
  KVASIR_CHECK(row < states.row_count && head_dim <= states.out_stride);
  HWY_DYNAMIC_DISPATCH(FinishRowCall)(states, row, head_dim, out);
  return states.max[row] + std::log(states.sum[row]);
}

}  // namespace kvasir
#endif  // HWY_ONCE
