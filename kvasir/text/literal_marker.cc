#include "kvasir/text/literal_marker.h"

#include <algorithm>
#include <utility>

namespace kvasir {

namespace {

constexpr size_t kMarkCount = 32;
constexpr std::string_view kWhiteSpace = " \t\n\r\v\f";

// U+FDD0 + index, a noncharacter.
std::string MarkAt(size_t index) {
  std::string mark = "\xEF\xB7\x90";
  mark[2] = static_cast<char>(0x90 + index);
  return mark;
}

bool HoldsText(const Json& value, std::string_view text) {
  if (value.is_string()) {
    return value.get_ref<const std::string&>().find(text) != std::string::npos;
  }
  if (!value.is_structured()) return false;
  for (const auto& [key, member] : value.items()) {
    if (value.is_object() && key.find(text) != std::string::npos) return true;
    if (HoldsText(member, text)) return true;
  }
  return false;
}

// Bytes of the character at the front, whatever follows its lead byte.
size_t CharacterBytes(std::string_view text) {
  size_t count = 1;
  while (count < text.size() && (static_cast<unsigned char>(text[count]) & 0xC0) == 0x80) ++count;
  return count;
}

}  // namespace

LiteralMarker::LiteralMarker(const Tokenizer& tokenizer) {
  std::vector<SpecialToken> tokens;
  for (TokenId id = 0; static_cast<size_t>(id) < tokenizer.vocab_size(); ++id) {
    if (!tokenizer.IsControl(id)) continue;
    SpecialToken token;
    token.text = std::string(tokenizer.TokenBytes(id));
    token.id = id;
    tokens.push_back(std::move(token));
  }
  tokens_ = SpecialTokens(std::move(tokens));
}

std::string LiteralMarker::Mark(std::string_view text, std::string_view mark) const {
  // Templates trim: what stands at the edge then counts.
  const size_t begin = std::min(text.find_first_not_of(kWhiteSpace), text.size());
  const size_t end = text.find_last_not_of(kWhiteSpace) + 1;
  const std::string_view trimmed = text.substr(begin, end - std::min(begin, end));
  // The text's beginning may be the end of a token that stands before it, and its end, from
  // `tail_begin`, the beginning of one that what follows completes.
  bool mark_front = false;
  size_t tail_begin = end;
  for (const SpecialToken& token : tokens_.tokens()) {
    const std::string_view name = token.text;
    for (size_t length = 1; length < name.size(); ++length) {
      mark_front = mark_front || trimmed.starts_with(name.substr(length));
      if (length <= trimmed.size() && trimmed.ends_with(name.substr(0, length))) {
        tail_begin = std::min(tail_begin, end - length);
      }
    }
  }
  std::string marked;
  for (size_t i = 0; i < text.size();) {
    if (i == begin && mark_front) marked.append(mark);
    const bool in_tail = i >= tail_begin && i < end;
    const size_t count = CharacterBytes(text.substr(i));
    const bool breaks = in_tail || !tokens_.TextAt(text, i).empty();
    marked.append(text.substr(i, count));
    if (breaks) marked.append(mark);
    i += count;
  }
  return marked;
}

bool LiteralMarker::MarkAll(Json* value, std::string* mark) const {
  size_t index = 0;
  while (index < kMarkCount && HoldsText(*value, MarkAt(index))) ++index;
  if (index == kMarkCount) return false;
  *mark = MarkAt(index);
  const auto mark_strings = [&](const auto& self, Json& part) -> void {
    if (part.is_string()) {
      part = Mark(part.get_ref<const std::string&>(), *mark);
    } else if (part.is_array()) {
      for (Json& element : part) self(self, element);
    } else if (part.is_object()) {
      Json marked = Json::object();
      for (auto& [key, member] : part.items()) {
        self(self, member);
        marked[Mark(key, *mark)] = std::move(member);
      }
      part = std::move(marked);
    }
  };
  mark_strings(mark_strings, *value);
  return true;
}

std::string RemoveMark(std::string_view text, std::string_view mark) {
  std::string rest;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find(mark, begin), text.size());
    rest.append(text.substr(begin, end - begin));
    begin = end + mark.size();
  }
  return rest;
}

}  // namespace kvasir
