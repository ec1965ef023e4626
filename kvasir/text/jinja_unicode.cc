#include "kvasir/text/jinja_unicode.h"

#include <algorithm>
#include <span>

#include "kvasir/text/jinja_case_table.h"

namespace kvasir {

namespace {

constexpr uint32_t kReplacement = 0xFFFD;
constexpr uint32_t kSharpS = 0xDF;

bool IsContinuation(char c) { return (static_cast<unsigned char>(c) & 0xC0) == 0x80; }

uint32_t MapCase(std::span<const JinjaCaseRange> ranges, uint32_t code_point) {
  const auto it = std::lower_bound(
      ranges.begin(), ranges.end(), code_point,
      [](const JinjaCaseRange& range, uint32_t value) { return range.last < value; });
  if (it == ranges.end() || code_point < it->first || (code_point - it->first) % it->stride != 0) {
    return code_point;
  }
  return code_point + it->delta;
}

void AppendUpper(std::string_view character, std::string& out) {
  if (character.size() == 1) {
    const char c = character[0];
    out.push_back(c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c);
    return;
  }
  const uint32_t code_point = JinjaCodePoint(character);
  const uint32_t mapped = MapCase(kJinjaUpperRanges, code_point);
  if (code_point == kSharpS) {
    out += "SS";
  } else if (mapped == code_point) {
    out += character;
  } else {
    JinjaAppendUtf8(mapped, out);
  }
}

void AppendLower(std::string_view character, std::string& out) {
  if (character.size() == 1) {
    const char c = character[0];
    out.push_back(c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c);
    return;
  }
  const uint32_t code_point = JinjaCodePoint(character);
  const uint32_t mapped = MapCase(kJinjaLowerRanges, code_point);
  if (mapped == code_point) {
    out += character;
  } else {
    JinjaAppendUtf8(mapped, out);
  }
}

// Assigned characters beyond ASCII that Python's repr() escapes: controls, formats, separators,
// private use and surrogates.
constexpr struct {
  uint32_t first;
  uint32_t last;
} kUnprintable[] = {
    {0x80, 0xa0},       {0xad, 0xad},       {0x600, 0x605},       {0x61c, 0x61c},
    {0x6dd, 0x6dd},     {0x70f, 0x70f},     {0x890, 0x891},       {0x8e2, 0x8e2},
    {0x1680, 0x1680},   {0x180e, 0x180e},   {0x2000, 0x200f},     {0x2028, 0x202f},
    {0x205f, 0x2064},   {0x2066, 0x206f},   {0x3000, 0x3000},     {0xd800, 0xf8ff},
    {0xfeff, 0xfeff},   {0xfff9, 0xfffb},   {0x110bd, 0x110bd},   {0x110cd, 0x110cd},
    {0x13430, 0x13438}, {0x1bca0, 0x1bca3}, {0x1d173, 0x1d17a},   {0xe0001, 0xe0001},
    {0xe0020, 0xe007f}, {0xf0000, 0xffffd}, {0x100000, 0x10fffd},
};

}  // namespace

size_t JinjaCharCount(std::string_view text) {
  size_t count = 0;
  for (const char c : text) count += !IsContinuation(c);
  return count + (!text.empty() && IsContinuation(text[0]));
}

size_t JinjaCharBytes(std::string_view text, size_t offset) {
  size_t end = offset + 1;
  while (end < text.size() && IsContinuation(text[end])) ++end;
  return end - offset;
}

size_t JinjaCharOffset(std::string_view text, size_t index) {
  size_t offset = 0;
  for (; index > 0 && offset < text.size(); --index) offset += JinjaCharBytes(text, offset);
  return offset;
}

uint32_t JinjaCodePoint(std::string_view character) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(character[i]); };
  const size_t size = character.size();
  if (size == 1 && byte(0) < 0x80) return byte(0);
  uint32_t code_point = kReplacement;
  if (size == 2 && byte(0) >= 0xC2 && byte(0) < 0xE0) {
    code_point = (byte(0) & 0x1Fu) << 6 | (byte(1) & 0x3Fu);
  } else if (size == 3 && byte(0) >= 0xE0 && byte(0) < 0xF0) {
    code_point = (byte(0) & 0x0Fu) << 12 | (byte(1) & 0x3Fu) << 6 | (byte(2) & 0x3Fu);
    if (code_point < 0x800) code_point = kReplacement;
  } else if (size == 4 && byte(0) >= 0xF0 && byte(0) < 0xF5) {
    code_point = (byte(0) & 0x07u) << 18 | (byte(1) & 0x3Fu) << 12 | (byte(2) & 0x3Fu) << 6 |
                 (byte(3) & 0x3Fu);
    if (code_point < 0x10000 || code_point > 0x10FFFF) code_point = kReplacement;
  }
  return code_point;
}

std::vector<std::string_view> JinjaChars(std::string_view text) {
  std::vector<std::string_view> chars;
  for (size_t offset = 0; offset < text.size();) {
    const size_t bytes = JinjaCharBytes(text, offset);
    chars.push_back(text.substr(offset, bytes));
    offset += bytes;
  }
  return chars;
}

void JinjaAppendUtf8(uint32_t code_point, std::string& out) {
  const auto push = [&](uint32_t byte) { out.push_back(static_cast<char>(byte)); };
  if (code_point < 0x80) {
    push(code_point);
  } else if (code_point < 0x800) {
    push(0xC0 | code_point >> 6);
    push(0x80 | (code_point & 0x3F));
  } else if (code_point < 0x10000) {
    push(0xE0 | code_point >> 12);
    push(0x80 | (code_point >> 6 & 0x3F));
    push(0x80 | (code_point & 0x3F));
  } else {
    push(0xF0 | code_point >> 18);
    push(0x80 | (code_point >> 12 & 0x3F));
    push(0x80 | (code_point >> 6 & 0x3F));
    push(0x80 | (code_point & 0x3F));
  }
}

bool JinjaIsSpace(uint32_t c) {
  return (c >= 0x09 && c <= 0x0D) || (c >= 0x1C && c <= 0x20) || c == 0x85 || c == 0xA0 ||
         c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F ||
         c == 0x205F || c == 0x3000;
}

bool JinjaIsPrintable(uint32_t c) {
  if (c < 0x80) return c >= 0x20 && c < 0x7F;
  return std::none_of(std::begin(kUnprintable), std::end(kUnprintable),
                      [&](const auto& range) { return c >= range.first && c <= range.last; });
}

bool JinjaIsAlpha(uint32_t c) {
  if (c < 0x80) return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
  // Beyond ASCII most characters that occur in words are letters: punctuation and symbols of the
  // Latin-1 and general punctuation blocks are the exceptions worth knowing.
  const bool latin1_symbol =
      (c < 0xC0 && c != 0xAA && c != 0xB5 && c != 0xBA) || c == 0xD7 || c == 0xF7;
  const bool symbol_block = (c >= 0x2000 && c < 0x2C00 && !(c >= 0x2100 && c < 0x2150)) ||
                            (c >= 0x3000 && c < 0x3005) || (c >= 0x3008 && c < 0x3031) ||
                            (c >= 0xFF00 && c < 0xFF21) || c >= 0x1F000;
  return !latin1_symbol && !symbol_block && JinjaIsPrintable(c);
}

std::string JinjaUpper(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (const std::string_view character : JinjaChars(text)) AppendUpper(character, out);
  return out;
}

std::string JinjaLower(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (const std::string_view character : JinjaChars(text)) AppendLower(character, out);
  return out;
}

std::string JinjaCapitalize(std::string_view text) {
  if (text.empty()) return std::string();
  const size_t first_bytes = JinjaCharBytes(text, 0);
  if (JinjaCodePoint(text.substr(0, first_bytes)) == kSharpS) {
    return "Ss" + JinjaLower(text.substr(first_bytes));  // title case, not upper case
  }
  return JinjaUpper(text.substr(0, first_bytes)) + JinjaLower(text.substr(first_bytes));
}

std::string_view JinjaStripLeft(std::string_view text) {
  while (!text.empty()) {
    const size_t bytes = JinjaCharBytes(text, 0);
    if (!JinjaIsSpace(JinjaCodePoint(text.substr(0, bytes)))) break;
    text.remove_prefix(bytes);
  }
  return text;
}

std::string_view JinjaStripRight(std::string_view text) {
  while (!text.empty()) {
    size_t begin = text.size() - 1;
    while (begin > 0 && IsContinuation(text[begin])) --begin;
    if (!JinjaIsSpace(JinjaCodePoint(text.substr(begin)))) break;
    text.remove_suffix(text.size() - begin);
  }
  return text;
}

}  // namespace kvasir
