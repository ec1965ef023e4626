#include "kvasir/server/answer_text.h"

#include <utility>

#include "kvasir/text/unicode.h"

namespace kvasir {

namespace {

constexpr std::string_view kReplacementCharacter = "\xEF\xBF\xBD";  // U+FFFD

}  // namespace

std::string ReplaceIllFormed(std::string_view text) {
  std::string result;
  result.reserve(text.size());
  while (!text.empty()) {
    const Utf8Char c = DecodeUtf8(text);
    result.append(c.valid ? text.substr(0, c.byte_count) : kReplacementCharacter);
    text.remove_prefix(c.valid ? c.byte_count : 1);
  }
  return result;
}

AnswerText::AnswerText(const Tokenizer& tokenizer, Options options)
    : detokenizer_(tokenizer, {.skip_special = options.skip_special}),
      stop_matcher_(std::move(options.stops)),
      keep_tokens_(options.keep_tokens) {}

void AnswerText::ContinueFrom(std::span<const TokenId> prompt) {
  for (const TokenId token : prompt) (void)detokenizer_.Push(token);
  (void)detokenizer_.Finish();
}

AnswerPiece AnswerText::Push(const SampledToken& token) {
  ++token_count_;
  if (keep_tokens_) {
    ShownToken shown{.id = token.id};
    if (token.logprobs != nullptr) {
      shown.has_logprobs = true;
      shown.logprobs = *token.logprobs;
    }
    held_tokens_.push_back(std::move(shown));
  }
  return Show(stop_matcher_.Push(detokenizer_.Push(token.id)));
}

AnswerPiece AnswerText::Finish() {
  std::string text;
  if (!stop_matcher_.stopped()) {
    // A character that the token limit cut off is shown as one that could not be read.
    if (!detokenizer_.Finish().empty()) text = stop_matcher_.Push(kReplacementCharacter);
    text += stop_matcher_.Finish();
  }
  AnswerPiece piece = Show(std::move(text));
  piece.tokens.insert(piece.tokens.end(), std::make_move_iterator(held_tokens_.begin()),
                      std::make_move_iterator(held_tokens_.end()));
  held_tokens_.clear();
  return piece;
}

AnswerPiece AnswerText::Show(std::string text) {
  AnswerPiece piece;
  if (text.empty()) return piece;
  piece.text = ReplaceIllFormed(text);
  piece.tokens = std::exchange(held_tokens_, {});
  return piece;
}

}  // namespace kvasir
