#include "kvasir/formats/fp8.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>

namespace kvasir {
namespace {

// The number of a code as the specification defines it, in float64; NaN and infinity aside.
double Defined(const Fp8Spec& spec, int code) {
  const int mantissa = code & ((1 << spec.mantissa_bits) - 1);
  const int exponent = (code & 0x7F) >> spec.mantissa_bits;
  const double fraction = std::ldexp(mantissa, -spec.mantissa_bits);
  const double magnitude = exponent == 0 ? std::ldexp(fraction, 1 - spec.bias)
                                         : std::ldexp(1 + fraction, exponent - spec.bias);
  return code & 0x80 ? -magnitude : magnitude;
}

// The finite code nearest to `value`, of two the one with an even mantissa, by looking at all.
int Nearest(const Fp8Spec& spec, double value) {
  int best = 0;
  const int sign = std::signbit(value) ? 0x80 : 0;
  for (int magnitude = 0; magnitude <= spec.largest; ++magnitude) {
    const double distance = std::fabs(Defined(spec, magnitude | sign) - value);
    const double best_distance = std::fabs(Defined(spec, best | sign) - value);
    if (distance < best_distance || (distance == best_distance && magnitude % 2 == 0)) {
      best = magnitude;
    }
  }
  return best | sign;
}

class Fp8Test : public testing::TestWithParam<Fp8Spec> {};

TEST_P(Fp8Test, EveryFiniteCodeIsItsNumberAndComesBack) {
  const Fp8Spec& spec = GetParam();
  for (int code = 0; code < 256; ++code) {
    if ((code & 0x7F) > spec.largest) continue;
    const float value = F32FromFp8(spec, uint8_t(code));
    EXPECT_EQ(double(value), Defined(spec, code)) << code;
    EXPECT_EQ(std::signbit(value), code >= 0x80) << code;
    EXPECT_EQ(int{Fp8FromF32(spec, value)}, code);
  }
}

TEST_P(Fp8Test, RoundsToTheNearest) {
  const Fp8Spec& spec = GetParam();
  std::mt19937 random(7);
  std::uniform_real_distribution<float> exponent(-20, 17);
  for (int i = 0; i < 20000; ++i) {
    float value = std::exp2(exponent(random));
    if (i % 2) value = -value;
    ASSERT_EQ(int{Fp8FromF32(spec, value)}, Nearest(spec, value)) << value;
  }
  // Half way between neighbours, and next to it.
  for (int code = 0; code < spec.largest; ++code) {
    const auto middle = float((Defined(spec, code) + Defined(spec, code + 1)) / 2);
    for (const float value : {middle, std::nextafterf(middle, 0), std::nextafterf(middle, 1e6f)}) {
      ASSERT_EQ(int{Fp8FromF32(spec, value)}, Nearest(spec, value)) << value;
    }
  }
}

TEST_P(Fp8Test, TooLargeBecomesTheLargestAndNanStays) {
  const Fp8Spec& spec = GetParam();
  const float infinity = std::numeric_limits<float>::infinity();
  EXPECT_EQ(Fp8FromF32(spec, infinity), spec.largest);
  EXPECT_EQ(Fp8FromF32(spec, -infinity), spec.largest | 0x80);
  EXPECT_EQ(Fp8FromF32(spec, 1e30f), spec.largest);
  const float nan = std::numeric_limits<float>::quiet_NaN();
  EXPECT_TRUE(std::isnan(F32FromFp8(spec, Fp8FromF32(spec, nan))));
}

INSTANTIATE_TEST_SUITE_P(Formats, Fp8Test, testing::Values(kFp8E4M3, kFp8E5M2),
                         [](const auto& info) {
                           return info.param.bias == 7 ? std::string("e4m3") : std::string("e5m2");
                         });

TEST(Fp8LimitsTest, TheLargestNumbersAreThoseOfTheSpecification) {
  EXPECT_EQ(F32FromFp8(kFp8E4M3, kFp8E4M3.largest), kFp8E4M3Max);
  EXPECT_EQ(F32FromFp8(kFp8E5M2, kFp8E5M2.largest), kFp8E5M2Max);
  EXPECT_TRUE(std::isinf(F32FromFp8(kFp8E5M2, 0x7C)));
  EXPECT_TRUE(std::isnan(F32FromFp8(kFp8E5M2, 0x7D)));
  EXPECT_TRUE(std::isnan(F32FromFp8(kFp8E4M3, 0xFF)));
}

}  // namespace
}  // namespace kvasir
