// The integer kernels of quantised tiles against plain loops over the codec's own places: sums
// equal in every bit, on every target, streamed and widened.

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "kvasir/attention/attend.h"
#include "kvasir/formats/float16.h"
#include "kvasir/formats/kv_codec.h"
#include "kvasir/kernels/cpu_target.h"
#include "kvasir/kernels/highway_targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kvasir/attention/code_tiles_test.cc"
// Must come after the choice of targets and before everything else of Highway.
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kvasir/attention/score_codes-inl.h"
#include "kvasir/attention/weigh_codes-inl.h"

#ifndef KVASIR_ATTENTION_CODE_TILES_TEST_
#define KVASIR_ATTENTION_CODE_TILES_TEST_
namespace kvasir {

// A tile and rows of numbers to multiply with it, packed by the kernels' own PackChunk.
struct TileCase {
  KvTile tile;
  size_t rows = 0;
  bool is_widened = false;
  const std::byte* bytes = nullptr;
  const float* numbers = nullptr;  // [chunks][rows][32], integers
};

}  // namespace kvasir
#endif  // KVASIR_ATTENTION_CODE_TILES_TEST_

HWY_BEFORE_NAMESPACE();
namespace kvasir {
namespace HWY_NAMESPACE {

void PackChunks(const float* numbers, size_t chunks, int16_t* to) {
  for (size_t i = 0; i < chunks * kCodeChunkNumbers; i += kCodeChunkNumbers) {
    PackChunk(numbers + i, 1.0f, to + i);
  }
}

template <class Codes, bool kIsGrouped, int kRows>
void DotKeys(const KeyCodes& tile, const int16_t* rows, int32_t* sums) {
  const size_t stride = kRows * kCodeChunkNumbers;
  // sums [groups][kRows][32]
  const auto store = [&](size_t group, int half, int h, const auto& lanes) {
    for (size_t row = 0; row < kRows; ++row) {
      int32_t* to = sums + ((kIsGrouped ? group : 0) * kRows + row) * kKvBlockTokens +
                    size_t(half) * kLaneCount;
      KVASIR_FOR_PARTS(i) hn::StoreU(lanes[row][h].part[i], IntTag(), to + i * kPartLanes);
    }
  };
  if constexpr (kRows * kParts * kHalvesPerTile <= SumsMax<Codes>()) {
    DotKeyHalves<Codes, kIsGrouped, kRows, 0, 2>(tile, rows, stride, store);
  } else {
    DotKeyHalves<Codes, kIsGrouped, kRows, 0, 1>(tile, rows, stride, store);
    DotKeyHalves<Codes, kIsGrouped, kRows, 1, 1>(tile, rows, stride, store);
  }
}

template <class Codes, bool kIsGrouped>
void DotKeysOfRows(size_t rows, const KeyCodes& tile, const int16_t* x, int32_t* sums) {
  switch (rows) {
    case 1:
      return DotKeys<Codes, kIsGrouped, 1>(tile, x, sums);
    case 3:
      return DotKeys<Codes, kIsGrouped, 3>(tile, x, sums);
    case 4:
      return DotKeys<Codes, kIsGrouped, 4>(tile, x, sums);
    default:
      return DotKeys<Codes, kIsGrouped, 6>(tile, x, sums);
  }
}

void KeySums(const TileCase& c, int32_t* sums) {
  const size_t dims = c.tile.padded_dim(), chunks = (dims + 31) / 32;
  std::vector<int16_t> rows(chunks * c.rows * kCodeChunkNumbers);
  PackChunks(c.numbers, chunks * c.rows, rows.data());
  KeyCodes tile = {.codes = reinterpret_cast<const uint8_t*>(c.bytes),
                   .scales = nullptr,
                   .quads = dims / 4,
                   .ahead = 0};
  std::vector<uint8_t> wide(kHalvesPerTile * tile.quads * WideCodes::kBytes);
  const bool is_int4 = c.tile.format == KvFormat::kInt4;
  if (c.is_widened) {
    is_int4 ? WidenKeyCodes<Int4Codes>(tile, wide.data())
            : WidenKeyCodes<Int8Codes>(tile, wide.data());
    tile.codes = wide.data();
    is_int4 ? DotKeysOfRows<WideCodes, true>(c.rows, tile, rows.data(), sums)
            : DotKeysOfRows<WideCodes, false>(c.rows, tile, rows.data(), sums);
  } else {
    is_int4 ? DotKeysOfRows<Int4Codes, true>(c.rows, tile, rows.data(), sums)
            : DotKeysOfRows<Int8Codes, false>(c.rows, tile, rows.data(), sums);
  }
}

// sums [rows, padded dims], added to. Numbers [groups][rows][32].
void ValueSums(const TileCase& c, int32_t* sums) {
  const size_t groups = c.tile.scale_count();
  std::vector<int16_t> weights(groups * c.rows * kCodeChunkNumbers);
  PackChunks(c.numbers, groups * c.rows, weights.data());
  const size_t blocks = c.tile.padded_dim() / kLaneCount;
  ValueCodes tile = {
      .codes = reinterpret_cast<const uint8_t*>(c.bytes), .blocks = blocks, .ahead = 0};
  std::vector<uint8_t> wide(kChunkQuads * blocks * WideCodes::kBytes);
  const bool is_int4 = c.tile.format == KvFormat::kInt4;
  const size_t group_blocks = is_int4 ? 2 : blocks, stride = blocks * kLaneCount;
  const size_t group_stride = c.rows * kCodeChunkNumbers;
  if (c.is_widened) {
    is_int4 ? WidenValueCodes<Int4Codes>(tile, wide.data())
            : WidenValueCodes<Int8Codes>(tile, wide.data());
    tile.codes = wide.data();
    WeighCodes<WideCodes>(c.rows, tile, weights.data(), group_blocks, group_stride, sums, stride);
  } else if (is_int4) {
    WeighCodes<Int4Codes>(c.rows, tile, weights.data(), group_blocks, group_stride, sums, stride);
  } else {
    WeighCodes<Int8Codes>(c.rows, tile, weights.data(), group_blocks, group_stride, sums, stride);
  }
}

// codes [32], as numbers in order; returns the row's scale.
float PackRow(const float* x, size_t count, float code_max, int16_t* codes) {
  const CodeScale scale = CodeScale::Of(LargestMagnitude(x, count), code_max);
  for (size_t i = 0; i < count; i += kCodeChunkNumbers) {
    PackChunk(x + i, scale.to_code, codes + i);
  }
  return scale.to_number;
}

}  // namespace HWY_NAMESPACE
}  // namespace kvasir
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace kvasir {
namespace {

HWY_EXPORT(KeySums);
HWY_EXPORT(ValueSums);
HWY_EXPORT(PackRow);

class CodeTilesTest : public testing::TestWithParam<CpuTarget> {
 protected:
  // Random bytes as codes; of int8 not -128, which no encoder makes.
  std::vector<std::byte> RandomTile(const KvTile& tile) {
    std::vector<std::byte> bytes(tile.bytes());
    for (std::byte& byte : bytes) {
      byte = std::byte(random_());
      if (tile.format == KvFormat::kInt8 && byte == std::byte{0x80}) byte = std::byte{0x81};
    }
    return bytes;
  }
  static int32_t Code(const KvTile& tile, const std::byte* bytes, uint32_t token, uint32_t dim) {
    const auto byte = uint8_t(bytes[tile.CodeByte(token, dim)]);
    if (tile.format == KvFormat::kInt8) return int8_t(byte);
    return kKvInt4Levels[(byte >> tile.CodeShift(token)) & 15];
  }
  // Integers of full range, the largest among them often.
  std::vector<float> RandomIntegers(size_t count, float max) {
    std::vector<float> numbers(count);
    for (float& x : numbers) {
      const auto range = uint32_t(2 * max + 1);
      x = random_() % 4 == 0 ? (random_() % 2 == 0 ? max : -max) : float(random_() % range) - max;
    }
    return numbers;
  }

  const ScopedCpuTarget scope_{GetParam()};
  std::mt19937 random_{17};
};

INSTANTIATE_TEST_SUITE_P(Targets, CodeTilesTest, testing::ValuesIn(SupportedCpuTargets()),
                         [](const auto& info) { return std::string(CpuTargetName(info.param)); });

constexpr uint32_t kHeadDims[] = {1, 5, 16, 31, 32, 40, 64, 80, 96, 128, 256, 576};

TEST_P(CodeTilesTest, KeySumsAreTheExactIntegers) {
  for (const uint32_t head_dim : kHeadDims) {
    for (const KvFormat format : {KvFormat::kInt8, KvFormat::kInt4}) {
      const KvTile tile = {format, KvSide::kKey, head_dim};
      const std::vector<std::byte> bytes = RandomTile(tile);
      for (const size_t rows : {1u, 3u, 4u, 6u}) {
        const size_t chunks = (head_dim + 31) / 32;
        std::vector<float> numbers = RandomIntegers(chunks * rows * 32, kQueryCodeMax);
        const auto number = [&](size_t row, size_t dim) -> float& {
          return numbers[(dim / 32 * rows + row) * 32 + dim % 32];
        };
        // Padding of queries is 0; that of tiles may be anything.
        for (size_t row = 0; row < rows; ++row) {
          for (size_t d = head_dim; d < chunks * 32; ++d) number(row, d) = 0;
        }
        const size_t groups = tile.scale_count();
        std::vector<int32_t> expected(groups * rows * 32, 0);
        for (size_t row = 0; row < rows; ++row) {
          for (uint32_t token = 0; token < 32; ++token) {
            for (uint32_t d = 0; d < head_dim; ++d) {
              expected[(d / tile.scale_dims() * rows + row) * 32 + token] +=
                  Code(tile, bytes.data(), token, d) * int32_t(number(row, d));
            }
          }
        }
        for (const bool is_widened : {false, true}) {
          std::vector<int32_t> sums(expected.size(), -1);
          HWY_DYNAMIC_DISPATCH(KeySums)
          ({tile, rows, is_widened, bytes.data(), numbers.data()}, sums.data());
          EXPECT_EQ(sums, expected) << KvFormatName(format) << ", head_dim " << head_dim << ", "
                                    << rows << " rows" << (is_widened ? ", widened" : "");
        }
      }
    }
  }
}

TEST_P(CodeTilesTest, ValueSumsAreTheExactIntegers) {
  for (const uint32_t head_dim : kHeadDims) {
    for (const KvFormat format : {KvFormat::kInt8, KvFormat::kInt4}) {
      const KvTile tile = {format, KvSide::kValue, head_dim};
      const std::vector<std::byte> bytes = RandomTile(tile);
      for (const size_t rows : {1u, 2u, 3u, 4u, 5u, 6u}) {
        const std::vector<float> numbers =
            RandomIntegers(tile.scale_count() * rows * 32, kWeightCodeMax);
        const size_t stride = tile.padded_dim();
        std::vector<int32_t> before(rows * stride);
        for (int32_t& x : before) x = int32_t(random_() % 1000);
        std::vector<int32_t> expected = before;
        for (size_t row = 0; row < rows; ++row) {
          for (uint32_t d = 0; d < head_dim; ++d) {
            const size_t group = d / tile.scale_dims();
            for (uint32_t token = 0; token < 32; ++token) {
              expected[row * stride + d] += Code(tile, bytes.data(), token, d) *
                                            int32_t(numbers[(group * rows + row) * 32 + token]);
            }
          }
        }
        for (const bool is_widened : {false, true}) {
          std::vector<int32_t> sums = before;
          HWY_DYNAMIC_DISPATCH(ValueSums)
          ({tile, rows, is_widened, bytes.data(), numbers.data()}, sums.data());
          // What the padding sums up to is nobody's business.
          for (size_t row = 0; row < rows; ++row) {
            for (size_t d = head_dim; d < stride; ++d) {
              sums[row * stride + d] = expected[row * stride + d];
            }
          }
          EXPECT_EQ(sums, expected) << KvFormatName(format) << ", head_dim " << head_dim << ", "
                                    << rows << " rows" << (is_widened ? ", widened" : "");
        }
      }
    }
  }
}

// Within a chunk numbers lie as | x0 x2 x1 x3 | in each quad.
int16_t CodeAt(const std::vector<int16_t>& codes, size_t i) {
  constexpr size_t kPlaces[4] = {0, 2, 1, 3};
  return codes[i / 4 * 4 + kPlaces[i % 4]];
}

TEST_P(CodeTilesTest, RowsArePackedToTheNearestCode) {
  std::normal_distribution<float> normal;
  for (const float size : {1.0f, 1e-20f, 1e20f}) {
    std::vector<float> x(256);
    for (float& number : x) number = size * normal(random_);
    std::vector<int16_t> codes(x.size());
    const float scale = HWY_DYNAMIC_DISPATCH(PackRow)(x.data(), x.size(), 32767, codes.data());
    float largest = 0;
    for (const float number : x) largest = std::max(largest, std::abs(number));
    EXPECT_NEAR(scale / (largest / 32767), 1, 1e-6);
    for (size_t i = 0; i < x.size(); ++i) {
      // Half a step, and the rounding of the two divisions: 1e-7 of up to 32767 steps.
      EXPECT_NEAR(double(CodeAt(codes, i)), double(x[i]) / double(scale), 0.5 + 0.01);
    }
  }
}

TEST_P(CodeTilesTest, RowsOfZerosAndOfNoNumbers) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  std::vector<float> x(64, 0.0f);
  std::vector<int16_t> codes(x.size(), 7);
  const auto pack = [&] {
    return HWY_DYNAMIC_DISPATCH(PackRow)(x.data(), x.size(), 16383, codes.data());
  };
  EXPECT_EQ(pack(), 0);
  EXPECT_EQ(codes, std::vector<int16_t>(64, 0));
  x[17] = 1e-40f;  // its inverse is no number
  EXPECT_EQ(pack(), 0);
  EXPECT_EQ(codes, std::vector<int16_t>(64, 0));
  for (const float poison : {kInfinity, -kInfinity, NAN, -NAN}) {
    x[40] = poison;
    EXPECT_TRUE(std::isnan(pack())) << poison;
    EXPECT_EQ(codes, std::vector<int16_t>(64, 0));
  }
}

}  // namespace
}  // namespace kvasir
#endif  // HWY_ONCE
