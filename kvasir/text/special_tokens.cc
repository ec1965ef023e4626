#include "kvasir/text/special_tokens.h"

#include <algorithm>

#include "kvasir/text/unicode.h"

namespace kvasir {

namespace {

bool EndsWithWordChar(std::string_view text) {
  if (text.empty()) return false;
  size_t start = text.size() - 1;
  while (start > 0 && text.size() - start < 4 && (text[start] & 0xC0) == 0x80) --start;
  const Utf8Char c = DecodeUtf8(text.substr(start));
  return c.valid && IsWordChar(c.code_point);
}

bool BeginsWithWordChar(std::string_view text) {
  if (text.empty()) return false;
  const Utf8Char c = DecodeUtf8(text);
  return c.valid && IsWordChar(c.code_point);
}

uint8_t ByteAt(const std::string& text, size_t i) { return static_cast<uint8_t>(text[i]); }

}  // namespace

SpecialTokens::SpecialTokens(std::vector<SpecialToken> tokens) {
  std::erase_if(tokens, [](const SpecialToken& t) { return t.text.empty(); });
  std::stable_sort(tokens.begin(), tokens.end(),
                   [](const SpecialToken& a, const SpecialToken& b) { return a.text < b.text; });
  for (SpecialToken& token : tokens) {
    if (!tokens_.empty() && tokens_.back().text == token.text) tokens_.pop_back();
    tokens_.push_back(std::move(token));
  }
  for (const SpecialToken& token : tokens_) ++first_[ByteAt(token.text, 0) + 1];
  for (size_t b = 0; b < 256; ++b) first_[b + 1] += first_[b];
}

const SpecialToken* SpecialTokens::MatchAt(std::string_view text, size_t offset) const {
  const uint8_t byte = static_cast<uint8_t>(text[offset]);
  auto begin = tokens_.begin() + first_[byte];
  auto end = tokens_.begin() + first_[byte + 1];
  const SpecialToken* longest = nullptr;
  // [begin, end): the tokens that agree with the text in their first `length` bytes.
  for (size_t length = 1; begin != end; ++length) {
    if (begin->text.size() == length) longest = &*begin++;  // the shortest sorts first
    if (offset + length == text.size()) break;
    const uint8_t next = static_cast<uint8_t>(text[offset + length]);
    begin = std::partition_point(
        begin, end, [&](const SpecialToken& t) { return ByteAt(t.text, length) < next; });
    end = std::partition_point(
        begin, end, [&](const SpecialToken& t) { return ByteAt(t.text, length) == next; });
  }
  return longest;
}

std::string_view SpecialTokens::TextAt(std::string_view text, size_t offset) const {
  const uint8_t byte = static_cast<uint8_t>(text[offset]);
  const SpecialToken* token = first_[byte] == first_[byte + 1] ? nullptr : MatchAt(text, offset);
  return token == nullptr ? std::string_view() : std::string_view(token->text);
}

void SpecialTokens::Split(std::string_view text, const Sink& sink) const {
  size_t done = 0;  // everything before was given to `sink`
  for (size_t i = 0; i < text.size() && !tokens_.empty();) {
    const uint8_t byte = static_cast<uint8_t>(text[i]);
    const SpecialToken* token = first_[byte] == first_[byte + 1] ? nullptr : MatchAt(text, i);
    if (token == nullptr) {
      ++i;
      continue;
    }
    size_t begin = i;
    size_t end = i + token->text.size();
    i = end;
    if (token->single_word &&
        (EndsWithWordChar(text.substr(0, begin)) || BeginsWithWordChar(text.substr(end)))) {
      continue;
    }
    if (token->lstrip) begin -= TrailingWhiteSpaceBytes(text.substr(done, begin - done));
    if (token->rstrip) i = end += LeadingWhiteSpaceBytes(text.substr(end));
    if (begin > done) sink(text.substr(done, begin - done), kNoToken);
    sink(text.substr(begin, end - begin), token->id);
    done = end;
  }
  if (done < text.size()) sink(text.substr(done), kNoToken);
}

}  // namespace kvasir
