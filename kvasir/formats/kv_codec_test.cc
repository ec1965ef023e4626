#include "kvasir/formats/kv_codec.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "kvasir/formats/float16.h"

namespace kvasir {
namespace {

std::vector<float> NormalNumbers(uint32_t head_dim, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> numbers(size_t{kKvBlockTokens} * head_dim);
  for (float& x : numbers) x = F32FromBF16(BF16FromF32(normal(random)));
  return numbers;
}

struct Encoded {
  KvTile tile;
  std::vector<std::byte> bytes;

  Encoded(const KvTile& to, const std::vector<float>& numbers)
      : tile(to), bytes(to.bytes(), std::byte{0xEE}) {
    EncodeKvTile(tile, numbers.data(), bytes.data());
  }
  std::vector<float> Decode() const {
    std::vector<float> numbers(size_t{kKvBlockTokens} * tile.head_dim);
    DecodeKvTile(tile, bytes.data(), numbers.data());
    return numbers;
  }
  double Scale(uint32_t token, uint32_t dim) const {
    return LoadF16(bytes.data() + tile.ScaleByte(token, dim));
  }
  int Code(uint32_t token, uint32_t dim) const {
    const int byte = int(bytes[tile.CodeByte(token, dim)]);
    if (tile.format == KvFormat::kInt4) return byte >> tile.CodeShift(token) & 15;
    return tile.format == KvFormat::kInt8 ? int8_t(byte) : byte;
  }
};

struct Case {
  KvFormat format;
  KvSide side;
  uint32_t head_dim;
};

class KvCodecTest : public testing::TestWithParam<Case> {
 protected:
  KvTile tile() const { return {GetParam().format, GetParam().side, GetParam().head_dim}; }
};

std::vector<Case> Cases() {
  std::vector<Case> cases;
  for (const KvFormat format : kKvFormats) {
    for (const KvSide side : {KvSide::kKey, KvSide::kValue}) {
      for (const uint32_t head_dim : {1u, 7u, 40u, 64u, 80u, 128u, 256u}) {
        cases.push_back({format, side, head_dim});
      }
    }
  }
  return cases;
}

double MeanSquare(const std::vector<float>& a, const std::vector<float>& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += (double(a[i]) - b[i]) * (double(a[i]) - b[i]);
  return sum / double(a.size());
}

TEST_P(KvCodecTest, NumbersComeBackWithinTheFormatsError) {
  const std::vector<float> numbers = NormalNumbers(GetParam().head_dim, 1);
  const std::vector<float> back = Encoded(tile(), numbers).Decode();
  const std::vector<float> zeros(numbers.size(), 0.0f);
  const double error = MeanSquare(numbers, back) / MeanSquare(numbers, zeros);
  switch (GetParam().format) {
    case KvFormat::kF32:
    case KvFormat::kBF16:
      EXPECT_EQ(error, 0);  // they are bf16 numbers
      break;
    case KvFormat::kInt8:
      // Uniform errors of a step each: step^2 / 12, the step at most max / 127 = 4.5 / 127 here.
      EXPECT_LT(error, 4.5 * 4.5 / (127.0 * 127 * 12));
      break;
    case KvFormat::kInt4:
      // A Lloyd-Max quantiser of 16 levels has 0.0095 (Max, 1960).
      EXPECT_LT(error, 0.0095);
      break;
    case KvFormat::kFp8E4M3:
      EXPECT_LT(error, 1.0 / (16 * 16));  // half a step of 2^-3 at most
      break;
    case KvFormat::kFp8E5M2:
      EXPECT_LT(error, 1.0 / (8 * 8));
      break;
  }
}

TEST_P(KvCodecTest, EachCodeIsTheNearest) {
  const KvTile tile = this->tile();
  if (!tile.quantized()) return;
  const std::vector<float> numbers = NormalNumbers(tile.head_dim, 2);
  const Encoded encoded(tile, numbers);
  const std::vector<float> back = encoded.Decode();
  for (uint32_t token = 0; token < kKvBlockTokens; ++token) {
    for (uint32_t dim = 0; dim < tile.head_dim; ++dim) {
      const size_t at = size_t{token} * tile.head_dim + dim;
      const double scale = encoded.Scale(token, dim), x = numbers[at];
      double nearest = std::numeric_limits<double>::infinity();
      for (int code = 0; code < 256; ++code) {
        if (tile.format == KvFormat::kInt8) {
          nearest = std::min(nearest, std::fabs(x - (code - 127) * scale));
        } else if (tile.format == KvFormat::kInt4) {
          nearest = std::min(nearest, std::fabs(x - kKvInt4Levels[code & 15] * scale));
        } else {
          nearest = std::min(nearest, std::fabs(x - double(back[at])));  // fp8_test.cc checks it
        }
      }
      // Multiplying by a rounded inverse may prefer the other side of a half-way point.
      ASSERT_LE(std::fabs(x - double(back[at])), nearest + 1e-5 * std::fabs(scale) * 127);
    }
  }
}

TEST_P(KvCodecTest, ScalesAreTheSmallestThatReachTheLargestMagnitude) {
  const KvTile tile = this->tile();
  if (!tile.quantized() || tile.format == KvFormat::kInt4) return;
  const std::vector<float> numbers = NormalNumbers(tile.head_dim, 3);
  const Encoded encoded(tile, numbers);
  for (uint32_t token = 0; token < kKvBlockTokens; ++token) {
    double largest = 0;
    for (uint32_t dim = 0; dim < tile.head_dim; ++dim) {
      largest = std::max(largest, std::fabs(double(numbers[token * tile.head_dim + dim])));
    }
    const double reach = tile.format == KvFormat::kInt8 ? 127 : 448;
    const uint16_t scale = LoadU16(encoded.bytes.data() + tile.ScaleByte(token, 0));
    // One rounding of the f32 division, 2^-24, aside.
    ASSERT_GE(F32FromF16(scale) * reach, largest * (1 - 0x1p-24));
    ASSERT_LT(F32FromF16(uint16_t(scale - 1)) * reach, largest);
  }
}

TEST_P(KvCodecTest, AnyNumbersHaveDefinedCodes) {
  const KvTile tile = this->tile();
  if (!tile.quantized()) return;
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  const float specials[] = {0,        -0.0f,  std::nanf(""), kInfinity, -kInfinity, 3.4e38f,
                            -3.4e38f, 1e-45f, 1e-7f,         -1e-9f,    1,          -65504};
  std::vector<float> numbers(size_t{kKvBlockTokens} * tile.head_dim);
  for (size_t i = 0; i < numbers.size(); ++i) {
    const size_t token = i / tile.head_dim;  // the first tokens are all of one kind
    numbers[i] = specials[token < std::size(specials) ? token : i * 7 % std::size(specials)];
  }
  for (const float x : Encoded(tile, numbers).Decode()) {
    ASSERT_TRUE(std::isfinite(x));
    ASSERT_LE(std::fabs(x), kKvMagnitudeMax * 1.2f);  // int4's far end may lie beyond
  }
  const std::vector<float> zeros(numbers.size(), 0.0f);
  EXPECT_EQ(Encoded(tile, zeros).Decode(), zeros);
}

TEST_P(KvCodecTest, PaddingIsZeroAndAllOfTheTileIsWritten) {
  const KvTile tile = this->tile();
  if (!tile.quantized()) return;
  Encoded encoded(tile, NormalNumbers(tile.head_dim, 4));
  for (uint32_t token = 0; token < kKvBlockTokens; ++token) {
    for (uint32_t dim = 0; dim < tile.head_dim; ++dim) {
      encoded.bytes[tile.CodeByte(token, dim)] = std::byte{0};
    }
  }
  for (size_t i = 0; i < tile.code_bytes(); ++i) ASSERT_EQ(encoded.bytes[i], std::byte{0});
}

INSTANTIATE_TEST_SUITE_P(Tiles, KvCodecTest, testing::ValuesIn(Cases()), [](const auto& info) {
  return std::string(KvFormatName(info.param.format)) +
         (info.param.side == KvSide::kKey ? "_k_" : "_v_") + std::to_string(info.param.head_dim);
});

// No first scale and no rescaling of a finer search gives less than 0.95 of the error.
TEST(KvCodecInt4Test, TheScaleIsCloseToTheBest) {
  const KvTile tile = {KvFormat::kInt4, KvSide::kKey, 32};
  const std::vector<float> numbers = NormalNumbers(32, 5);
  const std::vector<float> back = Encoded(tile, numbers).Decode();
  double found = 0, best = 0;
  for (uint32_t token = 0; token < kKvBlockTokens; ++token) {
    const float* row = numbers.data() + token * 32;
    double least = std::numeric_limits<double>::infinity();
    for (double scale = -0.05; scale < 0.05; scale += 1e-5) {
      double error = 0;
      for (int i = 0; i < 32; ++i) {
        double nearest = std::numeric_limits<double>::infinity();
        for (const int level : kKvInt4Levels) {
          nearest = std::min(nearest, std::fabs(row[i] - level * scale));
        }
        error += nearest * nearest;
      }
      least = std::min(least, error);
    }
    best += least;
    for (int i = 0; i < 32; ++i) {
      const double error = row[i] - double(back[token * 32 + size_t(i)]);
      found += error * error;
    }
  }
  EXPECT_LT(best, found * 1.0001);
  EXPECT_LT(found * 0.9, best);
}

TEST(KvCodecInt4Test, BoundsLieHalfWayBetweenLevels) {
  for (int i = 0; i < 15; ++i) {
    EXPECT_EQ(kKvInt4Bounds[i], (kKvInt4Levels[i] + kKvInt4Levels[i + 1]) / 2.0f);
  }
}

TEST(DequantizeKvBlockTest, ABlockIsDecodedTileByTile) {
  const KvFormats layers[] = {KvFormat::kInt8, {KvFormat::kBF16, KvFormat::kInt4}};
  const KvBlockLayout layout = MixedKvLayout({2, 3, 16}, layers);
  std::vector<std::byte> block(layout.block_bytes());
  std::vector<float> k(3 * 32 * 16), v(k.size());
  for (uint32_t head = 0; head < 3; ++head) {
    EncodeKvTile(layout.KTile(1), NormalNumbers(16, head).data(),
                 block.data() + layout.KTileOffset(1, head));
    EncodeKvTile(layout.VTile(1), NormalNumbers(16, 10 + head).data(),
                 block.data() + layout.VTileOffset(1, head));
  }
  DequantizeKvBlock(layout, block.data(), 1, k, v);
  for (uint32_t head = 0; head < 3; ++head) {
    const std::vector<float> keys = NormalNumbers(16, head);
    EXPECT_TRUE(std::equal(keys.begin(), keys.end(), k.begin() + head * 512));
    const std::vector<float> values =
        Encoded(layout.VTile(1), NormalNumbers(16, 10 + head)).Decode();
    EXPECT_TRUE(std::equal(values.begin(), values.end(), v.begin() + head * 512));
  }
}

}  // namespace
}  // namespace kvasir
