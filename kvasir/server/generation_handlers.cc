// /v1/chat/completions and /v1/completions.

#include <algorithm>
#include <chrono>
#include <utility>

#include "kvasir/server/generation.h"
#include "kvasir/server/handlers.h"

namespace kvasir {

namespace {

// False after answering that there is no such model.
bool CheckModelName(Call& call, const ServedModel& model, const std::string& name) {
  if (name.empty() || call.context().options.accept_any_model || model.HasName(name)) return true;
  call.Fail(ModelNotFoundError(name, model.names()));
  return false;
}

ReplyOptions MakeReplyOptions(const Call& call, const ServedModel& model,
                              const GenerationParams& params) {
  ReplyOptions options;
  options.request_id = call.id();
  options.model = params.model.empty() ? model.id() : params.model;
  options.created_s = std::chrono::duration_cast<std::chrono::seconds>(
                          std::chrono::system_clock::now().time_since_epoch())
                          .count();
  options.logprobs = params.logprobs;
  options.token_ids = params.return_token_ids;
  options.include_usage = params.include_usage;
  return options;
}

// Keeps the last tokens of a prompt, where the client asked for it.
void Truncate(const GenerationParams& params, std::vector<TokenId>* tokens) {
  const uint64_t count_max = params.truncate_prompt_tokens.value_or(tokens->size());
  if (tokens->size() <= count_max) return;
  tokens->erase(tokens->begin(), tokens->end() - static_cast<ptrdiff_t>(count_max));
}

}  // namespace

void HandleChatCompletions(std::shared_ptr<Call> call) {
  const ServedModel* model = ModelOf(*call);
  Json body;
  if (model == nullptr || !ReadBody(*call, &body)) return;
  ChatRequest request;
  const ApiError error = ParseChatRequest(body, LimitsOf(*call), &request);
  if (error.failed()) return call->Fail(error);
  if (!CheckModelName(*call, *model, request.params.model)) return;
  NoteUnknownMembers(*call, request.params.unknown_members);
  GenerationOptions options;
  GenerationPrompt prompt;
  const ApiError template_error = model->RenderChat(request, nullptr, &prompt.tokens);
  if (template_error.failed()) return call->Fail(template_error);
  Truncate(request.params, &prompt.tokens);
  auto format =
      ReplyFormat::Chat(MakeReplyOptions(*call, *model, request.params), model->tokenizer());
  options.params = std::move(request.params);
  options.prompts.push_back(std::move(prompt));
  Generation::Start(std::move(call), std::move(options), std::move(format));
}

void HandleCompletions(std::shared_ptr<Call> call) {
  const ServedModel* model = ModelOf(*call);
  Json body;
  if (model == nullptr || !ReadBody(*call, &body)) return;
  CompletionRequest request;
  const ApiError error = ParseCompletionRequest(body, LimitsOf(*call), &request);
  if (error.failed()) return call->Fail(error);
  if (!CheckModelName(*call, *model, request.params.model)) return;
  NoteUnknownMembers(*call, request.params.unknown_members);
  GenerationOptions options;
  options.echo = request.echo;
  options.continues_text = true;
  for (const Prompt& given : request.prompts) {
    GenerationPrompt prompt;
    prompt.tokens = model->EncodePrompt(given);
    Truncate(request.params, &prompt.tokens);
    if (request.echo) {
      const auto* text = std::get_if<std::string>(&given);
      const bool whole = text != nullptr && !request.params.truncate_prompt_tokens;
      prompt.echo_text =
          whole
              ? *text
              : ReplaceIllFormed(model->tokenizer().Decode(prompt.tokens, {.skip_special = true}));
    }
    options.prompts.push_back(std::move(prompt));
  }
  auto format =
      ReplyFormat::Completion(MakeReplyOptions(*call, *model, request.params), model->tokenizer());
  options.params = std::move(request.params);
  Generation::Start(std::move(call), std::move(options), std::move(format));
}

}  // namespace kvasir
