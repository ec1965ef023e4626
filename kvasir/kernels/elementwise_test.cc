#include "kvasir/kernels/elementwise.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <vector>

#include "kvasir/kernels/cpu_target.h"
#include "kvasir/kernels/rope.h"

namespace kvasir {
namespace {

std::vector<float> Random(size_t count, uint32_t seed, float scale = 1) {
  std::mt19937 rng(seed);
  std::normal_distribution<float> normal(0, scale);
  std::vector<float> x(count);
  for (float& v : x) v = normal(rng);
  return x;
}

// Calls check(target) on every target; whatever it returns must be equal within a numerics class.
template <typename Check>
void OnEveryTarget(const Check& check) {
  std::vector<float> first;
  for (const CpuTarget target : SupportedCpuTargets()) {
    ScopedCpuTarget scoped(target);
    const std::vector<float> result = check();
    if (NumericsClass(target) != NumericsClass(SupportedCpuTargets().back())) continue;
    if (first.empty()) first = result;
    EXPECT_EQ(result, first) << CpuTargetName(target);
  }
}

TEST(ElementwiseTest, RmsNormAgreesWithFloat64) {
  for (const size_t count : {1, 7, 16, 64, 100, 576}) {
    const std::vector<float> x = Random(count, 1, 3), weight = Random(count, 2);
    OnEveryTarget([&] {
      std::vector<float> out(count), residual = Random(count, 3);
      const std::vector<float> before = residual;
      RmsNorm(x, weight.data(), 1e-5f, out.data());
      AddRmsNorm(x, weight.data(), 1e-5f, residual.data());
      double squares = 0;
      for (const float v : x) squares += double(v) * v;
      for (size_t i = 0; i < count; ++i) {
        const double expected = x[i] / std::sqrt(squares / count + 1e-5) * weight[i];
        EXPECT_NEAR(out[i], expected, 1e-6 * std::abs(expected) + 1e-9);
        EXPECT_EQ(residual[i], before[i] + out[i]);
      }
      return out;
    });
  }
}

TEST(ElementwiseTest, ActivationsAgreeWithFloat64FromTailToTail) {
  std::vector<float> gate;
  for (float x = -120; x <= 120; x += 0.37f) gate.push_back(x);
  gate.insert(gate.end(), {0.0f, -0.0f, 1e-8f, -1e-8f, 1e30f, -1e30f});
  const std::vector<float> up = Random(gate.size(), 4);
  OnEveryTarget([&] {
    std::vector<float> silu(gate.size()), gelu(gate.size());
    SiluMul(gate, up.data(), silu.data());
    GeluTanhMul(gate, up.data(), gelu.data());
    for (size_t i = 0; i < gate.size(); ++i) {
      const double x = gate[i];
      const double expected_silu = x / (1 + std::exp(-x)) * up[i];
      const double inner = 0.7978845608028654 * (x + 0.044715 * x * x * x);
      const double expected_gelu = 0.5 * x * (1 + std::tanh(inner)) * up[i];
      EXPECT_NEAR(silu[i], expected_silu, 1e-6 * std::abs(expected_silu) + 1e-30) << x;
      // 1 + tanh cancels for negative x: an absolute error of 2^-23 of x remains.
      EXPECT_NEAR(gelu[i], expected_gelu, 2e-7 * std::abs(x * up[i]) + 1e-30) << x;
    }
    silu.insert(silu.end(), gelu.begin(), gelu.end());
    return silu;
  });
}

TEST(ElementwiseTest, SoftCapAndScale) {
  const std::vector<float> x = Random(50, 5, 40);
  OnEveryTarget([&] {
    std::vector<float> capped = x, scaled = x;
    SoftCap(30.0f, capped);
    Scale(1.5f, scaled);
    for (size_t i = 0; i < x.size(); ++i) {
      EXPECT_NEAR(capped[i], 30 * std::tanh(double(x[i]) / 30), 1e-5);
      EXPECT_EQ(scaled[i], x[i] * 1.5f);
    }
    return capped;
  });
}

TEST(RopeTest, TurnsPairsByThePositionAndLeavesTheRest) {
  for (const size_t head_dim : {8, 64, 80}) {
    const size_t half = head_dim == 80 ? 16 : head_dim / 2, heads = 3;
    std::vector<float> frequency(half);
    for (size_t i = 0; i < half; ++i) frequency[i] = std::pow(10000.0f, -float(i) / half);
    for (const int32_t position : {0, 1, 77, 100000}) {
      const std::vector<float> before = Random(heads * head_dim, 6);
      OnEveryTarget([&] {
        std::vector<float> x = before, cosines(half), sines(half);
        RopeAngles(frequency, position, cosines.data(), sines.data());
        RopeRow(cosines.data(), sines.data(), half, heads, head_dim, x.data());
        for (size_t h = 0; h < heads; ++h) {
          const float* from = &before[h * head_dim];
          const float* to = &x[h * head_dim];
          for (size_t i = 0; i < half; ++i) {
            const double angle = double(position) * frequency[i];
            EXPECT_NEAR(to[i], from[i] * std::cos(angle) - from[i + half] * std::sin(angle), 1e-6);
            EXPECT_NEAR(to[i + half], from[i + half] * std::cos(angle) + from[i] * std::sin(angle),
                        1e-6);
          }
          for (size_t i = 2 * half; i < head_dim; ++i) EXPECT_EQ(to[i], from[i]);
        }
        return x;
      });
    }
  }
}

}  // namespace
}  // namespace kvasir
