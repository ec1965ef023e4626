// Unicode as tokenizers need it: UTF-8 over bytes that may be malformed, two character classes, and
// the normal forms (utf8proc, wrapped here alone). Pure functions, any thread.

#ifndef KVASIR_TEXT_UNICODE_H_
#define KVASIR_TEXT_UNICODE_H_

#include <cstddef>
#include <string>
#include <string_view>

#include "kvasir/base/status.h"

namespace kvasir {

struct Utf8Char {
  char32_t code_point = 0;
  size_t byte_count = 1;
  bool valid = false;  // false: one byte that begins no well-formed character
};

// The character at `text[0]`. REQUIRES text not empty.
Utf8Char DecodeUtf8(std::string_view text);

// Bytes of the longest well-formed prefix of `text`.
size_t ValidUtf8Bytes(std::string_view text);

// Bytes at the end of `text` that begin a character and lack its rest: 0 to 3.
size_t IncompleteUtf8Bytes(std::string_view text);

void AppendUtf8(char32_t code_point, std::string& out);

// Unicode's White_Space.
bool IsWhiteSpace(char32_t code_point);
// What a regex's \w matches: letters, marks, decimal digits, letter numbers, connectors.
bool IsWordChar(char32_t code_point);

// Bytes of white space at the beginning and at the end of `text`.
size_t LeadingWhiteSpaceBytes(std::string_view text);
size_t TrailingWhiteSpaceBytes(std::string_view text);

enum class NormalForm { kNfc, kNfd, kNfkc, kNfkd };

// `text` in a normal form; malformed bytes stay as they are.
std::string NormalizeUnicode(std::string_view text, NormalForm form);

}  // namespace kvasir

#endif  // KVASIR_TEXT_UNICODE_H_
