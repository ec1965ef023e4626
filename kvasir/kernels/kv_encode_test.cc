#include "kvasir/kernels/kv_encode.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "kvasir/base/aligned_buffer.h"
#include "kvasir/formats/kv_codec.h"
#include "kvasir/kernels/cpu_target.h"

namespace kvasir {
namespace {

enum class Numbers { kNormal, kOutliers, kWild };

std::vector<float> MakeNumbers(Numbers kind, uint32_t head_dim) {
  std::mt19937 random(head_dim);
  std::normal_distribution<float> normal;
  std::uniform_real_distribution<float> exponent(-140, 127);
  std::vector<float> numbers(size_t{kKvBlockTokens} * head_dim);
  for (size_t i = 0; i < numbers.size(); ++i) {
    numbers[i] = normal(random);
    if (kind == Numbers::kOutliers && i % 13 == 0) numbers[i] *= 30;
    if (kind != Numbers::kWild) continue;
    const size_t token = i / head_dim;
    if (token % 8 == 1) numbers[i] = 0;
    if (token % 8 == 2) numbers[i] *= std::exp2(exponent(random));
    if (token % 8 == 3 && i % 5 == 0) numbers[i] = std::numeric_limits<float>::infinity();
    if (token % 8 == 4 && i % 5 == 0) numbers[i] = -std::nanf("");
    if (token % 8 == 5) numbers[i] *= 0x1p-30f;
    if (token % 8 == 6) numbers[i] *= 0x1p-20f;
    if (token % 8 == 7) numbers[i] = i % 2 ? -std::numeric_limits<float>::infinity() : 1e-42f;
  }
  return numbers;
}

struct Case {
  KvFormat format;
  KvSide side;
  uint32_t head_dim;
};

class KvEncodeTest : public testing::TestWithParam<Case> {};

TEST_P(KvEncodeTest, GivesTheBytesOfTheCodec) {
  const auto& [format, side, head_dim] = GetParam();
  const KvTile tile = {format, side, head_dim}, open_tile = {KvFormat::kBF16, side, head_dim};
  for (const Numbers kind : {Numbers::kNormal, Numbers::kOutliers, Numbers::kWild}) {
    auto open = AlignedBuffer::Allocate(open_tile.bytes()).value();
    EncodeKvTile(open_tile, MakeNumbers(kind, head_dim).data(), open.data());
    std::vector<float> rounded(size_t{kKvBlockTokens} * head_dim);
    DecodeKvTile(open_tile, open.data(), rounded.data());
    std::vector<std::byte> expected(tile.bytes());
    EncodeKvTile(tile, rounded.data(), expected.data());
    for (const CpuTarget target : SupportedCpuTargets()) {
      const ScopedCpuTarget scoped(target);
      auto bytes = AlignedBuffer::Allocate(tile.bytes()).value();
      EncodeOpenKvTile(tile, open.data(), bytes.data());
      for (size_t i = 0; i < tile.bytes(); ++i) {
        ASSERT_EQ(bytes.data()[i], expected[i])
            << CpuTargetName(target) << " byte " << i << " of numbers " << int(kind);
      }
    }
  }
}

std::vector<Case> Cases() {
  std::vector<Case> cases;
  for (const KvFormat format : kKvFormats) {
    if (format == KvFormat::kF32) continue;
    for (const KvSide side : {KvSide::kKey, KvSide::kValue}) {
      for (const uint32_t head_dim : {1u, 7u, 40u, 64u, 80u, 128u, 256u, 576u}) {
        cases.push_back({format, side, head_dim});
      }
    }
  }
  return cases;
}

INSTANTIATE_TEST_SUITE_P(Tiles, KvEncodeTest, testing::ValuesIn(Cases()), [](const auto& info) {
  return std::string(KvFormatName(info.param.format)) +
         (info.param.side == KvSide::kKey ? "_k_" : "_v_") + std::to_string(info.param.head_dim);
});

}  // namespace
}  // namespace kvasir
