// AnswerStream: turns the tokens of one request into text that may be shown: TokenSink ->
// Detokenizer -> StopMatcher -> callback. Remembers what came, why it ended and how long it took.
// Lives from Submit to OnFinish at least; called on the thread that steps the engine.

#ifndef KVASIR_CLI_ANSWER_STREAM_H_
#define KVASIR_CLI_ANSWER_STREAM_H_

#include <chrono>
#include <cstddef>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "kvasir/base/status.h"
#include "kvasir/engine/request.h"
#include "kvasir/text/detokenizer.h"
#include "kvasir/text/stop_matcher.h"
#include "kvasir/text/tokenizer.h"

namespace kvasir {

// `text` with U+FFFD in place of every byte that is not part of a well-formed character.
std::string WellFormedUtf8(std::string_view text);

class AnswerStream : public TokenSink {
 public:
  // Shows a piece of text (whole UTF-8 characters, no part of a stop string). Returns false when
  // nobody reads on: the request ends then.
  using TextCallback = std::function<bool(std::string_view)>;
  using PrefillCallback = std::function<void(size_t done, size_t total)>;

  // `tokenizer` must outlive the stream; either callback may be empty.
  AnswerStream(const Tokenizer& tokenizer, std::vector<std::string> stops, TextCallback on_text,
               PrefillCallback on_prefill = nullptr);

  // Says that the answer goes on from `prompt` in the middle of a text, so that a space before its
  // first word is kept. Before the first token.
  void ContinueFrom(std::span<const TokenId> prompt);
  // Leaves out spaces and newlines before the answer's first word. Before the first token.
  void DropLeadingBlanks() { drop_blanks_ = true; }

  bool OnToken(const SampledToken& token) override;
  void OnPrefillProgress(size_t done, size_t total) override;
  void OnPromptRead(const PromptStats& stats) override;
  void OnFinish(FinishReason reason, const Status& status) override;

  bool finished() const { return finished_; }
  FinishReason reason() const { return reason_; }    // REQUIRES finished()
  const Status& status() const { return status_; }   // explains kError
  const std::string& text() const { return text_; }  // everything shown
  const std::vector<TokenId>& tokens() const { return tokens_; }
  // Of the prompt's tokens, those found in the prefix cache; 0 before the first token.
  size_t cached_token_count() const { return cached_token_count_; }

  // Time from the stream's creation to the first token (0 before it), and from there to the last.
  double prefill_seconds() const;
  double decode_seconds() const;

 private:
  using Clock = std::chrono::steady_clock;

  bool Show(std::string_view piece);

  Detokenizer detokenizer_;
  StopMatcher stop_matcher_;
  TextCallback on_text_;
  PrefillCallback on_prefill_;
  bool drop_blanks_ = false;
  bool reader_gone_ = false;
  bool finished_ = false;
  FinishReason reason_ = FinishReason::kStop;
  Status status_;
  std::string text_;
  std::vector<TokenId> tokens_;
  size_t cached_token_count_ = 0;
  Clock::time_point start_ = Clock::now();
  Clock::time_point first_token_ = start_;
  Clock::time_point last_token_ = start_;
};

}  // namespace kvasir

#endif  // KVASIR_CLI_ANSWER_STREAM_H_
