#include "kvasir/text/jinja_unicode.h"

#include <gtest/gtest.h>

namespace kvasir {
namespace {

TEST(JinjaUnicode, CountsAndFindsCharacters) {
  const std::string text = "aß日🎉";
  EXPECT_EQ(JinjaCharCount(text), 4u);
  EXPECT_EQ(JinjaCharOffset(text, 0), 0u);
  EXPECT_EQ(JinjaCharOffset(text, 2), 3u);
  EXPECT_EQ(JinjaCharOffset(text, 4), text.size());
  EXPECT_EQ(JinjaCharOffset(text, 9), text.size());
  EXPECT_EQ(JinjaCodePoint("ß"), 0xDFu);
  EXPECT_EQ(JinjaCodePoint("日"), 0x65E5u);
  EXPECT_EQ(JinjaCodePoint("🎉"), 0x1F389u);
  EXPECT_EQ(JinjaCharCount(""), 0u);
}

TEST(JinjaUnicode, RoundTripsCodePoints) {
  for (uint32_t code_point = 1; code_point <= 0x10FFFF; code_point += 13) {
    std::string text;
    JinjaAppendUtf8(code_point, text);
    EXPECT_EQ(JinjaCodePoint(text), code_point);
    EXPECT_EQ(JinjaCharCount(text), 1u);
  }
}

// Bytes that are no UTF-8 are characters too, and nothing of them is lost.
TEST(JinjaUnicode, TakesAnyBytes) {
  const std::string malformed[] = {"\x80", "\xff", "\x80\x80", "a\xc3", "\xe2\x82", "\xf8\x88\x80"};
  for (const std::string& text : malformed) {
    std::string joined;
    for (const std::string_view character : JinjaChars(text)) joined += character;
    EXPECT_EQ(joined, text);
    EXPECT_EQ(JinjaChars(text).size(), JinjaCharCount(text));
    EXPECT_EQ(JinjaLower(text), text);
    EXPECT_EQ(JinjaUpper(text).size(), text.size());
  }
  EXPECT_EQ(JinjaCodePoint("\xc0\xaf"), 0xFFFDu);      // overlong
  EXPECT_EQ(JinjaCodePoint("\xe0\x80\xaf"), 0xFFFDu);  // overlong
  EXPECT_EQ(JinjaCodePoint("\xff"), 0xFFFDu);
}

TEST(JinjaUnicode, ChangesCase) {
  EXPECT_EQ(JinjaUpper("straße µ ÿ ŉž ж έ"), "STRASSE Μ Ÿ ŉŽ Ж Έ");
  EXPECT_EQ(JinjaLower("ÀŽЖΈ İABC"), "àžжέ İabc");  // the dotted I would become two characters
  EXPECT_EQ(JinjaCapitalize("éCOLE"), "École");
  EXPECT_EQ(JinjaCapitalize("ßA"), "Ssa");
  EXPECT_EQ(JinjaCapitalize(""), "");
}

TEST(JinjaUnicode, StripsWhiteSpace) {
  EXPECT_EQ(JinjaStripLeft(" \t\u00a0\u3000a "), "a ");
  EXPECT_EQ(JinjaStripRight(" a\n\u2028\x1f"), " a");
  EXPECT_EQ(JinjaStripRight("\u200b"), "\u200b");  // no white space to Python
  EXPECT_EQ(JinjaStripLeft("  "), "");
  EXPECT_EQ(JinjaStripRight("  "), "");
}

}  // namespace
}  // namespace kvasir
