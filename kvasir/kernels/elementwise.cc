#include "kvasir/kernels/elementwise.h"

#include <cmath>

#include "kvasir/kernels/highway_targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kvasir/kernels/elementwise.cc"
#include <hwy/foreach_target.h>
// The lanes need the target chosen above.
#include "kvasir/kernels/exp-inl.h"
#include "kvasir/kernels/lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace kvasir {
namespace HWY_NAMESPACE {

// Calls body(i, load, store) for each run of sixteen elements; the last, partial one goes through a
// padded copy so that every element meets the same instructions. load(pointer) gives sixteen
// elements (zeros beyond the end), store(lanes, pointer) writes those that exist.
template <typename Body>
HWY_INLINE void ForEachLanes(size_t count, const Body& body) {
  size_t i = 0;
  for (; i + kLaneCount <= count; i += kLaneCount) {
    body(
        i, [](const float* from) { return LoadLanes(from); },
        [](const FloatLanes& x, float* to) { StoreLanes(x, to); });
  }
  if (i == count) return;
  const size_t rest = count - i;
  body(
      i,
      [rest](const float* from) {
        alignas(64) float padded[kLaneCount] = {};
        for (size_t j = 0; j < rest; ++j) padded[j] = from[j];
        return LoadLanes(padded);
      },
      [rest](const FloatLanes& x, float* to) {
        alignas(64) float padded[kLaneCount];
        StoreLanes(x, padded);
        for (size_t j = 0; j < rest; ++j) to[j] = padded[j];
      });
}

// 1 / sqrt(mean(x^2) + eps): squares summed in sixteen lanes, lanes by the fixed tree.
HWY_INLINE float InverseRms(const float* x, size_t count, float eps) {
  FloatLanes sum = ZeroLanes();
  ForEachLanes(count, [&](size_t i, auto load, auto) {
    const FloatLanes value = load(x + i);
    sum = MulAdd(value, value, sum);
  });
  return 1.0f / std::sqrt(SumOfLanes(sum) / static_cast<float>(count) + eps);
}

void RmsNormRow(const float* x, size_t count, const float* weight, float eps, float* out) {
  const FloatLanes inverse = SetLanes(InverseRms(x, count, eps));
  ForEachLanes(count, [&](size_t i, auto load, auto store) {
    store(Mul(Mul(load(x + i), inverse), load(weight + i)), out + i);
  });
}

void AddRmsNormRow(const float* x, size_t count, const float* weight, float eps, float* residual) {
  const FloatLanes inverse = SetLanes(InverseRms(x, count, eps));
  ForEachLanes(count, [&](size_t i, auto load, auto store) {
    const FloatLanes normed = Mul(Mul(load(x + i), inverse), load(weight + i));
    store(Add(load(residual + i), normed), residual + i);
  });
}

// x * sigmoid(x), from exp(-|x|) so that nothing overflows.
HWY_INLINE FloatLanes Silu(const FloatLanes& x) {
  const FloatLanes e = ExpOfNonPositive(Sub(ZeroLanes(), Abs(x)));
  FloatLanes numerator;
  KVASIR_FOR_PARTS(i) {
    const auto negative = hn::Lt(x.part[i], hn::Zero(FloatTag()));
    numerator.part[i] = hn::IfThenElse(negative, hn::Mul(x.part[i], e.part[i]), x.part[i]);
  }
  return Div(numerator, Add(SetLanes(1.0f), e));
}

// x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3))).
HWY_INLINE FloatLanes GeluTanh(const FloatLanes& x) {
  const FloatLanes cubed = Mul(Mul(x, x), x);
  const FloatLanes inner = Mul(SetLanes(0.7978845608f), MulAdd(SetLanes(0.044715f), cubed, x));
  return Mul(Mul(SetLanes(0.5f), x), Add(SetLanes(1.0f), Tanh(inner)));
}

void SiluMulRow(const float* gate, size_t count, const float* up, float* out) {
  ForEachLanes(count, [&](size_t i, auto load, auto store) {
    store(Mul(Silu(load(gate + i)), load(up + i)), out + i);
  });
}

void GeluTanhMulRow(const float* gate, size_t count, const float* up, float* out) {
  ForEachLanes(count, [&](size_t i, auto load, auto store) {
    store(Mul(GeluTanh(load(gate + i)), load(up + i)), out + i);
  });
}

void SoftCapRow(float cap, float* x, size_t count) {
  const FloatLanes caps = SetLanes(cap);
  ForEachLanes(count, [&](size_t i, auto load, auto store) {
    store(Mul(caps, Tanh(Div(load(x + i), caps))), x + i);
  });
}

void ScaleRow(float factor, float* x, size_t count) {
  const FloatLanes factors = SetLanes(factor);
  ForEachLanes(count,
               [&](size_t i, auto load, auto store) { store(Mul(load(x + i), factors), x + i); });
}

}  // namespace HWY_NAMESPACE
}  // namespace kvasir
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace kvasir {

HWY_EXPORT(RmsNormRow);
HWY_EXPORT(AddRmsNormRow);
HWY_EXPORT(SiluMulRow);
HWY_EXPORT(GeluTanhMulRow);
HWY_EXPORT(SoftCapRow);
HWY_EXPORT(ScaleRow);

void RmsNorm(std::span<const float> x, const float* weight, float eps, float* out) {
  HWY_DYNAMIC_DISPATCH(RmsNormRow)(x.data(), x.size(), weight, eps, out);
}

void AddRmsNorm(std::span<const float> x, const float* weight, float eps, float* residual) {
  HWY_DYNAMIC_DISPATCH(AddRmsNormRow)(x.data(), x.size(), weight, eps, residual);
}

void SiluMul(std::span<const float> gate, const float* up, float* out) {
  HWY_DYNAMIC_DISPATCH(SiluMulRow)(gate.data(), gate.size(), up, out);
}

void GeluTanhMul(std::span<const float> gate, const float* up, float* out) {
  HWY_DYNAMIC_DISPATCH(GeluTanhMulRow)(gate.data(), gate.size(), up, out);
}

void SoftCap(float cap, std::span<float> x) {
  HWY_DYNAMIC_DISPATCH(SoftCapRow)(cap, x.data(), x.size());
}

void Scale(float factor, std::span<float> x) {
  HWY_DYNAMIC_DISPATCH(ScaleRow)(factor, x.data(), x.size());
}

}  // namespace kvasir
#endif  // HWY_ONCE
