#include "kvasir/kernels/hadamard.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <random>
#include <vector>

#include "kvasir/kernels/cpu_target.h"

namespace kvasir {
namespace {

std::vector<float> NormalNumbers(size_t count, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> numbers(count);
  for (float& x : numbers) x = normal(random);
  return numbers;
}

// The product with the matrix, in float64.
std::vector<double> Product(const std::vector<float>& x, size_t dims) {
  std::vector<double> y(x.size(), 0);
  for (size_t i = 0; i < x.size(); ++i) {
    const size_t part = i / dims * dims;
    for (size_t j = 0; j < dims; ++j) {
      const bool negative = std::popcount((i - part) & j) % 2 == 1;
      y[i] += negative ? -double(x[part + j]) : double(x[part + j]);
    }
    y[i] /= std::sqrt(double(dims));
  }
  return y;
}

TEST(HadamardTest, IsTheProductWithTheMatrixOnEveryTarget) {
  for (const uint32_t head_dim : {16u, 32u, 48u, 64u, 80u, 96u, 128u, 256u, 512u}) {
    const std::vector<float> heads = NormalNumbers(3 * head_dim, head_dim);
    const std::vector<double> expected = Product(heads, HadamardDims(head_dim));
    std::vector<float> first;
    for (const CpuTarget target : SupportedCpuTargets()) {
      const ScopedCpuTarget scoped(target);
      std::vector<float> rotated = heads;
      HadamardHeads(3, head_dim, rotated.data());
      // log2(n) additions and a product, each within 2^-24 of numbers up to sqrt(n) * 4.
      for (size_t i = 0; i < heads.size(); ++i) ASSERT_NEAR(rotated[i], expected[i], 2e-5);
      if (first.empty()) first = rotated;
      EXPECT_EQ(rotated, first);
    }
  }
}

TEST(HadamardTest, TwiceIsOnce) {
  const std::vector<float> heads = NormalNumbers(4 * 64, 1);
  std::vector<float> back = heads;
  HadamardHeads(4, 64, back.data());
  HadamardHeads(4, 64, back.data());
  for (size_t i = 0; i < heads.size(); ++i) EXPECT_NEAR(back[i], heads[i], 1e-5);
}

TEST(HadamardTest, ScoresStay) {
  std::vector<float> q = NormalNumbers(80, 2), k = NormalNumbers(80, 3);
  const auto dot = [&] {
    double sum = 0;
    for (size_t i = 0; i < q.size(); ++i) sum += double(q[i]) * k[i];
    return sum;
  };
  const double before = dot();
  HadamardHeads(1, 80, q.data());
  HadamardHeads(1, 80, k.data());
  EXPECT_NEAR(dot(), before, 1e-4);
}

TEST(HadamardTest, HeadsWithoutALargePowerOfTwoAreRefused) {
  EXPECT_EQ(HadamardDims(64), 64u);
  EXPECT_EQ(HadamardDims(80), 16u);
  EXPECT_EQ(HadamardDims(576), 64u);
  EXPECT_TRUE(CheckHadamard(80).ok());
  EXPECT_EQ(CheckHadamard(40).message(),
            "head_dim is 40, rotated keys and values need a multiple of 16");
  EXPECT_FALSE(CheckHadamard(7).ok());
}

}  // namespace
}  // namespace kvasir
