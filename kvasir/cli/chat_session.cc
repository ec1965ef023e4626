#include "kvasir/cli/chat_session.h"

#include <cstdio>
#include <utility>

namespace kvasir {

namespace {

double Rate(size_t count, double seconds) { return seconds > 0 ? double(count) / seconds : 0; }

}  // namespace

void RunRequests(Engine& engine, std::span<const RequestId> ids, const InterruptScope& interrupt) {
  bool cancelled = false;
  do {
    if (interrupt.pressed() && !cancelled) {
      for (const RequestId id : ids) engine.Cancel(id);
      cancelled = true;
    }
  } while (engine.Step());
}

std::string DescribeTurn(const Turn& turn) {
  const std::string cached =
      turn.cached_token_count == 0
          ? ""
          : ", " + std::to_string(turn.cached_token_count) + " of them from the cache,";
  char text[192];
  // The first token comes out of the prompt's forward pass.
  const size_t decoded = turn.answer_token_count > 0 ? turn.answer_token_count - 1 : 0;
  std::snprintf(
      text, sizeof(text), "%zu tokens read%s at %.0f tokens/s, %zu written at %.1f tokens/s",
      turn.prompt_token_count, cached.c_str(), Rate(turn.prompt_token_count, turn.prefill_seconds),
      turn.answer_token_count, Rate(decoded, turn.decode_seconds));
  return text;
}

ChatSession::ChatSession(Engine& engine, const Tokenizer& tokenizer, Conversation conversation,
                         SamplingOptions sampling, InterruptScope& interrupt)
    : engine_(engine),
      tokenizer_(tokenizer),
      conversation_(std::move(conversation)),
      sampling_(std::move(sampling)),
      interrupt_(interrupt) {}

Result<Turn> ChatSession::Answer(std::string message, AnswerStream::TextCallback on_text,
                                 AnswerStream::PrefillCallback on_prefill) {
  conversation_.AddUser(std::move(message));
  Result<Turn> turn = AnswerConversation(std::move(on_text), std::move(on_prefill));
  if (turn.ok()) {
    conversation_.AddAssistant(turn->text);
  } else {
    conversation_.RemoveLast();
  }
  return turn;
}

Result<Turn> ChatSession::AnswerConversation(AnswerStream::TextCallback on_text,
                                             AnswerStream::PrefillCallback on_prefill) {
  std::vector<std::string> stops = conversation_.Stops();
  stops.insert(stops.end(), sampling_.stops.begin(), sampling_.stops.end());
  Request request;
  KVASIR_ASSIGN_OR_RETURN(request.prompt, conversation_.Prompt());
  request.token_count_max = sampling_.token_count_max;
  const auto end_tokens = tokenizer_.end_of_generation();
  request.stop_tokens.assign(end_tokens.begin(), end_tokens.end());
  request.sampling = sampling_.Params();

  Turn turn;
  turn.prompt_token_count = request.prompt.size();
  AnswerStream stream(tokenizer_, std::move(stops), std::move(on_text), std::move(on_prefill));
  // "Assistant:" is followed by a space, a template's last words by none.
  if (!conversation_.has_template()) stream.DropLeadingBlanks();
  KVASIR_ASSIGN_OR_RETURN(const RequestId id, engine_.Submit(std::move(request), stream));
  RunRequests(engine_, {&id, 1}, interrupt_);
  if (stream.reason() == FinishReason::kError) return stream.status();
  turn.reason = stream.reason();
  turn.text = stream.text();
  turn.answer_token_count = stream.tokens().size();
  turn.cached_token_count = stream.cached_token_count();
  turn.prefill_seconds = stream.prefill_seconds();
  turn.decode_seconds = stream.decode_seconds();
  return turn;
}

}  // namespace kvasir
