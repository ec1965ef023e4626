// Elementwise kernels: what a transformer does to single rows between its matrix products. Each
// works on one row (or on rows one by one), in sixteen lanes and a fixed order, so that a row's
// result never depends on its neighbours. Pure functions over views; call them from any thread.

#ifndef KVASIR_KERNELS_ELEMENTWISE_H_
#define KVASIR_KERNELS_ELEMENTWISE_H_

#include <cstddef>
#include <cstdint>
#include <span>

#include "kvasir/base/matrix_view.h"

namespace kvasir {

// out[i] = x[i] / sqrt(mean(x^2) + eps) * weight[i] (Zhang & Sennrich 2019, arXiv 1910.07467). out
// may be x.
void RmsNorm(std::span<const float> x, const float* weight, float eps, float* out);

// residual[i] += the RmsNorm of x (Gemma's norms after attention and MLP).
void AddRmsNorm(std::span<const float> x, const float* weight, float eps, float* residual);

// out[i] = silu(gate[i]) * up[i], silu(x) = x / (1 + exp(-x)) (SwiGLU; Shazeer 2020, arXiv
// 2002.05202). out may be gate.
void SiluMul(std::span<const float> gate, const float* up, float* out);

// out[i] = gelu(gate[i]) * up[i] with the tanh form of GELU (GeGLU). out may be gate.
void GeluTanhMul(std::span<const float> gate, const float* up, float* out);

// x[i] = cap * tanh(x[i] / cap), in place.
void SoftCap(float cap, std::span<float> x);

// x[i] *= factor, in place.
void Scale(float factor, std::span<float> x);

}  // namespace kvasir

#endif  // KVASIR_KERNELS_ELEMENTWISE_H_
