// Against PyPI's `gguf` and numpy: tests/oracle/weights_dequantize_fixtures.py wrote the fixtures.

#include "kvasir/formats/gguf_quants.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "kvasir/formats/block_encoder.h"
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
  for (const char* name : {"Q8_0", "Q4_0", "Q4_1", "Q5_0"}) {
    const DType dtype = *DTypeFromName(name);
    const auto source = ReadFixture<float>(std::string(name) + ".source");
    const auto expected = ReadFixture<std::byte>(std::string(name) + ".quantized");
    std::vector<std::byte> actual(expected.size());
    ASSERT_TRUE(CanQuantize(dtype));
    QuantizeRow(dtype, source.data(), source.size(), actual.data());
    EXPECT_EQ(actual, expected) << name;
  }
  EXPECT_FALSE(CanQuantize(DType::kQ5_K));
}

double SquaredError(const float* a, const float* b, size_t count) {
  double sum = 0;
  for (size_t i = 0; i < count; ++i) sum += (double{a[i]} - b[i]) * (double{a[i]} - b[i]);
  return sum;
}

// tests/oracle/weights_k_quant_errors.py measured llama.cpp's reference on the same numbers.
TEST(GgufQuantsTest, KQuantsLoseNoMoreThanLlamaCpps) {
  constexpr size_t kBlock = Q4_KLayout::kElements;
  const auto source = ReadFixture<float>("k_quants.source");
  for (const char* name : {"Q4_K", "Q6_K"}) {
    const DType dtype = *DTypeFromName(name);
    const auto theirs = ReadFixture<double>(std::string(name) + ".errors");
    ASSERT_EQ(source.size(), theirs.size() * kBlock);
    std::vector<std::byte> blocks(DTypeBytes(dtype, source.size()));
    QuantizeRow(dtype, source.data(), source.size(), blocks.data());
    std::vector<float> read(source.size());
    DequantizeRow(dtype, blocks.data(), read.size(), read.data());
    double ours_sum = 0, theirs_sum = 0;
    for (size_t block = 0; block < theirs.size(); ++block) {
      const size_t begin = block * kBlock;
      const double ours = SquaredError(&read[begin], &source[begin], kBlock);
      // Where all numbers are multiples of a scale, what remains is the rounding of the scale to
      // f16: 2^-11 of each number.
      const std::vector<float> zeros(kBlock);
      const double square = SquaredError(&source[begin], zeros.data(), kBlock);
      EXPECT_LE(ours, 1.25 * theirs[block] + 0x1p-22 * square) << name << " block " << block;
      ours_sum += ours;
      theirs_sum += theirs[block];
    }
    EXPECT_LE(ours_sum, 1.02 * theirs_sum) << name;
    std::printf("%s: squared error %.6f, llama.cpp %.6f\n", name, ours_sum, theirs_sum);
  }
}

TEST(BlockEncoderTest, StoresWhatItsGridSays) {
  const auto source = ReadFixture<float>("k_quants.source");
  for (const char* name : {"Q8_0", "Q4_0", "Q5_0", "Q4_K"}) {
    const DType dtype = *DTypeFromName(name);
    ASSERT_TRUE(HasBlockEncoder(dtype));
    BlockEncoder encoder(dtype);
    const size_t count = encoder.block_elements();
    std::vector<std::byte> block(GetDTypeInfo(dtype).block_bytes);
    for (size_t begin = 0; begin < source.size(); begin += count) {
      const float* x = &source[begin];
      std::vector<float> promised(count), read(count);
      encoder.Begin(x, block.data());
      for (size_t i = 0; i < count;) {
        const CodeGrid grid = encoder.Group(i / kEncoderGroup, x + i);
        for (size_t l = 0; l < kEncoderGroup; ++l, ++i) {
          const int code = grid.Nearest(x[i]);
          encoder.Store(i, code);
          promised[i] = grid.Value(code);
          // Inside the grid nothing is farther than half a step.
          if (code > grid.code_min && code < grid.code_max) {
            ASSERT_LE(std::fabs(promised[i] - x[i]), std::fabs(grid.scale) * 0.5001f) << name;
          }
        }
      }
      DequantizeRow(dtype, block.data(), count, read.data());
      for (size_t i = 0; i < count; ++i) {
        ASSERT_NEAR(read[i], promised[i], 1e-6f * (1 + std::fabs(promised[i]))) << name;
      }
    }
  }
  EXPECT_FALSE(HasBlockEncoder(DType::kQ6_K));
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
