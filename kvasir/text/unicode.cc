#include "kvasir/text/unicode.h"

#include <utf8proc.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>

namespace kvasir {

namespace {

// What the first byte of a character promises: its length, the bits of the code point in it, and
// the range of the second byte, which excludes overlong forms, surrogates and values over 0x10FFFF.
struct LeadByte {
  size_t byte_count;  // 0: cannot begin a character
  uint8_t value;
  uint8_t second_min;
  uint8_t second_max;
};

LeadByte ClassifyLead(uint8_t c) {
  if (c < 0x80) return {1, c, 0x80, 0xBF};
  if (c >= 0xC2 && c <= 0xDF) return {2, static_cast<uint8_t>(c & 0x1F), 0x80, 0xBF};
  if (c == 0xE0) return {3, 0, 0xA0, 0xBF};
  if (c == 0xED) return {3, 0x0D, 0x80, 0x9F};
  if (c >= 0xE1 && c <= 0xEF) return {3, static_cast<uint8_t>(c & 0x0F), 0x80, 0xBF};
  if (c == 0xF0) return {4, 0, 0x90, 0xBF};
  if (c >= 0xF1 && c <= 0xF3) return {4, static_cast<uint8_t>(c & 0x07), 0x80, 0xBF};
  if (c == 0xF4) return {4, 4, 0x80, 0x8F};
  return {0, 0, 0, 0};
}

bool IsAscii(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return (c & 0x80) == 0; });
}

int Utf8procOptions(NormalForm form) {
  switch (form) {
    case NormalForm::kNfc:
      return UTF8PROC_STABLE | UTF8PROC_COMPOSE;
    case NormalForm::kNfd:
      return UTF8PROC_STABLE | UTF8PROC_DECOMPOSE;
    case NormalForm::kNfkc:
      return UTF8PROC_STABLE | UTF8PROC_COMPOSE | UTF8PROC_COMPAT;
    case NormalForm::kNfkd:
      return UTF8PROC_STABLE | UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT;
  }
  return UTF8PROC_STABLE;
}

// REQUIRES well-formed UTF-8.
void AppendNormalized(std::string_view text, NormalForm form, std::string& out) {
  utf8proc_uint8_t* mapped = nullptr;
  const utf8proc_ssize_t size = utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
                                             static_cast<utf8proc_ssize_t>(text.size()), &mapped,
                                             static_cast<utf8proc_option_t>(Utf8procOptions(form)));
  if (size < 0) {  // no memory: the text as it is still has a tokenization
    out.append(text);
    return;
  }
  out.append(reinterpret_cast<const char*>(mapped), static_cast<size_t>(size));
  std::free(mapped);
}

}  // namespace

Utf8Char DecodeUtf8(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(text[i]); };
  const LeadByte lead = ClassifyLead(byte(0));
  if (lead.byte_count == 0 || lead.byte_count > text.size()) return {byte(0), 1, false};
  char32_t code_point = lead.value;
  for (size_t i = 1; i < lead.byte_count; ++i) {
    const uint8_t min = i == 1 ? lead.second_min : 0x80;
    const uint8_t max = i == 1 ? lead.second_max : 0xBF;
    if (byte(i) < min || byte(i) > max) return {byte(0), 1, false};
    code_point = code_point << 6 | (byte(i) & 0x3F);
  }
  return {code_point, lead.byte_count, true};
}

size_t ValidUtf8Bytes(std::string_view text) {
  size_t i = 0;
  while (i < text.size()) {
    if ((text[i] & 0x80) == 0) {
      ++i;
      continue;
    }
    const Utf8Char c = DecodeUtf8(text.substr(i));
    if (!c.valid) break;
    i += c.byte_count;
  }
  return i;
}

size_t IncompleteUtf8Bytes(std::string_view text) {
  for (size_t back = 1; back <= 3 && back <= text.size(); ++back) {
    const std::string_view tail = text.substr(text.size() - back);
    const uint8_t c = static_cast<uint8_t>(tail[0]);
    if ((c & 0xC0) == 0x80) continue;  // inside a character
    const LeadByte lead = ClassifyLead(c);
    if (lead.byte_count <= back) return 0;  // complete, or never a beginning
    if (back >= 2) {
      const uint8_t second = static_cast<uint8_t>(tail[1]);
      if (second < lead.second_min || second > lead.second_max) return 0;
    }
    return back;
  }
  return 0;
}

void AppendUtf8(char32_t c, std::string& out) {
  if (c < 0x80) {
    out += static_cast<char>(c);
  } else if (c < 0x800) {
    out += static_cast<char>(0xC0 | c >> 6);
    out += static_cast<char>(0x80 | (c & 0x3F));
  } else if (c < 0x10000) {
    out += static_cast<char>(0xE0 | c >> 12);
    out += static_cast<char>(0x80 | (c >> 6 & 0x3F));
    out += static_cast<char>(0x80 | (c & 0x3F));
  } else {
    out += static_cast<char>(0xF0 | c >> 18);
    out += static_cast<char>(0x80 | (c >> 12 & 0x3F));
    out += static_cast<char>(0x80 | (c >> 6 & 0x3F));
    out += static_cast<char>(0x80 | (c & 0x3F));
  }
}

bool IsWhiteSpace(char32_t c) {
  return (c >= 0x09 && c <= 0x0D) || c == 0x20 || c == 0x85 || c == 0xA0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F ||
         c == 0x3000;
}

bool IsWordChar(char32_t c) {
  switch (utf8proc_category(static_cast<utf8proc_int32_t>(c))) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_PC:
      return true;
    default:
      return false;
  }
}

size_t LeadingWhiteSpaceBytes(std::string_view text) {
  size_t end = 0;
  while (end < text.size()) {
    const Utf8Char c = DecodeUtf8(text.substr(end));
    if (!c.valid || !IsWhiteSpace(c.code_point)) break;
    end += c.byte_count;
  }
  return end;
}

size_t TrailingWhiteSpaceBytes(std::string_view text) {
  size_t begin = text.size();
  while (begin > 0) {
    size_t start = begin - 1;
    while (start > 0 && begin - start < 4 && (text[start] & 0xC0) == 0x80) --start;
    const Utf8Char c = DecodeUtf8(text.substr(start, begin - start));
    if (!c.valid || c.byte_count != begin - start || !IsWhiteSpace(c.code_point)) break;
    begin = start;
  }
  return text.size() - begin;
}

std::string NormalizeUnicode(std::string_view text, NormalForm form) {
  if (IsAscii(text)) return std::string(text);
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const size_t valid = ValidUtf8Bytes(text);
    if (valid > 0) AppendNormalized(text.substr(0, valid), form, out);
    text.remove_prefix(valid);
    if (!text.empty()) {
      out += text.front();
      text.remove_prefix(1);
    }
  }
  return out;
}

}  // namespace kvasir
