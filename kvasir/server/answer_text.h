// AnswerText: the tokens of one answer -> pieces of text that may be shown: whole UTF-8 characters,
// no part of a stop string, and with each piece the logprobs of the tokens that made it. One per
// answer, not for concurrent use.

#ifndef KVASIR_SERVER_ANSWER_TEXT_H_
#define KVASIR_SERVER_ANSWER_TEXT_H_

#include <span>
#include <string>
#include <vector>

#include "kvasir/engine/request.h"
#include "kvasir/text/detokenizer.h"
#include "kvasir/text/stop_matcher.h"
#include "kvasir/text/tokenizer.h"

namespace kvasir {

// One token of an answer or of an echoed prompt, with its logprobs where asked for.
struct ShownToken {
  TokenId id = kNoToken;
  bool has_logprobs = false;
  TokenLogprobs logprobs = {};
};

struct AnswerPiece {
  std::string text;
  std::vector<ShownToken> tokens;  // filled when asked to keep them
  bool empty() const { return text.empty() && tokens.empty(); }
};

class AnswerText {
 public:
  struct Options {
    std::vector<std::string> stops;
    bool skip_special = true;
    bool keep_tokens = false;  // for logprobs and token ids
  };

  // `tokenizer` must outlive this object.
  AnswerText(const Tokenizer& tokenizer, Options options);

  // Says that the answer goes on from `prompt` in the middle of a text: a space before its first
  // word is kept. Before the first token.
  void ContinueFrom(std::span<const TokenId> prompt);

  // What the token completes; tokens whose text is held back come with the piece that shows it.
  AnswerPiece Push(const SampledToken& token);
  // What was held back when the answer ends.
  AnswerPiece Finish();

  bool stopped() const { return stop_matcher_.stopped(); }
  size_t token_count() const { return token_count_; }

 private:
  AnswerPiece Show(std::string text);

  Detokenizer detokenizer_;
  StopMatcher stop_matcher_;
  const bool keep_tokens_;
  std::vector<ShownToken> held_tokens_;
  size_t token_count_ = 0;
};

// `text` with U+FFFD in place of every byte that is not part of a well-formed character.
std::string ReplaceIllFormed(std::string_view text);

}  // namespace kvasir

#endif  // KVASIR_SERVER_ANSWER_TEXT_H_
