#include "kvasir/kernels/hadamard.h"

#include <cmath>
#include <string>

#include "kvasir/base/check.h"
#include "kvasir/kernels/highway_targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kvasir/kernels/hadamard.cc"
#include <hwy/foreach_target.h>
// The lanes need the target chosen above.
#include "kvasir/kernels/lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace kvasir {
namespace HWY_NAMESPACE {

// One round between lanes of a register that are `kStride` apart: lane i becomes x[i] + x[i ^
// stride] where the bit of the stride is clear, x[i ^ stride] - x[i] where it is set.
template <size_t kStride>
HWY_INLINE hn::Vec<FloatTag> RoundInRegister(hn::Vec<FloatTag> x) {
  alignas(64) int32_t partners[kPartLanes];
  alignas(64) float signs[kPartLanes];
  for (size_t i = 0; i < kPartLanes; ++i) {
    partners[i] = int32_t(i ^ kStride);
    signs[i] = i & kStride ? -0.0f : 0.0f;
  }
  const FloatTag tag;
  const auto other = hn::TableLookupLanes(x, hn::SetTableIndices(tag, partners));
  return hn::Add(other, hn::Xor(x, hn::Load(tag, signs)));
}

template <size_t kStride>
HWY_INLINE void RoundInLanes(FloatLanes* x) {
  if constexpr (kStride < kPartLanes) {
    KVASIR_FOR_PARTS(i) x->part[i] = RoundInRegister<kStride>(x->part[i]);
  } else {
    constexpr size_t kPartStride = kStride / kPartLanes;
    KVASIR_FOR_PARTS(i) {
      if (i & kPartStride) continue;
      const auto low = x->part[i], high = x->part[i ^ kPartStride];
      x->part[i] = hn::Add(low, high);
      x->part[i ^ kPartStride] = hn::Sub(low, high);
    }
  }
}

HWY_INLINE FloatLanes TransformLanes(FloatLanes x) {
  RoundInLanes<1>(&x);
  RoundInLanes<2>(&x);
  RoundInLanes<4>(&x);
  RoundInLanes<8>(&x);
  return x;
}

// Rounds between sixteens that are `stride` numbers apart.
HWY_INLINE void RoundInMemory(size_t count, size_t stride, float* x) {
  for (size_t first = 0; first < count; first += 2 * stride) {
    for (size_t i = first; i < first + stride; i += kLaneCount) {
      const FloatLanes low = LoadLanes(x + i), high = LoadLanes(x + i + stride);
      StoreLanes(Add(low, high), x + i);
      StoreLanes(Sub(low, high), x + i + stride);
    }
  }
}

void Hadamard(size_t part_count, size_t dims, float scale, float* x) {
  const FloatLanes factor = SetLanes(scale);
  for (size_t part = 0; part < part_count; ++part, x += dims) {
    for (size_t i = 0; i < dims; i += kLaneCount) {
      StoreLanes(Mul(TransformLanes(LoadLanes(x + i)), factor), x + i);
    }
    for (size_t stride = kLaneCount; stride < dims; stride *= 2) RoundInMemory(dims, stride, x);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace kvasir
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace kvasir {

namespace {
HWY_EXPORT(Hadamard);
}  // namespace

uint32_t HadamardDims(uint32_t head_dim) { return head_dim & (~head_dim + 1); }

Status CheckHadamard(uint32_t head_dim) {
  if (HadamardDims(head_dim) >= 16) return OkStatus();
  return InvalidArgument("head_dim is " + std::to_string(head_dim) +
                         ", rotated keys and values need a multiple of 16");
}

void HadamardHeads(uint32_t head_count, uint32_t head_dim, float* heads) {
  const uint32_t dims = HadamardDims(head_dim);
  KVASIR_CHECK(dims >= 16);
  const float scale = 1 / std::sqrt(static_cast<float>(dims));
  HWY_DYNAMIC_DISPATCH(Hadamard)(size_t{head_count} * (head_dim / dims), dims, scale, heads);
}

}  // namespace kvasir
#endif  // HWY_ONCE
