// The parameters that chat and text completions share, and the members that are refused by name.

#include "kvasir/server/openai_params.h"

#include <algorithm>
#include <charconv>
#include <limits>
#include <utility>

namespace kvasir {

namespace {

constexpr size_t kStopCountMax = 16;  // OpenAI allows 4
constexpr size_t kStopBytesMax = 1024;
constexpr size_t kNameBytesMax = 512;
constexpr size_t kLogitBiasCountMax = 1024;
constexpr uint64_t kTokenCountMax = uint64_t{1} << 32;

// Known, without effect on what is computed here.
constexpr std::initializer_list<const char*> kIgnored = {"user",
                                                         "safety_identifier",
                                                         "metadata",
                                                         "store",
                                                         "service_tier",
                                                         "verbosity",
                                                         "prediction",
                                                         "moderation",
                                                         "web_search_options",
                                                         "reasoning_effort",
                                                         "parallel_tool_calls",
                                                         "prompt_cache_retention"};

// Members of other servers and of later versions of this one.
constexpr const char* kUnsupported[] = {"tools",
                                        "functions",
                                        "function_call",
                                        "best_of",
                                        "suffix",
                                        "grammar",
                                        "guided_json",
                                        "guided_regex",
                                        "guided_choice",
                                        "guided_grammar",
                                        "json_schema",
                                        "structured_outputs",
                                        "audio",
                                        "use_beam_search",
                                        "typical_p",
                                        "mirostat",
                                        "dry_multiplier",
                                        "xtc_probability",
                                        "priority",
                                        "lora",
                                        "prompt_embeds",
                                        "image_data",
                                        "previous_response_id"};

// Values of an unsupported member that ask for nothing.
bool AsksForNothing(const Json& value) {
  if (value.is_boolean()) return !value.get<bool>();
  if (value.is_array() || value.is_object()) return value.empty();
  if (value.is_string()) return value.get_ref<const std::string&>().empty();
  return false;
}

void RefuseUnsupported(ObjectReader* reader, uint64_t choice_count) {
  for (const char* name : kUnsupported) {
    const Json* value = reader->Find(name);
    if (value == nullptr || AsksForNothing(*value)) continue;
    const bool plain_best_of = std::string_view(name) == "best_of" && *value == Json(choice_count);
    if (plain_best_of) continue;
    reader->Fail(UnsupportedError(
        name, "the parameter '" + std::string(name) + "' is not supported by this server"));
  }
  if (const Json* format = reader->Find("response_format"); format != nullptr) {
    const bool text =
        format->is_object() && format->contains("type") && (*format)["type"] == "text";
    if (!text) {
      reader->Fail(UnsupportedError(
          "response_format", "the only supported 'response_format' is {\"type\": \"text\"}"));
    }
  }
  if (const Json* choice = reader->Find("tool_choice"); choice != nullptr) {
    if (*choice != "none" && *choice != "auto") {
      reader->Fail(UnsupportedError("tool_choice", "tools are not supported by this server"));
    }
  }
  if (const Json* modalities = reader->Find("modalities"); modalities != nullptr) {
    if (*modalities != Json::array({"text"})) {
      reader->Fail(UnsupportedError("modalities", "the only supported modality is text"));
    }
  }
}

void ReadSampling(ObjectReader* reader, GenerationParams* params) {
  SamplingParams& sampling = params->sampling;
  sampling.temperature = 1;  // what OpenAI's API has without the member
  reader->ReadNumber("temperature", 0, 2, &sampling.temperature);
  reader->ReadNumber("top_p", 0, 1, &sampling.top_p);
  reader->ReadNumber("min_p", 0, 1, &sampling.min_p);
  reader->ReadNumber("presence_penalty", -2, 2, &sampling.presence_penalty);
  reader->ReadNumber("frequency_penalty", -2, 2, &sampling.frequency_penalty);
  // Two names of one thing.
  reader->ReadNumber("repeat_penalty", 0.01, 10, &sampling.repetition_penalty);
  reader->ReadNumber("repetition_penalty", 0.01, 10, &sampling.repetition_penalty);
  int64_t top_k = 0;
  reader->ReadInteger("top_k", -1, 1 << 30, &top_k);  // -1 and 0: off
  sampling.top_k = static_cast<uint32_t>(std::max<int64_t>(top_k, 0));
  int64_t seed = 0;
  if (reader->ReadInteger("seed", std::numeric_limits<int64_t>::min(),
                          std::numeric_limits<int64_t>::max(), &seed)) {
    params->seed = static_cast<uint64_t>(seed);
  }
}

void ReadLogitBias(ObjectReader* reader, size_t vocab_size, std::vector<LogitBias>* biases) {
  const Json* object = reader->Find("logit_bias");
  if (object == nullptr) return;
  const std::string path = reader->PathOf("logit_bias");
  if (!object->is_object() || object->size() > kLogitBiasCountMax) {
    return reader->Fail(InvalidValueError(path, "'" + path + "' must be an object of at most " +
                                                    std::to_string(kLogitBiasCountMax) +
                                                    " token ids"));
  }
  for (const auto& [key, value] : object->items()) {
    TokenId token = kNoToken;
    const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), token);
    const bool known = error == std::errc() && end == key.data() + key.size() && token >= 0 &&
                       static_cast<size_t>(token) < vocab_size;
    if (!known) {
      return reader->Fail(InvalidValueError(path, "'" + path +
                                                      "' names a token that is no id from 0 to " +
                                                      std::to_string(vocab_size - 1)));
    }
    if (!value.is_number() || !(value.get<double>() >= -100 && value.get<double>() <= 100)) {
      return reader->Fail(InvalidValueError(path + "." + key, "'" + path + "." + key +
                                                                  "' must be a number from -100 "
                                                                  "to 100"));
    }
    const bool repeated = std::any_of(biases->begin(), biases->end(),
                                      [&](const LogitBias& b) { return b.token == token; });
    if (repeated) {
      return reader->Fail(InvalidValueError(path, "'" + path + "' names a token twice"));
    }
    biases->push_back({token, value.get<float>()});
  }
}

void ReadStream(ObjectReader* reader, GenerationParams* params) {
  reader->ReadBool("stream", &params->stream);
  const Json* options = reader->Find("stream_options");
  if (options == nullptr) return;
  if (!params->stream) {
    return reader->Fail(InvalidValueError(
        "stream_options", "'stream_options' is only allowed when 'stream' is true"));
  }
  ObjectReader nested(*options, "stream_options");
  nested.ReadBool("include_usage", &params->include_usage);
  nested.Ignore({"include_obfuscation", "continuous_usage_stats"});
  if (nested.failed()) reader->Fail(nested.error());
}

void ReadCache(ObjectReader* reader, GenerationParams* params) {
  reader->ReadString("prompt_cache_key", kNameBytesMax, &params->prompt_cache_key);
  reader->ReadString("cache_salt", kNameBytesMax, &params->cache_salt);
  if (const Json* cache = reader->Find("cache"); cache != nullptr) {
    ObjectReader nested(*cache, "cache");
    nested.ReadBool("read", &params->cache_read);
    nested.ReadBool("write", &params->cache_write);
    if (nested.failed()) reader->Fail(nested.error());
  }
  // llama.cpp's name for cache.read.
  reader->ReadBool("cache_prompt", &params->cache_read);
  const Json* options = reader->Find("prompt_cache_options");
  if (options == nullptr) return;
  ObjectReader nested(*options, "prompt_cache_options");
  std::string mode = "implicit", ttl;
  nested.ReadString("mode", kNameBytesMax, &mode);
  nested.ReadString("ttl", kNameBytesMax, &ttl);
  if (mode != "implicit" && mode != "explicit") {
    nested.Fail(InvalidValueError("prompt_cache_options.mode",
                                  "'prompt_cache_options.mode' must be implicit or explicit"));
  }
  if (!ttl.empty() && ttl != "30m") {
    nested.Fail(
        InvalidValueError("prompt_cache_options.ttl", "'prompt_cache_options.ttl' must be 30m"));
  }
  // What the messages mark decides then (ReadMessages).
  if (mode == "explicit") params->cache_write = false;
  if (nested.failed()) reader->Fail(nested.error());
}

}  // namespace

void ReadTokenIds(ObjectReader* reader, const char* name, size_t vocab_size,
                  std::vector<TokenId>* ids) {
  const Json* list = reader->Find(name);
  if (list == nullptr) return;
  const std::string path = reader->PathOf(name);
  if (!list->is_array()) {
    return reader->Fail(InvalidValueError(
        path, "'" + path + "' must be an array of token ids, not " + DescribeJsonType(*list)));
  }
  ApiError error = ParseTokenIds(*list, path, vocab_size, ids);
  if (error.failed()) reader->Fail(std::move(error));
}

ApiError ParseTokenIds(const Json& list, const std::string& path, size_t vocab_size,
                       std::vector<TokenId>* ids) {
  for (size_t i = 0; i < list.size(); ++i) {
    const Json& id = list[i];
    const bool known = id.is_number_integer() && id.get<int64_t>() >= 0 &&
                       id.get<int64_t>() < static_cast<int64_t>(vocab_size);
    if (!known) {
      const std::string at = path + "[" + std::to_string(i) + "]";
      return InvalidValueError(
          at, "'" + at + "' must be a token id from 0 to " + std::to_string(vocab_size - 1));
    }
    ids->push_back(id.get<TokenId>());
  }
  return {};
}

void ReadGenerationParams(ObjectReader* reader, const ApiLimits& limits, GenerationParams* params) {
  reader->ReadString("model", kNameBytesMax, &params->model);
  reader->ReadCount("n", 1, limits.choice_count_max, &params->choice_count);
  uint64_t token_count = 0;
  const char* const count_names[] = {"max_tokens", "max_completion_tokens"};
  for (const char* name : count_names) {
    if (reader->ReadCount(name, 0, kTokenCountMax, &token_count)) {
      params->token_count_max = token_count;
    }
  }
  reader->ReadCount("min_tokens", 0, kTokenCountMax, &params->token_count_min);
  reader->ReadBool("ignore_eos", &params->ignore_eos);
  reader->ReadStrings("stop", kStopCountMax, kStopBytesMax, &params->stops);
  ReadTokenIds(reader, "stop_token_ids", limits.vocab_size, &params->stop_tokens);
  ReadSampling(reader, params);
  ReadLogitBias(reader, limits.vocab_size, &params->logit_bias);
  ReadStream(reader, params);
  reader->ReadBool("skip_special_tokens", &params->skip_special_tokens);
  reader->ReadBool("return_token_ids", &params->return_token_ids);
  uint64_t count = 0;
  if (reader->ReadCount("timeout_ms", 1, limits.timeout_ms_max, &count)) params->timeout_ms = count;
  if (reader->ReadCount("truncate_prompt_tokens", 1, kTokenCountMax, &count)) {
    params->truncate_prompt_tokens = count;
  }
  ReadCache(reader, params);
  RefuseUnsupported(reader, params->choice_count);
  reader->Ignore(kIgnored);
  if (!reader->failed() && params->token_count_max &&
      params->token_count_min > *params->token_count_max) {
    reader->Fail(InvalidValueError(
        "min_tokens", "'min_tokens' is " + std::to_string(params->token_count_min) +
                          ", must be at most the " + std::to_string(*params->token_count_max) +
                          " of 'max_tokens'"));
  }
}

void FinishReading(ObjectReader* reader, const ApiLimits& limits, GenerationParams* params) {
  params->unknown_members = reader->UnknownMembers();
  if (limits.strict && !params->unknown_members.empty()) {
    reader->Fail(UnknownMemberError(params->unknown_members[0]));
  }
}

}  // namespace kvasir
