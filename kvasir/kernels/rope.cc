#include "kvasir/kernels/rope.h"

#include <cmath>

#include "kvasir/kernels/highway_targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kvasir/kernels/rope.cc"
#include <hwy/foreach_target.h>
// The lanes need the target chosen above.
#include "kvasir/kernels/lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace kvasir {
namespace HWY_NAMESPACE {

// (a, b) -> (a cos - b sin, b cos + a sin) for one head.
HWY_INLINE void RotateHead(const float* cosines, const float* sines, size_t half_dim, float* a,
                           float* b) {
  size_t i = 0;
  for (; i + kLaneCount <= half_dim; i += kLaneCount) {
    const FloatLanes c = LoadLanes(cosines + i), s = LoadLanes(sines + i);
    const FloatLanes x = LoadLanes(a + i), y = LoadLanes(b + i);
    StoreLanes(Sub(Mul(x, c), Mul(y, s)), a + i);
    StoreLanes(Add(Mul(y, c), Mul(x, s)), b + i);
  }
  for (; i < half_dim; ++i) {
    const float x = a[i], y = b[i];
    a[i] = x * cosines[i] - y * sines[i];
    b[i] = y * cosines[i] + x * sines[i];
  }
}

void RotateHeads(const float* cosines, const float* sines, size_t half_dim, size_t head_count,
                 size_t head_dim, float* x) {
  for (size_t h = 0; h < head_count; ++h) {
    float* head = x + h * head_dim;
    RotateHead(cosines, sines, half_dim, head, head + half_dim);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace kvasir
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace kvasir {

HWY_EXPORT(RotateHeads);

void RopeAngles(std::span<const float> inverse_frequency, int32_t position, float* cosines,
                float* sines) {
  for (size_t i = 0; i < inverse_frequency.size(); ++i) {
    const double angle = double(position) * double(inverse_frequency[i]);
    cosines[i] = static_cast<float>(std::cos(angle));
    sines[i] = static_cast<float>(std::sin(angle));
  }
}

void RopeRow(const float* cosines, const float* sines, size_t half_dim, size_t head_count,
             size_t head_dim, float* x) {
  HWY_DYNAMIC_DISPATCH(RotateHeads)(cosines, sines, half_dim, head_count, head_dim, x);
}

}  // namespace kvasir
#endif  // HWY_ONCE
