#include "kvasir/cli/answer_stream.h"

#include <algorithm>
#include <utility>

namespace kvasir {

namespace {

constexpr std::string_view kReplacementCharacter = "\xEF\xBF\xBD";  // U+FFFD

// Bytes of the well-formed UTF-8 character at the front of `text`, 0 when there is none.
size_t CharacterBytes(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = byte(0);
  if (lead < 0x80) return 1;
  const size_t count = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
  if (lead < 0xC2 || lead > 0xF4 || text.size() < count) return 0;
  for (size_t i = 1; i < count; ++i) {
    if ((byte(i) & 0xC0) != 0x80) return 0;
  }
  // Overlong forms, surrogates, and what lies beyond U+10FFFF show in the second byte.
  const unsigned char second = byte(1);
  if ((lead == 0xE0 && second < 0xA0) || (lead == 0xED && second > 0x9F)) return 0;
  if ((lead == 0xF0 && second < 0x90) || (lead == 0xF4 && second > 0x8F)) return 0;
  return count;
}

}  // namespace

std::string WellFormedUtf8(std::string_view text) {
  std::string result;
  result.reserve(text.size());
  while (!text.empty()) {
    const size_t count = CharacterBytes(text);
    result += count == 0 ? kReplacementCharacter : text.substr(0, count);
    text.remove_prefix(count == 0 ? 1 : count);
  }
  return result;
}

AnswerStream::AnswerStream(const Tokenizer& tokenizer, std::vector<std::string> stops,
                           TextCallback on_text, PrefillCallback on_prefill)
    : detokenizer_(tokenizer, {.skip_special = true}),
      stop_matcher_(std::move(stops)),
      on_text_(std::move(on_text)),
      on_prefill_(std::move(on_prefill)) {}

void AnswerStream::ContinueFrom(std::span<const TokenId> prompt) {
  for (const TokenId token : prompt) (void)detokenizer_.Push(token);
}

bool AnswerStream::OnToken(const SampledToken& token) {
  last_token_ = Clock::now();
  if (tokens_.empty()) first_token_ = last_token_;
  tokens_.push_back(token.id);
  const bool reading = Show(stop_matcher_.Push(detokenizer_.Push(token.id)));
  return reading && !stop_matcher_.stopped();
}

void AnswerStream::OnPrefillProgress(size_t done, size_t total) {
  if (on_prefill_) on_prefill_(done, total);
}

void AnswerStream::OnPromptRead(const PromptStats& stats) {
  cached_token_count_ = stats.cached_token_count;
}

void AnswerStream::OnFinish(FinishReason reason, const Status& status) {
  if (!stop_matcher_.stopped()) {
    // A character that was cut off by the token limit is shown as one that could not be read.
    if (!detokenizer_.Finish().empty()) Show(stop_matcher_.Push(kReplacementCharacter));
    Show(stop_matcher_.Finish());
  }
  finished_ = true;
  reason_ = reason;
  status_ = status;
}

bool AnswerStream::Show(std::string_view piece) {
  if (drop_blanks_) {
    piece.remove_prefix(std::min(piece.find_first_not_of(" \n"), piece.size()));
    drop_blanks_ = piece.empty();
  }
  if (piece.empty() || reader_gone_) return !reader_gone_;
  const std::string shown = WellFormedUtf8(piece);  // byte tokens need not make characters
  text_ += shown;
  if (on_text_ && !on_text_(shown)) reader_gone_ = true;
  return !reader_gone_;
}

double AnswerStream::prefill_seconds() const {
  return std::chrono::duration<double>(first_token_ - start_).count();
}

double AnswerStream::decode_seconds() const {
  return std::chrono::duration<double>(last_token_ - first_token_).count();
}

}  // namespace kvasir
