// Generation: the answers to one chat or completion request: gives each prompt and choice to the
// engine, takes their tokens on the engine thread, and writes the reply, as a stream or whole.
// Stops everything when the client leaves, the deadline passes or one choice fails. Keeps itself
// alive until its last choice has ended.

#ifndef KVASIR_SERVER_GENERATION_H_
#define KVASIR_SERVER_GENERATION_H_

#include <chrono>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "kvasir/server/answer_text.h"
#include "kvasir/server/call.h"
#include "kvasir/server/openai_request.h"
#include "kvasir/server/reply_format.h"

namespace kvasir {

struct GenerationPrompt {
  std::vector<TokenId> tokens;
  std::string echo_text;  // what "echo" repeats
};

struct GenerationOptions {
  GenerationParams params;
  std::vector<GenerationPrompt> prompts;  // each gets params.choice_count answers
  bool echo = false;
  bool continues_text = false;  // the answer goes on in the middle of a text
};

class Generation : public std::enable_shared_from_this<Generation> {
 public:
  // Answers `call`, now or later. REQUIRES a model in the call's context.
  static void Start(std::shared_ptr<Call> call, GenerationOptions options,
                    std::unique_ptr<ReplyFormat> format);

  Generation(std::shared_ptr<Call> call, GenerationOptions options,
             std::unique_ptr<ReplyFormat> format);

 private:
  class Sink;
  using Clock = std::chrono::steady_clock;

  struct Choice {
    Choice(const Tokenizer& tokenizer, AnswerText::Options options)
        : text(tokenizer, std::move(options)) {}
    AnswerText text;
    ReplyChoice reply;           // of a reply that is not streamed
    AnswerPiece echo;            // the prompt, until the first token
    size_t sent_characters = 0;  // of a streamed one
    size_t cached_tokens = 0;
    size_t disk_tokens = 0;
    bool read = false;      // its prompt
    bool finished = false;  // also: never submitted
    RequestId id = 0;       // 0 = not submitted yet
    std::string finish_reason;
    Clock::time_point last_token = {};
  };

  // Every request of the reply for the engine; false when one of them cannot be served: answered.
  bool CheckSizes();
  Request MakeRequest(size_t choice) const;
  void SubmitAll();
  const GenerationPrompt& PromptOf(size_t choice) const {
    return options_.prompts[choice / options_.params.choice_count];
  }

  // From the sinks, on the engine thread.
  void OnPromptLogprobs(size_t choice, size_t position, const TokenLogprobs& logprobs);
  void OnPromptRead(size_t choice, const PromptStats& stats);
  bool OnToken(size_t choice, const SampledToken& token);
  void OnFinish(size_t choice, FinishReason reason, const Status& status);

  // With mutex_ held:
  void Emit(size_t choice, AnswerPiece piece);
  void BeginChoice(size_t choice);
  void FailWith(ApiError error);
  void CancelAll();
  bool StreamWrite(const std::string& json);
  void FinishReply();
  void FinishStream();
  ReplyUsage Usage() const;
  HttpResponse StreamHead() const;
  GenerationSummary Summary() const;

  const std::shared_ptr<Call> call_;
  ServedModel& model_;
  const GenerationOptions options_;
  const std::unique_ptr<ReplyFormat> format_;
  bool keep_tokens_ = false;

  std::mutex mutex_;
  std::vector<Choice> choices_;
  size_t unfinished_count_ = 0;
  bool gone_ = false;       // the client
  bool cancelled_ = false;  // every choice, and those still to be submitted
  bool stream_begun_ = false;
  ApiError error_;
  double queue_seconds_ = 0;
  double first_token_seconds_ = 0;
};

}  // namespace kvasir

#endif  // KVASIR_SERVER_GENERATION_H_
