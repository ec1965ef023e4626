// Against PyPI's `gguf` and numpy: tests/oracle/weights_dequantize_fixtures.py wrote the fixtures.

#include "kvasir/formats/gguf_quants.h"

#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "kvasir/formats/float16.h"

namespace kvasir {
namespace {

template <typename T>
std::vector<T> ReadFixture(const std::string& name) {
  std::ifstream in(KVASIR_SOURCE_DIR "/tests/oracle/weights_dequantize/" + name, std::ios::binary);
  std::ostringstream text;
  text << in.rdbuf();
  const std::string bytes = text.str();
  EXPECT_FALSE(bytes.empty()) << name;
  std::vector<T> values(bytes.size() / sizeof(T));
  std::memcpy(values.data(), bytes.data(), values.size() * sizeof(T));
  return values;
}

uint32_t Bits(float x) { return std::bit_cast<uint32_t>(x); }

TEST(GgufQuantsTest, DequantizesBitExactlyLikeGguf) {
  for (const char* name : {"Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q4_K", "Q5_K", "Q6_K"}) {
    const DType dtype = *DTypeFromName(name);
    const auto blocks = ReadFixture<std::byte>(std::string(name) + ".blocks");
    const auto expected = ReadFixture<float>(std::string(name) + ".f32");
    ASSERT_EQ(blocks.size(), DTypeBytes(dtype, expected.size())) << name;
    std::vector<float> actual(expected.size());
    DequantizeRow(dtype, blocks.data(), actual.size(), actual.data());
    for (size_t i = 0; i < actual.size(); ++i) {
      ASSERT_EQ(Bits(actual[i]), Bits(expected[i])) << name << " number " << i;
    }
  }
}

TEST(GgufQuantsTest, QuantizesLikeGguf) {
  for (const char* name : {"Q8_0", "Q4_0", "Q4_1"}) {
    const DType dtype = *DTypeFromName(name);
    const auto source = ReadFixture<float>(std::string(name) + ".source");
    const auto expected = ReadFixture<std::byte>(std::string(name) + ".quantized");
    std::vector<std::byte> actual(expected.size());
    ASSERT_TRUE(CanQuantize(dtype));
    QuantizeRow(dtype, source.data(), source.size(), actual.data());
    EXPECT_EQ(actual, expected) << name;
  }
  EXPECT_FALSE(CanQuantize(DType::kQ6_K));
}

TEST(GgufQuantsTest, PlainTypesRoundTrip) {
  const std::vector<float> numbers = {0, -0.0f, 1, -1.5f, 0.0078125f, 448};
  for (const DType dtype : {DType::kF32, DType::kF16, DType::kBF16}) {
    std::vector<std::byte> bytes(DTypeBytes(dtype, numbers.size()));
    std::vector<float> back(numbers.size());
    QuantizeRow(dtype, numbers.data(), numbers.size(), bytes.data());
    DequantizeRow(dtype, bytes.data(), numbers.size(), back.data());
    EXPECT_EQ(back, numbers) << GetDTypeInfo(dtype).name;
  }
}

TEST(Float16Test, RoundsLikeNumpyAndGguf) {
  const auto numbers = ReadFixture<float>("halves.f32");
  const auto f16 = ReadFixture<uint16_t>("halves.f16");
  const auto bf16 = ReadFixture<uint16_t>("halves.bf16");
  ASSERT_EQ(numbers.size(), f16.size());
  ASSERT_EQ(numbers.size(), bf16.size());
  for (size_t i = 0; i < numbers.size(); ++i) {
    ASSERT_EQ(F16FromF32(numbers[i]), f16[i]) << numbers[i];
    ASSERT_EQ(BF16FromF32(numbers[i]), bf16[i]) << numbers[i];
  }
}

TEST(Float16Test, EveryHalfSurvivesTheRoundTrip) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const uint16_t half = static_cast<uint16_t>(bits);
    const float f = F32FromF16(half), b = F32FromBF16(half);
    if (std::isnan(f)) {
      EXPECT_TRUE(std::isnan(F32FromF16(F16FromF32(f)))) << bits;
    } else {
      ASSERT_EQ(F16FromF32(f), half);
    }
    if (std::isnan(b)) {
      EXPECT_TRUE(std::isnan(F32FromBF16(BF16FromF32(b)))) << bits;
    } else {
      ASSERT_EQ(BF16FromF32(b), half);
    }
  }
  EXPECT_EQ(F32FromF16(0x3C00), 1.0f);
  EXPECT_EQ(F32FromF16(0x0001), 0x1p-24f);
  EXPECT_EQ(F32FromF16(0xFBFF), -65504.0f);
}

TEST(DTypeTest, NamesAndSizes) {
  for (size_t i = 0; i < kDTypeCount; ++i) {
    const DType dtype = static_cast<DType>(i);
    EXPECT_EQ(DTypeFromName(GetDTypeInfo(dtype).name), dtype);
  }
  EXPECT_EQ(DTypeFromName("q4_k"), DType::kQ4_K);
  EXPECT_EQ(DTypeFromName("Q4_2"), std::nullopt);
  EXPECT_EQ(DTypeBytes(DType::kQ6_K, 512), 420u);
}

}  // namespace
}  // namespace kvasir
