#include "kvasir/text/jinja_text.h"

#include <algorithm>
#include <cstdint>

#include "kvasir/text/jinja_unicode.h"

namespace kvasir {

namespace {

struct Word {
  size_t begin;
  size_t end;
};

std::vector<Word> FindWords(std::string_view text) {
  std::vector<Word> words;
  bool in_word = false;
  for (size_t offset = 0; offset < text.size();) {
    const size_t bytes = JinjaCharBytes(text, offset);
    const bool space = JinjaIsSpace(JinjaCodePoint(text.substr(offset, bytes)));
    if (!space && !in_word) words.push_back({offset, offset});
    if (!space) words.back().end = offset + bytes;
    in_word = !space;
    offset += bytes;
  }
  return words;
}

// What str.splitlines takes for the end of a line.
bool IsLineEnd(uint32_t c) {
  return (c >= 0x0A && c <= 0x0D) || (c >= 0x1C && c <= 0x1E) || c == 0x85 || c == 0x2028 ||
         c == 0x2029;
}

}  // namespace

std::string_view JinjaStrip(std::string_view text, const std::string* chars, bool left,
                            bool right) {
  if (chars == nullptr) {
    if (left) text = JinjaStripLeft(text);
    return right ? JinjaStripRight(text) : text;
  }
  const std::vector<std::string_view> set = JinjaChars(*chars);
  const auto in_set = [&](std::string_view character) {
    return std::find(set.begin(), set.end(), character) != set.end();
  };
  const std::vector<std::string_view> characters = JinjaChars(text);
  size_t first = 0;
  size_t last = characters.size();
  while (left && first < last && in_set(characters[first])) ++first;
  while (right && first < last && in_set(characters[last - 1])) --last;
  if (first == last) return text.substr(0, 0);
  const size_t begin = characters[first].data() - text.data();
  const size_t end = characters[last - 1].data() + characters[last - 1].size() - text.data();
  return text.substr(begin, end - begin);
}

std::vector<std::string_view> JinjaSplitAtSpace(std::string_view text, int64_t limit, bool right) {
  const std::vector<Word> words = FindWords(text);
  const bool limited = limit >= 0 && static_cast<uint64_t>(limit) < words.size();
  const size_t splits = limited ? static_cast<size_t>(limit) : words.size();
  std::vector<std::string_view> parts;
  if (right) {
    const size_t kept = words.size() - splits;
    if (limited) parts.push_back(text.substr(0, words[kept - 1].end));
    for (size_t i = kept; i < words.size(); ++i) {
      parts.push_back(text.substr(words[i].begin, words[i].end - words[i].begin));
    }
  } else {
    for (size_t i = 0; i < splits; ++i) {
      parts.push_back(text.substr(words[i].begin, words[i].end - words[i].begin));
    }
    if (limited) parts.push_back(text.substr(words[splits].begin));
  }
  return parts;
}

std::vector<std::string_view> JinjaSplitAtSeparator(std::string_view text,
                                                    std::string_view separator, int64_t limit,
                                                    bool right) {
  std::vector<std::string_view> parts;
  while (limit < 0 || static_cast<int64_t>(parts.size()) < limit) {
    const size_t at = right ? text.rfind(separator) : text.find(separator);
    if (at == std::string_view::npos) break;
    const std::string_view before = text.substr(0, at);
    const std::string_view after = text.substr(at + separator.size());
    parts.push_back(right ? after : before);
    text = right ? before : after;
  }
  parts.push_back(text);
  if (right) std::reverse(parts.begin(), parts.end());
  return parts;
}

std::vector<std::string_view> JinjaSplitLines(std::string_view text, bool keep_ends) {
  std::vector<std::string_view> lines;
  size_t begin = 0;
  for (size_t offset = 0; offset < text.size();) {
    const size_t bytes = JinjaCharBytes(text, offset);
    const uint32_t c = JinjaCodePoint(text.substr(offset, bytes));
    const size_t end = offset;
    offset += bytes;
    if (!IsLineEnd(c)) continue;
    if (c == '\r' && offset < text.size() && text[offset] == '\n') ++offset;
    lines.push_back(text.substr(begin, (keep_ends ? offset : end) - begin));
    begin = offset;
  }
  if (begin < text.size()) lines.push_back(text.substr(begin));
  return lines;
}

Result<std::string> JinjaReplace(JinjaBudget& budget, std::string_view text,
                                 std::string_view old_text, std::string_view new_text,
                                 int64_t limit) {
  KVASIR_RETURN_IF_ERROR(budget.SpendBytes(text.size()));
  std::string out;
  size_t position = 0;
  for (int64_t count = 0; limit < 0 || count < limit; ++count) {
    // An empty text stands before every character and at the end.
    size_t at = position;
    if (!old_text.empty()) {
      at = text.find(old_text, position);
    } else if (count > 0) {
      at = position == text.size() ? std::string_view::npos
                                   : position + JinjaCharBytes(text, position);
    }
    if (at == std::string_view::npos) break;
    out += text.substr(position, at - position);
    out += new_text;
    position = at + old_text.size();
    KVASIR_RETURN_IF_ERROR(budget.SpendBytes(new_text.size()));
    KVASIR_RETURN_IF_ERROR(budget.CheckBytes(out.size()));
  }
  out += text.substr(position);
  KVASIR_RETURN_IF_ERROR(budget.CheckBytes(out.size()));
  return out;
}

Result<std::string> JinjaPad(JinjaBudget& budget, std::string_view text, int64_t width,
                             std::string_view fill, bool left, bool right) {
  const int64_t chars = static_cast<int64_t>(JinjaCharCount(text));
  if (width <= chars) return std::string(text);
  if (static_cast<uint64_t>(width) > budget.output_bytes_max()) {
    return budget.CheckBytes(static_cast<size_t>(width));
  }
  const size_t missing = static_cast<size_t>(width - chars);
  KVASIR_RETURN_IF_ERROR(budget.SpendBytes(text.size() + missing * fill.size()));
  // str.center gives the odd space to the left where the width is odd.
  size_t before = left ? missing : 0;
  if (left && right) before = missing / 2 + (missing & static_cast<size_t>(width) & 1);
  std::string out;
  for (size_t i = 0; i < before; ++i) out += fill;
  out += text;
  for (size_t i = before; i < missing; ++i) out += fill;
  return out;
}

std::string JinjaTitleCase(std::string_view text) {
  std::string out;
  bool in_word = false;
  for (const std::string_view character : JinjaChars(text)) {
    out += in_word ? JinjaLower(character) : JinjaCapitalize(character);
    in_word = JinjaIsAlpha(JinjaCodePoint(character));
  }
  return out;
}

std::string JinjaSwapCase(std::string_view text) {
  std::string out;
  for (const std::string_view character : JinjaChars(text)) {
    const std::string lower = JinjaLower(character);
    out += lower == character ? JinjaUpper(character) : lower;
  }
  return out;
}

bool JinjaIsCase(std::string_view text, bool upper) {
  const std::string as_upper = JinjaUpper(text);
  const std::string as_lower = JinjaLower(text);
  return as_upper != as_lower && (upper ? as_upper : as_lower) == text;
}

}  // namespace kvasir
