// What is said to an OpenAI-compatible server and what its streams say: bodies of generation
// requests, and the chunks that come back, with the members that llama-server and vLLM have beside
// or instead of OpenAI's. Pure functions over text; the types are values.

#ifndef KVASIR_LOADGEN_API_MESSAGES_H_
#define KVASIR_LOADGEN_API_MESSAGES_H_

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "kvasir/base/json.h"
#include "kvasir/base/status.h"

namespace kvasir {

enum class ApiEndpoint { kChat, kCompletions };
std::string_view ApiPath(ApiEndpoint endpoint);

struct ApiMessage {
  std::string role;
  std::string content;
};

// What all requests of a run have in common.
struct ApiStyle {
  ApiEndpoint endpoint = ApiEndpoint::kChat;
  std::string model;
  // Answers go on to their last token: sent as `ignore_eos`, which is no member of OpenAI's API but
  // known to llama-server, vLLM and Kvasir.
  bool ignore_eos = true;
  float temperature = 0;
  Json extra = Json::object();  // members that are added to every body, or replace ours
};

// The body of a streaming request. The completions endpoint gets the messages' texts, one after
// the other, as its prompt.
std::string GenerationBody(const ApiStyle& style, const std::vector<ApiMessage>& messages,
                           size_t output_tokens);

// What a server says of a request's tokens; unset members were not said.
struct ApiUsage {
  std::optional<size_t> prompt_tokens;
  std::optional<size_t> completion_tokens;
  std::optional<size_t> cached_tokens;

  // Members that `later` has replace those of this one.
  void Merge(const ApiUsage& later);
};

struct ApiChunk {
  bool done = false;      // the [DONE] at the end
  std::string text;       // of the first choice, reasoning included
  bool finished = false;  // a choice has its finish_reason
  ApiUsage usage;
  std::string error;  // the message of an error event, or its code when it has no message
};

// The data of one event. kDataLoss when it is no chunk of a stream.
Result<ApiChunk> ReadApiChunk(std::string_view data);

// `error.message` of a reply that is no success, else the beginning of its text.
std::string ErrorMessageOf(std::string_view body);

}  // namespace kvasir

#endif  // KVASIR_LOADGEN_API_MESSAGES_H_
