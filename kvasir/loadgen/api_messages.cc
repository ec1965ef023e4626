#include "kvasir/loadgen/api_messages.h"

#include <utility>

namespace kvasir {

namespace {

constexpr size_t kShownErrorBytes = 200;

std::optional<size_t> CountIn(const Json& object, const char* name) {
  const auto found = object.find(name);
  if (found == object.end() || !found->is_number_unsigned()) return std::nullopt;
  return found->get<size_t>();
}

std::string TextIn(const Json& object, const char* name) {
  const auto found = object.find(name);
  return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}

ApiUsage UsageOf(const Json& chunk) {
  ApiUsage usage;
  // llama-server's own account, which OpenAI's goes before.
  if (const auto timings = chunk.find("timings"); timings != chunk.end() && timings->is_object()) {
    usage.cached_tokens = CountIn(*timings, "cache_n");
    usage.completion_tokens = CountIn(*timings, "predicted_n");
    const auto computed = CountIn(*timings, "prompt_n");
    if (computed) usage.prompt_tokens = *computed + usage.cached_tokens.value_or(0);
  }
  const auto said = chunk.find("usage");
  if (said == chunk.end() || !said->is_object()) return usage;
  ApiUsage theirs;
  theirs.prompt_tokens = CountIn(*said, "prompt_tokens");
  theirs.completion_tokens = CountIn(*said, "completion_tokens");
  if (const auto details = said->find("prompt_tokens_details");
      details != said->end() && details->is_object()) {
    theirs.cached_tokens = CountIn(*details, "cached_tokens");
  }
  usage.Merge(theirs);
  return usage;
}

// "error": {"message": ...} as OpenAI has it, or a plain text.
std::string ErrorIn(const Json& object) {
  const auto error = object.find("error");
  if (error == object.end() || error->is_null()) return {};
  if (error->is_string()) return error->get<std::string>();
  if (!error->is_object()) return "an error without a message";
  for (const char* name : {"message", "code", "type"}) {
    if (std::string text = TextIn(*error, name); !text.empty()) return text;
  }
  return "an error without a message";
}

void ReadChoice(const Json& choice, ApiChunk* chunk) {
  if (!choice.is_object()) return;
  chunk->text += TextIn(choice, "text");
  if (const auto delta = choice.find("delta"); delta != choice.end() && delta->is_object()) {
    chunk->text += TextIn(*delta, "reasoning_content") + TextIn(*delta, "content");
  }
  chunk->finished = !TextIn(choice, "finish_reason").empty();
}

}  // namespace

std::string_view ApiPath(ApiEndpoint endpoint) {
  return endpoint == ApiEndpoint::kChat ? "/v1/chat/completions" : "/v1/completions";
}

std::string GenerationBody(const ApiStyle& style, const std::vector<ApiMessage>& messages,
                           size_t output_tokens) {
  Json body = Json::object();
  if (!style.model.empty()) body["model"] = style.model;
  if (style.endpoint == ApiEndpoint::kChat) {
    body["messages"] = Json::array();
    for (const ApiMessage& message : messages) {
      body["messages"].push_back({{"role", message.role}, {"content", message.content}});
    }
  } else {
    std::string prompt;
    for (const ApiMessage& message : messages) prompt += message.content;
    body["prompt"] = std::move(prompt);
  }
  body["max_tokens"] = output_tokens;
  body["temperature"] = style.temperature;
  body["stream"] = true;
  body["stream_options"] = {{"include_usage", true}};
  if (style.ignore_eos) body["ignore_eos"] = true;
  body.update(style.extra);
  return DumpJson(body);
}

void ApiUsage::Merge(const ApiUsage& later) {
  if (later.prompt_tokens) prompt_tokens = later.prompt_tokens;
  if (later.completion_tokens) completion_tokens = later.completion_tokens;
  if (later.cached_tokens) cached_tokens = later.cached_tokens;
}

Result<ApiChunk> ReadApiChunk(std::string_view data) {
  ApiChunk chunk;
  if (data == "[DONE]") {
    chunk.done = true;
    return chunk;
  }
  Result<Json> parsed = ParseJson(data);
  if (!parsed.ok()) return DataLoss("an event is no JSON: " + parsed.status().message());
  const Json& json = *parsed;
  if (!json.is_object()) return DataLoss("an event is no JSON object");
  chunk.error = ErrorIn(json);
  const auto choices = json.find("choices");
  const bool has_choices = choices != json.end() && choices->is_array();
  if (!has_choices && chunk.error.empty()) return DataLoss("an event has no choices and no error");
  chunk.usage = UsageOf(json);
  if (has_choices && !choices->empty()) ReadChoice(choices->front(), &chunk);
  return chunk;
}

std::string ErrorMessageOf(std::string_view body) {
  if (const Result<Json> json = ParseJson(body); json.ok() && json->is_object()) {
    if (std::string message = ErrorIn(*json); !message.empty()) return message;
    if (std::string detail = TextIn(*json, "detail"); !detail.empty()) return detail;
  }
  std::string shown(body.substr(0, kShownErrorBytes));
  for (char& c : shown) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) c = ' ';
  }
  return shown;
}

}  // namespace kvasir
