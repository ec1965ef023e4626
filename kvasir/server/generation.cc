#include "kvasir/server/generation.h"

#include <algorithm>
#include <random>
#include <utility>

#include "kvasir/formats/kv_block_layout.h"

namespace kvasir {

namespace {

constexpr const char* kStreamEnd = "[DONE]";

uint64_t RandomSeed() {
  static thread_local std::mt19937_64 random{std::random_device{}()};
  return random();
}

double SecondsBetween(std::chrono::steady_clock::time_point a,
                      std::chrono::steady_clock::time_point b) {
  return std::chrono::duration<double>(b - a).count();
}

}  // namespace

// The ear of one choice at the engine.
class Generation::Sink final : public TokenSink {
 public:
  Sink(std::shared_ptr<Generation> generation, size_t choice)
      : generation_(std::move(generation)), choice_(choice) {}

  void OnPromptLogprobs(size_t position, const TokenLogprobs& logprobs) override {
    generation_->OnPromptLogprobs(choice_, position, logprobs);
  }
  void OnPromptRead(const PromptStats& stats) override {
    generation_->OnPromptRead(choice_, stats);
  }
  bool OnToken(const SampledToken& token) override { return generation_->OnToken(choice_, token); }
  void OnFinish(FinishReason reason, const Status& status) override {
    generation_->OnFinish(choice_, reason, status);
  }

 private:
  const std::shared_ptr<Generation> generation_;
  const size_t choice_;
};

void Generation::Start(std::shared_ptr<Call> call, GenerationOptions options,
                       std::unique_ptr<ReplyFormat> format) {
  auto generation =
      std::make_shared<Generation>(std::move(call), std::move(options), std::move(format));
  if (!generation->CheckSizes()) return;
  if (generation->options_.params.stream) {
    generation->call_->writer().PrepareStream(generation->StreamHead());
  }
  generation->call_->writer().OnGone([weak = std::weak_ptr(generation)] {
    const auto living = weak.lock();
    if (living == nullptr) return;
    std::lock_guard lock(living->mutex_);
    living->gone_ = true;
    living->CancelAll();
  });
  generation->SubmitAll();
}

Generation::Generation(std::shared_ptr<Call> call, GenerationOptions options,
                       std::unique_ptr<ReplyFormat> format)
    : call_(std::move(call)),
      model_(*call_->context().model.load()),
      options_(std::move(options)),
      format_(std::move(format)),
      keep_tokens_(options_.params.logprobs || options_.params.return_token_ids) {
  const size_t count = options_.prompts.size() * options_.params.choice_count;
  choices_.reserve(count);
  for (size_t i = 0; i < count; ++i) {
    AnswerText::Options text;
    text.stops = options_.params.stops;
    text.skip_special = options_.params.skip_special_tokens;
    text.keep_tokens = keep_tokens_;
    Choice& choice = choices_.emplace_back(model_.tokenizer(), std::move(text));
    const GenerationPrompt& prompt = PromptOf(i);
    if (options_.continues_text) choice.text.ContinueFrom(prompt.tokens);
    if (!options_.echo) continue;
    choice.echo.text = prompt.echo_text;
    if (!keep_tokens_) continue;
    for (const TokenId token : prompt.tokens) choice.echo.tokens.push_back({.id = token});
  }
  unfinished_count_ = count;
}

bool Generation::CheckSizes() {
  const size_t context = model_.context_tokens();
  for (const GenerationPrompt& prompt : options_.prompts) {
    const size_t prompt_count = prompt.tokens.size();
    const char* const param = options_.continues_text ? "prompt" : "messages";
    if (prompt_count == 0) {
      call_->Fail(InvalidValueError(param, "the prompt is empty, it must have at least 1 token"));
      return false;
    }
    // An answer has a token at least; how long it may grow at most is up to the context without a
    // limit of the client's.
    const size_t answer_count = std::max<uint64_t>(options_.params.token_count_max.value_or(1), 1);
    if (prompt_count >= context || answer_count > context - prompt_count) {
      call_->Fail(ContextLengthError(param, prompt_count, answer_count, context));
      return false;
    }
  }
  return true;
}

Request Generation::MakeRequest(size_t choice) const {
  const GenerationParams& params = options_.params;
  const GenerationPrompt& prompt = PromptOf(choice);
  Request request;
  request.prompt = prompt.tokens;
  request.token_count_max = std::max<uint64_t>(
      params.token_count_max.value_or(model_.context_tokens() - prompt.tokens.size()), 1);
  request.token_count_min = std::min<uint64_t>(params.token_count_min, request.token_count_max);
  if (!params.ignore_eos) {
    const auto end_tokens = model_.tokenizer().end_of_generation();
    request.stop_tokens.assign(end_tokens.begin(), end_tokens.end());
  }
  request.stop_tokens.insert(request.stop_tokens.end(), params.stop_tokens.begin(),
                             params.stop_tokens.end());
  request.sampling = params.sampling;
  // Choices of one request differ, and with a seed they differ in the same way each time.
  request.sampling.seed = params.seed ? *params.seed + choice % params.choice_count : RandomSeed();
  request.logit_bias = params.logit_bias;
  request.logprobs = params.logprobs;
  request.top_logprob_count = params.top_logprob_count;
  request.prompt_logprobs = options_.echo && params.logprobs;
  request.cache_salt = call_->tenant()->cache_salt;
  if (!params.cache_salt.empty()) request.cache_salt += "/" + params.cache_salt;
  request.cache_read = params.cache_read;
  request.cache_write = params.cache_write;
  request.arrival = call_->request().arrival;
  const uint64_t timeout_ms = params.timeout_ms.value_or(call_->context().options.timeout_ms);
  if (timeout_ms > 0) {
    request.deadline = call_->request().arrival + std::chrono::milliseconds(timeout_ms);
  }
  return request;
}

void Generation::SubmitAll() {
  for (size_t i = 0; i < choices_.size(); ++i) {
    {
      std::lock_guard lock(mutex_);
      if (cancelled_) {  // the client left, or an earlier choice failed
        choices_[i].finished = true;
        if (--unfinished_count_ == 0) FinishReply();
        continue;
      }
    }
    Result<RequestId> id =
        model_.loop().Submit(MakeRequest(i), std::make_shared<Sink>(shared_from_this(), i));
    std::lock_guard lock(mutex_);
    if (id.ok()) {
      choices_[i].id = *id;
      if (cancelled_) model_.loop().Cancel(*id);
      continue;
    }
    switch (id.status().code()) {
      case StatusCode::kResourceExhausted:
        call_->context().metrics.CountRefusal("queue_full");
        FailWith(OverloadedError(id.status().message(), model_.loop().EstimateWaitSeconds()));
        break;
      case StatusCode::kCancelled:
        FailWith(DrainingError());
        break;
      case StatusCode::kInvalidArgument:
        FailWith(InvalidValueError("", id.status().message()));
        break;
      default:
        FailWith(InternalError(call_->id()));
    }
    choices_[i].finished = true;
    if (--unfinished_count_ == 0) FinishReply();
  }
}

void Generation::OnPromptLogprobs(size_t index, size_t position, const TokenLogprobs& logprobs) {
  std::lock_guard lock(mutex_);
  std::vector<ShownToken>& tokens = choices_[index].echo.tokens;
  if (position >= tokens.size()) return;
  tokens[position].has_logprobs = true;
  tokens[position].logprobs = logprobs;
}

void Generation::OnPromptRead(size_t index, const PromptStats& stats) {
  std::lock_guard lock(mutex_);
  Choice& choice = choices_[index];
  choice.read = true;
  choice.cached_tokens = stats.cached_token_count;
  choice.disk_tokens = stats.loaded_token_count;
  queue_seconds_ = std::max(queue_seconds_, stats.queue_seconds);
  BeginChoice(index);
}

bool Generation::OnToken(size_t index, const SampledToken& token) {
  std::lock_guard lock(mutex_);
  Choice& choice = choices_[index];
  const auto now = Clock::now();
  if (first_token_seconds_ == 0) {
    first_token_seconds_ = SecondsBetween(call_->request().arrival, now);
  }
  if (choice.text.token_count() > 0) {
    call_->context().metrics.ObserveTokenGap(SecondsBetween(choice.last_token, now));
  }
  choice.last_token = now;
  if (options_.params.token_count_max == uint64_t{0}) return false;  // only the echo was wanted
  Emit(index, choice.text.Push(token));
  return !choice.text.stopped() && !cancelled_;
}

void Generation::OnFinish(size_t index, FinishReason reason, const Status& status) {
  std::lock_guard lock(mutex_);
  Choice& choice = choices_[index];
  choice.finished = true;
  const bool only_echo = options_.params.token_count_max == uint64_t{0};
  choice.finish_reason =
      only_echo && reason == FinishReason::kStop ? "length" : std::string(FinishReasonName(reason));
  switch (reason) {
    case FinishReason::kStop:
    case FinishReason::kLength:
      Emit(index, choice.text.Finish());
      if (!error_.failed()) {
        choice.reply.finish_reason = choice.finish_reason;
        if (options_.params.stream) StreamWrite(format_->LastChunk(index, choice.finish_reason));
      }
      break;
    case FinishReason::kDeadline:
      FailWith(TimeoutError());
      break;
    case FinishReason::kCancelled:
      // Not by us: the loop is being stopped.
      if (!cancelled_) FailWith(DrainingError());
      break;
    case FinishReason::kError:
      call_->context().log.Write("engine_error",
                                 {{"id", call_->id()}, {"message", status.message()}});
      FailWith(InternalError(call_->id()));
      break;
  }
  if (--unfinished_count_ == 0) FinishReply();
}

void Generation::BeginChoice(size_t index) {
  Choice& choice = choices_[index];
  if (options_.params.stream) {
    if (!stream_begun_) {
      HttpResponse head = StreamHead();
      head.headers.push_back({"X-Kvasir-Cached-Tokens", std::to_string(choice.cached_tokens)});
      head.headers.push_back({"X-Kvasir-Disk-Tokens", std::to_string(choice.disk_tokens)});
      call_->writer().PrepareStream(std::move(head));
    }
    const std::string first = format_->FirstChunk(index);
    if (!first.empty()) StreamWrite(first);
  }
  Emit(index, std::exchange(choice.echo, {}));
}

void Generation::Emit(size_t index, AnswerPiece piece) {
  if (piece.empty() || error_.failed()) return;
  Choice& choice = choices_[index];
  if (options_.params.stream) {
    StreamWrite(format_->TextChunk(index, piece, choice.sent_characters));
    choice.sent_characters += CountCharacters(piece.text);
    return;
  }
  choice.reply.text += piece.text;
  choice.reply.tokens.insert(choice.reply.tokens.end(),
                             std::make_move_iterator(piece.tokens.begin()),
                             std::make_move_iterator(piece.tokens.end()));
}

bool Generation::StreamWrite(const std::string& json) {
  stream_begun_ = true;
  if (gone_ || error_.failed()) return false;
  if (call_->writer().Write(SseEvent(json))) return true;
  gone_ = true;
  CancelAll();
  return false;
}

void Generation::FailWith(ApiError error) {
  if (!error_.failed()) error_ = std::move(error);
  CancelAll();
}

void Generation::CancelAll() {
  cancelled_ = true;
  for (const Choice& choice : choices_) {
    if (choice.id != 0 && !choice.finished) model_.loop().Cancel(choice.id);
  }
}

void Generation::FinishReply() {
  const GenerationSummary summary = Summary();
  if (gone_) {
    call_->Done(499, &summary);
    if (options_.params.stream) call_->writer().Finish();
    return;
  }
  if (options_.params.stream && (stream_begun_ || !error_.failed())) return FinishStream();
  if (error_.failed()) {
    const std::string event = SseEvent(DumpJson(ErrorBody(error_, call_->id())));
    // When the server's comments have begun the stream, the error has to go there.
    call_->FailOrStream(error_, event + SseEvent(kStreamEnd), &summary);
    return;
  }
  std::vector<ReplyChoice> replies;
  for (Choice& choice : choices_) replies.push_back(std::move(choice.reply));
  const ReplyUsage usage = Usage();
  // Large replies take a while to write down: not on the engine thread.
  call_->context().http.load()->Defer(
      [self = shared_from_this(), summary, usage, replies = std::move(replies)] {
        HttpResponse response;
        response.headers.push_back({"X-Kvasir-Cached-Tokens", std::to_string(usage.cached_tokens)});
        response.headers.push_back({"X-Kvasir-Disk-Tokens", std::to_string(usage.disk_tokens)});
        response.body = self->format_->Whole(replies, usage);
        self->call_->Respond(std::move(response), &summary);
      });
}

void Generation::FinishStream() {
  const GenerationSummary summary = Summary();
  ResponseWriter& writer = call_->writer();
  if (error_.failed()) {
    writer.Write(SseEvent(DumpJson(ErrorBody(error_, call_->id()))));
  } else if (options_.params.include_usage) {
    writer.Write(SseEvent(format_->UsageChunk(Usage())));
  }
  writer.Write(SseEvent(kStreamEnd));
  call_->Done(200, &summary, error_.code);
  writer.Finish();
}

ReplyUsage Generation::Usage() const {
  ReplyUsage usage;
  const size_t per_prompt = options_.params.choice_count;
  for (size_t i = 0; i < choices_.size(); ++i) {
    usage.completion_tokens += choices_[i].text.token_count();
    if (i % per_prompt != 0) continue;
    // The other choices found what the first one left: the prompt was cached as far as the least
    // of them says.
    size_t cached_tokens = choices_[i].cached_tokens;
    size_t disk_tokens = 0;
    for (size_t k = i; k < i + per_prompt; ++k) {
      cached_tokens = std::min(cached_tokens, choices_[k].cached_tokens);
      disk_tokens = std::max(disk_tokens, choices_[k].disk_tokens);
    }
    const size_t prompt_tokens = PromptOf(i).tokens.size();
    usage.prompt_tokens += prompt_tokens;
    usage.cached_tokens += cached_tokens;
    usage.disk_tokens += std::min(disk_tokens, cached_tokens);
    const size_t whole_blocks = prompt_tokens / kKvBlockTokens * kKvBlockTokens;  // in tokens
    if (options_.params.cache_write) {
      usage.cache_write_tokens += whole_blocks - std::min(whole_blocks, cached_tokens);
    }
  }
  return usage;
}

HttpResponse Generation::StreamHead() const {
  HttpResponse head;
  head.content_type = "text/event-stream";
  head.headers = call_->CommonHeaders();
  head.headers.push_back({"Cache-Control", "no-cache"});
  head.headers.push_back({"X-Accel-Buffering", "no"});
  head.close = call_->context().draining;
  return head;
}

GenerationSummary Generation::Summary() const {
  const ReplyUsage usage = Usage();
  GenerationSummary summary;
  summary.prompt_tokens = usage.prompt_tokens;
  summary.cached_tokens = usage.cached_tokens;
  summary.disk_tokens = usage.disk_tokens;
  summary.completion_tokens = usage.completion_tokens;
  summary.queue_seconds = queue_seconds_;
  summary.first_token_seconds = first_token_seconds_;
  summary.finish_reason = gone_ ? "cancelled" : choices_[0].finish_reason;
  if (error_.failed() && !gone_) summary.finish_reason = error_.code;
  return summary;
}

}  // namespace kvasir
