#include "kvasir/kernels/philox.h"

#include <gtest/gtest.h>

#include "kvasir/kernels/sampling_test_util.h"

namespace kvasir {
namespace {

TEST(Philox, MatchesTheKnownAnswersOfRandom123) {
  using Words = std::array<uint32_t, 4>;
  EXPECT_EQ(Philox4x32({0, 0, 0, 0}, {0, 0}),
            (Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(Philox4x32({~0u, ~0u, ~0u, ~0u}, {~0u, ~0u}),
            (Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  // The digits of pi.
  EXPECT_EQ(Philox4x32({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
            (Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(UniformFromSeed, IsUniformAlongPositionsSeedsAndStreams) {
  const std::vector<double> p(64, 1.0 / 64);
  ExpectDrawsFollow(p, 64000, [](uint64_t i) { return TokenId(UniformFromSeed(7, i) * 64); });
  ExpectDrawsFollow(p, 64000, [](uint64_t i) { return TokenId(UniformFromSeed(i, 7) * 64); });
  ExpectDrawsFollow(p, 64000,
                    [](uint64_t i) { return TokenId(UniformFromSeed(i << 32, i << 40) * 64); });
  ExpectDrawsFollow(p, 64000,
                    [](uint64_t i) { return TokenId(UniformFromSeed(7, 3, uint32_t(i)) * 64); });
  for (uint64_t i = 0; i < 1000; ++i) {
    EXPECT_GE(UniformFromSeed(i, 0), 0);
    EXPECT_LT(UniformFromSeed(i, 0), 1);
  }
}

TEST(UniformFromSeed, StreamsAreIndependent) {
  const std::vector<double> p(64, 1.0 / 64);
  ExpectDrawsFollow(p, 64000, [](uint64_t i) {
    return TokenId(UniformFromSeed(7, i, 0) * 8) * 8 + TokenId(UniformFromSeed(7, i, 1) * 8);
  });
}

}  // namespace
}  // namespace kvasir
