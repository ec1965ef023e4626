#include "kvasir/cli/flags.h"

#include <gtest/gtest.h>

namespace kvasir {
namespace {

TEST(ParseUnsignedTest, TakesWholeNumbersOnly) {
  EXPECT_EQ(ParseUnsigned("0"), 0u);
  EXPECT_EQ(ParseUnsigned("18446744073709551615"), 18446744073709551615u);
  for (const char* bad : {"", "-1", "+1", "1.5", "1k", " 1", "18446744073709551616", "0x10"}) {
    EXPECT_FALSE(ParseUnsigned(bad)) << bad;
  }
}

TEST(ParseFloatTest, TakesFiniteNumbersOnly) {
  EXPECT_EQ(ParseFloat("0.5"), 0.5f);
  EXPECT_EQ(ParseFloat("-2e3"), -2000.0f);
  for (const char* bad : {"", "nan", "inf", "1e99", "0.5x", "half"}) {
    EXPECT_FALSE(ParseFloat(bad)) << bad;
  }
}

TEST(ParseBytesTest, KnowsPowersOf1024) {
  EXPECT_EQ(ParseBytes("4096"), 4096u);
  EXPECT_EQ(ParseBytes("4096B"), 4096u);
  EXPECT_EQ(ParseBytes("64K"), 65536u);
  EXPECT_EQ(ParseBytes("512M"), size_t{512} << 20);
  EXPECT_EQ(ParseBytes("2GiB"), size_t{2} << 30);
  EXPECT_EQ(ParseBytes("1.5g"), size_t{3} << 29);
  for (const char* bad : {"", "M", "1X", "1Mx", "1 M", "-1M", "99999999T", "1..5G"}) {
    EXPECT_FALSE(ParseBytes(bad)) << bad;
  }
}

TEST(FormatBytesTest, ChoosesTheUnit) {
  EXPECT_EQ(FormatBytes(0), "0 bytes");
  EXPECT_EQ(FormatBytes(1023), "1023 bytes");
  EXPECT_EQ(FormatBytes(1536), "1.5 KiB");
  EXPECT_EQ(FormatBytes(96.0 * (1 << 20)), "96.0 MiB");
}

TEST(NearestWordTest, SuggestsOnlyWhatMayBeMeant) {
  const std::vector<std::string> words = {"chat", "generate", "bench", "tokenize"};
  EXPECT_EQ(NearestWord("chta", words), "chat");
  EXPECT_EQ(NearestWord("tokenise", words), "tokenize");
  EXPECT_EQ(NearestWord("benhc", words), "bench");
  EXPECT_EQ(NearestWord("serve", words), "");
  EXPECT_EQ(NearestWord("x", words), "");
}

}  // namespace
}  // namespace kvasir
