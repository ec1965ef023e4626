#include "kvasir/text/byte_alphabet.h"

#include <array>
#include <cstdint>

#include "kvasir/text/unicode.h"

namespace kvasir {

namespace {

// Code points that stand for themselves; the other 68 bytes follow from U+0100 on, in order.
bool StandsForItself(unsigned byte) {
  return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
}

// By code point below 0x144: the byte, or -1.
std::array<int16_t, 0x144> MakeBytesByCodePoint() {
  std::array<int16_t, 0x144> bytes;
  bytes.fill(-1);
  size_t next = 0x100;
  for (unsigned b = 0; b < 256; ++b) {
    bytes[StandsForItself(b) ? b : next++] = static_cast<int16_t>(b);
  }
  return bytes;
}

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return -1;
}

}  // namespace

std::optional<std::string> DecodeByteAlphabet(std::string_view text) {
  static const std::array<int16_t, 0x144> bytes = MakeBytesByCodePoint();
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const Utf8Char c = DecodeUtf8(text);
    if (!c.valid || c.code_point >= bytes.size() || bytes[c.code_point] < 0) return std::nullopt;
    out += static_cast<char>(bytes[c.code_point]);
    text.remove_prefix(c.byte_count);
  }
  return out;
}

std::optional<char> ParseByteToken(std::string_view text) {
  if (text.size() != 6 || !text.starts_with("<0x") || text[5] != '>') return std::nullopt;
  const int high = HexDigit(text[3]);
  const int low = HexDigit(text[4]);
  if (high < 0 || low < 0) return std::nullopt;
  return static_cast<char>(high * 16 + low);
}

}  // namespace kvasir
