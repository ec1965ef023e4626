// Characters of template strings: UTF-8 seen as Python sees str, by code points. Pure functions,
// any thread. A string may hold any bytes: a character begins at the first byte and at every byte
// that is not a UTF-8 continuation byte, so that nothing is ever lost or out of range.

#ifndef KVASIR_TEXT_JINJA_UNICODE_H_
#define KVASIR_TEXT_JINJA_UNICODE_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace kvasir {

// Characters in `text`.
size_t JinjaCharCount(std::string_view text);

// Bytes of the character that begins at `offset`. REQUIRES offset < text.size().
size_t JinjaCharBytes(std::string_view text, size_t offset);

// The byte offset of character `index`; text.size() when there are not so many.
size_t JinjaCharOffset(std::string_view text, size_t index);

// The code point that `character` (the bytes of one character) stands for, U+FFFD when malformed.
uint32_t JinjaCodePoint(std::string_view character);

// The characters of `text`, as views into it.
std::vector<std::string_view> JinjaChars(std::string_view text);

// Appends `code_point` as UTF-8. REQUIRES a code point up to 0x10FFFF.
void JinjaAppendUtf8(uint32_t code_point, std::string& out);

// What Python's str.isspace, str.isprintable and (approximately, beyond ASCII) str.isalpha say of a
// single character.
bool JinjaIsSpace(uint32_t code_point);
bool JinjaIsPrintable(uint32_t code_point);
bool JinjaIsAlpha(uint32_t code_point);

// str.upper, str.lower and str.capitalize. Of the characters whose upper case is several
// characters, only the German sharp s is known.
std::string JinjaUpper(std::string_view text);
std::string JinjaLower(std::string_view text);
std::string JinjaCapitalize(std::string_view text);

// `text` without the white space at its left or right.
std::string_view JinjaStripLeft(std::string_view text);
std::string_view JinjaStripRight(std::string_view text);

}  // namespace kvasir

#endif  // KVASIR_TEXT_JINJA_UNICODE_H_
