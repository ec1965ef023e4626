#include "kvasir/text/jinja_string_literal.h"

#include <charconv>
#include <cstdint>

#include "kvasir/text/jinja_unicode.h"

namespace kvasir {

namespace {

// A code point in `digit_count` digits behind a backslash and `letter`.
Result<uint32_t> HexEscape(std::string_view digits, char letter, size_t digit_count) {
  uint32_t code_point = 0;
  const std::string_view text = digits.substr(0, digit_count);
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), code_point, 16);
  if (text.size() < digit_count || error != std::errc() || end != text.data() + text.size()) {
    return InvalidArgument(std::string("a \\") + letter + " escape needs " +
                           std::to_string(digit_count) + " hexadecimal digits");
  }
  if (code_point > 0x10FFFF || (code_point >= 0xD800 && code_point < 0xE000)) {
    return InvalidArgument(std::string("the escape \\") + letter + std::string(text) +
                           " is no Unicode character");
  }
  return code_point;
}

}  // namespace

Result<std::string> JinjaUnescape(std::string_view literal) {
  constexpr std::string_view kLetters = "\\'\"abfnrtv";
  constexpr std::string_view kMeanings = "\\'\"\a\b\f\n\r\t\v";
  std::string out;
  out.reserve(literal.size());
  for (size_t i = 0; i < literal.size(); ++i) {
    if (literal[i] != '\\' || i + 1 == literal.size()) {
      out.push_back(literal[i]);
      continue;
    }
    const char letter = literal[++i];
    if (const size_t known = kLetters.find(letter); known != std::string_view::npos) {
      out.push_back(kMeanings[known]);
    } else if (letter == '\n') {
      continue;  // a line goes on
    } else if (letter >= '0' && letter <= '7') {
      uint32_t value = 0;
      size_t digits = 0;
      for (; digits < 3 && i + digits < literal.size() && literal[i + digits] >= '0' &&
             literal[i + digits] <= '7';
           ++digits) {
        value = value * 8 + (literal[i + digits] - '0');
      }
      JinjaAppendUtf8(value, out);
      i += digits - 1;
    } else if (letter == 'x' || letter == 'u' || letter == 'U') {
      const size_t digits = letter == 'x' ? 2 : letter == 'u' ? 4 : 8;
      KVASIR_ASSIGN_OR_RETURN(const uint32_t code_point,
                              HexEscape(literal.substr(i + 1), letter, digits));
      JinjaAppendUtf8(code_point, out);
      i += digits;
    } else if (letter == 'N') {
      return InvalidArgument("escapes by character name (\\N) are not supported");
    } else {
      out.push_back('\\');
      out.push_back(letter);
    }
  }
  return out;
}

}  // namespace kvasir
