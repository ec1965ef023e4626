// /tokenize, /detokenize and /apply-template, with the members that llama.cpp's and vLLM's clients
// send: `content` or `prompt`, or messages.

#include <utility>

#include "kvasir/server/answer_text.h"
#include "kvasir/server/handlers.h"
#include "kvasir/server/openai_params.h"
#include "kvasir/server/request_json.h"

namespace kvasir {

namespace {

constexpr size_t kTextBytesMax = size_t{1} << 30;

// The members of a chat that make its prompt. False after answering what is wrong.
bool ReadChat(Call& call, ObjectReader* reader, ChatRequest* chat) {
  ReadMessages(reader, &chat->messages);
  reader->ReadBool("add_generation_prompt", &chat->add_generation_prompt);
  if (const Json* variables = reader->Find("chat_template_kwargs"); variables != nullptr) {
    if (variables->is_object()) {
      chat->template_variables = *variables;
    } else {
      reader->Fail(InvalidValueError(
          "chat_template_kwargs",
          "'chat_template_kwargs' must be an object, not " + DescribeJsonType(*variables)));
    }
  }
  if (reader->failed()) call.Fail(reader->error());
  return !reader->failed();
}

// Reads what is left, and refuses or notes unknown members. False after answering.
bool FinishBody(Call& call, ObjectReader* reader) {
  reader->Ignore({"model"});
  GenerationParams params;
  FinishReading(reader, LimitsOf(call), &params);
  if (reader->failed()) {
    call.Fail(reader->error());
    return false;
  }
  NoteUnknownMembers(call, params.unknown_members);
  return true;
}

Json TokenStrings(const Tokenizer& tokenizer, const std::vector<TokenId>& tokens) {
  Json strings = Json::array();
  for (const TokenId token : tokens)
    strings.push_back(ReplaceIllFormed(tokenizer.TokenBytes(token)));
  return strings;
}

}  // namespace

void HandleTokenize(std::shared_ptr<Call> call) {
  const ServedModel* model = ModelOf(*call);
  Json body;
  if (model == nullptr || !ReadBody(*call, &body)) return;
  ObjectReader reader(body, "");
  std::vector<TokenId> tokens;
  EncodeOptions options;
  reader.ReadBool("add_special", &options.add_special);
  reader.ReadBool("add_special_tokens", &options.add_special);
  reader.ReadBool("parse_special", &options.parse_special);
  bool with_strings = false;
  reader.ReadBool("return_token_strs", &with_strings);
  reader.ReadBool("with_pieces", &with_strings);
  std::string text;
  ChatRequest chat;
  const bool has_text = reader.ReadString("content", kTextBytesMax, &text) ||
                        reader.ReadString("prompt", kTextBytesMax, &text);
  if (!has_text && !reader.failed() && !reader.Has("messages")) {
    return call->Fail(MissingParameterError("content"));
  }
  if (has_text || reader.failed()) {
    reader.Ignore({"content", "prompt", "messages"});
    if (!FinishBody(*call, &reader)) return;
    tokens = model->tokenizer().Encode(text, options);
  } else {
    if (!ReadChat(*call, &reader, &chat) || !FinishBody(*call, &reader)) return;
    const ApiError error = model->RenderChat(chat, nullptr, &tokens);
    if (error.failed()) return call->Fail(error);
  }
  Json reply = {
      {"tokens", tokens}, {"count", tokens.size()}, {"max_model_len", model->context_tokens()}};
  if (with_strings) reply["token_strs"] = TokenStrings(model->tokenizer(), tokens);
  call->RespondJson(reply);
}

void HandleDetokenize(std::shared_ptr<Call> call) {
  const ServedModel* model = ModelOf(*call);
  Json body;
  if (model == nullptr || !ReadBody(*call, &body)) return;
  ObjectReader reader(body, "");
  std::vector<TokenId> tokens;
  if (!reader.Has("tokens")) return call->Fail(MissingParameterError("tokens"));
  ReadTokenIds(&reader, "tokens", model->tokenizer().vocab_size(), &tokens);
  if (!FinishBody(*call, &reader)) return;
  const std::string text = ReplaceIllFormed(model->tokenizer().Decode(tokens));
  call->RespondJson({{"content", text}, {"prompt", text}});
}

void HandleApplyTemplate(std::shared_ptr<Call> call) {
  const ServedModel* model = ModelOf(*call);
  Json body;
  if (model == nullptr || !ReadBody(*call, &body)) return;
  ObjectReader reader(body, "");
  ChatRequest chat;
  if (!ReadChat(*call, &reader, &chat) || !FinishBody(*call, &reader)) return;
  std::string text;
  const ApiError error = model->RenderChat(chat, &text, nullptr);
  if (error.failed()) return call->Fail(error);
  call->RespondJson({{"prompt", text}});
}

}  // namespace kvasir
