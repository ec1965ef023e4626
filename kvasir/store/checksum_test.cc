// Checksums against published values: the check value of CRC-32C (RFC 3720, B.4) and the test
// vector of the empty input of XXH3, and the property that makes a CRC worth its bytes.

#include "kvasir/store/checksum.h"

#include <gtest/gtest.h>

#include <string_view>
#include <vector>

namespace kvasir {
namespace {

std::span<const std::byte> Bytes(std::string_view text) { return std::as_bytes(std::span(text)); }

TEST(Crc32c, HasThePublishedValues) {
  EXPECT_EQ(Crc32c(Bytes("123456789")), 0xE3069283u);
  EXPECT_EQ(Crc32c(std::vector<std::byte>(32)), 0x8A9136AAu);
  EXPECT_EQ(Crc32c(std::vector<std::byte>(32, std::byte{0xFF})), 0x62A8AB43u);
  EXPECT_EQ(Crc32c({}), 0u);
}

TEST(Crc32c, GoesOnBehindAPart) {
  EXPECT_EQ(Crc32c(Bytes("6789"), Crc32c(Bytes("12345"))), 0xE3069283u);
}

TEST(Crc32c, EverySingleBitShows) {
  std::vector<std::byte> page(4096, std::byte{0x5A});
  const uint32_t crc = Crc32c(page);
  for (size_t bit = 0; bit < 8 * page.size(); bit += 101) {
    page[bit / 8] ^= std::byte{1} << (bit % 8);
    EXPECT_NE(Crc32c(page), crc) << bit;
    page[bit / 8] ^= std::byte{1} << (bit % 8);
  }
}

TEST(Xxh3, HasThePublishedValueOfNothing) { EXPECT_EQ(Xxh3({}), 0x2D06800538D394C2u); }

}  // namespace
}  // namespace kvasir
