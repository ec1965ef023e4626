// ChatRequest and CompletionRequest: what the OpenAI API lets clients ask, checked and in our own
// types: behind this file nobody meets JSON, apart from the messages, which the chat template
// reads. Pure functions; any thread.

#ifndef KVASIR_SERVER_OPENAI_REQUEST_H_
#define KVASIR_SERVER_OPENAI_REQUEST_H_

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "kvasir/base/json.h"
#include "kvasir/engine/request.h"
#include "kvasir/server/api_error.h"

namespace kvasir {

// What requests may ask for at most; from the server's options and its model.
struct ApiLimits {
  size_t vocab_size = 0;
  uint64_t choice_count_max = 128;  // n, and prompts times n
  uint64_t timeout_ms_max = 3600'000;
  bool strict = false;  // unknown members are refused
};

// What both kinds of request share.
struct GenerationParams {
  std::string model;  // empty: whatever there is
  uint64_t choice_count = 1;
  std::optional<uint64_t> token_count_max;
  uint64_t token_count_min = 0;
  bool ignore_eos = false;
  std::vector<std::string> stops;
  std::vector<TokenId> stop_tokens;
  SamplingParams sampling;
  std::optional<uint64_t> seed;
  std::vector<LogitBias> logit_bias;
  bool logprobs = false;
  uint64_t top_logprob_count = 0;
  bool stream = false;
  bool include_usage = false;
  bool skip_special_tokens = true;
  bool return_token_ids = false;
  std::optional<uint64_t> timeout_ms;
  std::optional<uint64_t> truncate_prompt_tokens;  // keeps the last ones
  std::string prompt_cache_key;                    // a hint, without effect on one machine
  std::string cache_salt;
  bool cache_read = true;
  bool cache_write = true;
  std::vector<std::string> unknown_members;  // ignored
};

struct ChatRequest {
  GenerationParams params;
  Json messages = Json::array();  // role and content as strings, and what else a template may use
  Json template_variables = Json::object();  // chat_template_kwargs
  bool add_generation_prompt = true;
};

using Prompt = std::variant<std::string, std::vector<TokenId>>;

struct CompletionRequest {
  GenerationParams params;
  std::vector<Prompt> prompts;  // at least one
  bool echo = false;
};

// Each writes its request, or returns what is wrong with `body`.
ApiError ParseChatRequest(const Json& body, const ApiLimits& limits, ChatRequest* request);
ApiError ParseCompletionRequest(const Json& body, const ApiLimits& limits,
                                CompletionRequest* request);

class ObjectReader;

// The messages of a chat alone, as /apply-template and /tokenize take them, too.
void ReadMessages(ObjectReader* reader, Json* messages);

// A list of token ids within a vocabulary.
void ReadTokenIds(ObjectReader* reader, const char* name, size_t vocab_size,
                  std::vector<TokenId>* ids);

}  // namespace kvasir

#endif  // KVASIR_SERVER_OPENAI_REQUEST_H_
