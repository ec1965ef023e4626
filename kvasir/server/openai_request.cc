#include "kvasir/server/openai_request.h"

#include <algorithm>
#include <utility>

#include "kvasir/server/openai_params.h"
#include "kvasir/server/request_json.h"

namespace kvasir {

namespace {

constexpr size_t kMessageCountMax = 65536;
constexpr size_t kPromptCountMax = 1024;
constexpr size_t kTextBytesMax = size_t{1} << 30;  // the body's own limit is smaller

constexpr const char* kRoles[] = {"system", "developer", "user", "assistant", "tool"};

// A message's content as one text: a string, or parts of type text. `path` is messages[i].content.
ApiError ReadContent(const Json& content, const std::string& path, std::string* text,
                     bool* has_breakpoint) {
  if (content.is_string()) {
    *text = content.get<std::string>();
    return {};
  }
  if (!content.is_array()) {
    return InvalidValueError(path, "'" + path + "' must be a string or an array of parts, not " +
                                       DescribeJsonType(content));
  }
  for (size_t i = 0; i < content.size(); ++i) {
    const std::string part_path = path + "[" + std::to_string(i) + "]";
    ObjectReader part(content[i], part_path);
    std::string type, part_text;
    part.ReadString("type", 64, &type);
    if (!part.failed() && type != "text") {
      if (type.empty()) return MissingParameterError(part_path + ".type");
      return UnsupportedError(part_path + ".type",
                              "content of type '" + type + "' is not supported, only text");
    }
    if (!part.ReadString("text", kTextBytesMax, &part_text) && !part.failed()) {
      return MissingParameterError(part_path + ".text");
    }
    if (part.Has("prompt_cache_breakpoint")) *has_breakpoint = true;
    if (part.failed()) return part.error();
    *text += part_text;
  }
  return {};
}

// The message with its content as one string, and its role as templates know it.
ApiError NormalizeMessage(const Json& message, const std::string& path, Json* normal,
                          bool* has_breakpoint) {
  ObjectReader reader(message, path);
  std::string role, name;
  const bool has_role = reader.ReadString("role", 64, &role);
  reader.ReadString("name", 512, &name);
  if (reader.failed()) return reader.error();
  if (!has_role) return MissingParameterError(path + ".role");
  if (std::find(std::begin(kRoles), std::end(kRoles), role) == std::end(kRoles)) {
    return InvalidValueError(path + ".role", "'" + path +
                                                 ".role' must be one of system, developer, user, "
                                                 "assistant, tool");
  }
  *normal = message;
  (*normal)["role"] = role == "developer" ? "system" : role;
  const Json* content = reader.Find("content");
  // An assistant that called tools said nothing.
  const bool may_be_absent = role == "assistant";
  if (content == nullptr) {
    if (!may_be_absent) return MissingParameterError(path + ".content");
    (*normal)["content"] = "";
    return {};
  }
  std::string text;
  ApiError error = ReadContent(*content, path + ".content", &text, has_breakpoint);
  if (error.failed()) return error;
  (*normal)["content"] = std::move(text);
  return {};
}

ApiError ReadMessageList(const Json& list, Json* messages, bool* has_breakpoint) {
  if (!list.is_array() || list.empty() || list.size() > kMessageCountMax) {
    return InvalidValueError("messages", "'messages' must be an array of 1 to " +
                                             std::to_string(kMessageCountMax) + " messages");
  }
  for (size_t i = 0; i < list.size(); ++i) {
    Json normal;
    ApiError error =
        NormalizeMessage(list[i], "messages[" + std::to_string(i) + "]", &normal, has_breakpoint);
    if (error.failed()) return error;
    messages->push_back(std::move(normal));
  }
  return {};
}

// logprobs of a chat: a switch, and top_logprobs beside it.
void ReadChatLogprobs(ObjectReader* reader, GenerationParams* params) {
  reader->ReadBool("logprobs", &params->logprobs);
  const bool has_top =
      reader->ReadCount("top_logprobs", 0, kTopLogprobCountMax, &params->top_logprob_count);
  if (has_top && !params->logprobs && params->top_logprob_count > 0) {
    reader->Fail(InvalidValueError("top_logprobs",
                                   "'top_logprobs' is only allowed when 'logprobs' is true"));
  }
}

// logprobs of a completion: how many.
void ReadCompletionLogprobs(ObjectReader* reader, GenerationParams* params) {
  const Json* value = reader->Find("logprobs");
  if (value == nullptr) return;
  if (value->is_boolean()) {
    params->logprobs = value->get<bool>();
    return;
  }
  params->logprobs =
      reader->ReadCount("logprobs", 0, kTopLogprobCountMax, &params->top_logprob_count);
}

ApiError ParsePromptList(const Json& list, size_t vocab_size, std::vector<Prompt>* prompts) {
  const bool ids = !list.empty() && list[0].is_number();
  if (ids) {
    std::vector<TokenId> prompt;
    ApiError error = ParseTokenIds(list, "prompt", vocab_size, &prompt);
    prompts->emplace_back(std::move(prompt));
    return error;
  }
  if (list.empty() || list.size() > kPromptCountMax) {
    return InvalidValueError(
        "prompt", "'prompt' must hold 1 to " + std::to_string(kPromptCountMax) + " prompts");
  }
  for (size_t i = 0; i < list.size(); ++i) {
    const std::string path = "prompt[" + std::to_string(i) + "]";
    if (list[i].is_string()) {
      prompts->emplace_back(list[i].get<std::string>());
      continue;
    }
    if (!list[i].is_array() || list[i].empty()) {
      return InvalidValueError(path, "'" + path + "' must be a string or an array of token ids");
    }
    std::vector<TokenId> prompt;
    ApiError error = ParseTokenIds(list[i], path, vocab_size, &prompt);
    if (error.failed()) return error;
    prompts->emplace_back(std::move(prompt));
  }
  return {};
}

void ReadPrompts(ObjectReader* reader, size_t vocab_size, std::vector<Prompt>* prompts) {
  const Json* value = reader->Find("prompt");
  if (reader->failed()) return;
  if (value == nullptr) return reader->Fail(MissingParameterError("prompt"));
  if (value->is_string()) {
    prompts->emplace_back(value->get<std::string>());
  } else if (value->is_array()) {
    ApiError error = ParsePromptList(*value, vocab_size, prompts);
    if (error.failed()) reader->Fail(std::move(error));
  } else {
    reader->Fail(InvalidValueError("prompt",
                                   "'prompt' must be a string, token ids, or an array "
                                   "of them, not " +
                                       DescribeJsonType(*value)));
  }
}

}  // namespace

void ReadMessages(ObjectReader* reader, Json* messages) {
  const Json* list = reader->Find("messages");
  if (reader->failed()) return;
  if (list == nullptr) return reader->Fail(MissingParameterError("messages"));
  bool has_breakpoint = false;
  ApiError error = ReadMessageList(*list, messages, &has_breakpoint);
  if (error.failed()) reader->Fail(std::move(error));
}

ApiError ParseChatRequest(const Json& body, const ApiLimits& limits, ChatRequest* request) {
  ObjectReader reader(body, "");
  GenerationParams& params = request->params;
  const Json* list = reader.Find("messages");
  if (list == nullptr && !reader.failed()) reader.Fail(MissingParameterError("messages"));
  bool has_breakpoint = false;
  if (list != nullptr) {
    ApiError error = ReadMessageList(*list, &request->messages, &has_breakpoint);
    if (error.failed()) reader.Fail(std::move(error));
  }
  ReadGenerationParams(&reader, limits, &params);
  if (has_breakpoint) params.cache_write = true;
  ReadChatLogprobs(&reader, &params);
  reader.ReadBool("add_generation_prompt", &request->add_generation_prompt);
  if (const Json* variables = reader.Find("chat_template_kwargs"); variables != nullptr) {
    if (variables->is_object()) {
      request->template_variables = *variables;
    } else {
      reader.Fail(InvalidValueError(
          "chat_template_kwargs",
          "'chat_template_kwargs' must be an object, not " + DescribeJsonType(*variables)));
    }
  }
  if (params.token_count_max == uint64_t{0}) {
    reader.Fail(InvalidValueError("max_tokens", "'max_tokens' is 0, must be at least 1"));
  }
  FinishReading(&reader, limits, &params);
  return reader.error();
}

ApiError ParseCompletionRequest(const Json& body, const ApiLimits& limits,
                                CompletionRequest* request) {
  ObjectReader reader(body, "");
  GenerationParams& params = request->params;
  ReadPrompts(&reader, limits.vocab_size, &request->prompts);
  ReadGenerationParams(&reader, limits, &params);
  ReadCompletionLogprobs(&reader, &params);
  reader.ReadBool("echo", &request->echo);
  constexpr uint64_t kOpenAiTokenCountDefault = 16;
  if (!params.token_count_max) {
    params.token_count_max = std::max(kOpenAiTokenCountDefault, params.token_count_min);
  }
  if (request->prompts.size() * params.choice_count > limits.choice_count_max && !reader.failed()) {
    reader.Fail(InvalidValueError(
        "n", "'n' times the number of prompts is " +
                 std::to_string(request->prompts.size() * params.choice_count) + ", at most " +
                 std::to_string(limits.choice_count_max) + " answers are given at once"));
  }
  FinishReading(&reader, limits, &params);
  return reader.error();
}

}  // namespace kvasir
