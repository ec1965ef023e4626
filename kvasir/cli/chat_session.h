// ChatSession: a conversation on an engine: a message in, an answer streamed out, both remembered.
// Every turn submits the whole conversation again. One thread, which steps the engine.

#ifndef KVASIR_CLI_CHAT_SESSION_H_
#define KVASIR_CLI_CHAT_SESSION_H_

#include <cstddef>
#include <string>

#include "kvasir/base/status.h"
#include "kvasir/cli/answer_stream.h"
#include "kvasir/cli/conversation.h"
#include "kvasir/cli/interrupt.h"
#include "kvasir/cli/sampling_options.h"
#include "kvasir/engine/engine.h"

namespace kvasir {

// Steps `engine` until nothing is left to do. Ctrl-C cancels the requests `ids`.
void RunRequests(Engine& engine, std::span<const RequestId> ids, const InterruptScope& interrupt);

struct Turn {
  FinishReason reason = FinishReason::kStop;
  std::string text = {};
  size_t prompt_token_count = 0;
  size_t cached_token_count = 0;  // of these, from earlier turns
  size_t answer_token_count = 0;
  double prefill_seconds = 0;  // until the first token
  double decode_seconds = 0;   // from the first token to the last
};

// "412 tokens read, 352 of them from the cache, at 310 tokens/s, 96 written at 88 tokens/s".
std::string DescribeTurn(const Turn& turn);

class ChatSession {
 public:
  // All must outlive the session, but the options, which are copied.
  ChatSession(Engine& engine, const Tokenizer& tokenizer, Conversation conversation,
              SamplingOptions sampling, InterruptScope& interrupt);

  // Answers `message`, streaming to `on_text`. A cancelled answer is remembered as far as it came;
  // after an error (a prompt beyond the context, say) the message is forgotten.
  Result<Turn> Answer(std::string message, AnswerStream::TextCallback on_text,
                      AnswerStream::PrefillCallback on_prefill);

  Conversation& conversation() { return conversation_; }
  const Engine& engine() const { return engine_; }

 private:
  Result<Turn> AnswerConversation(AnswerStream::TextCallback on_text,
                                  AnswerStream::PrefillCallback on_prefill);

  Engine& engine_;
  const Tokenizer& tokenizer_;
  Conversation conversation_;
  SamplingOptions sampling_;
  InterruptScope& interrupt_;
};

}  // namespace kvasir

#endif  // KVASIR_CLI_CHAT_SESSION_H_
