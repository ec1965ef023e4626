// What requests become, and what is refused with which code and path.

#include "kvasir/server/openai_request.h"

#include <gtest/gtest.h>

#include "kvasir/server/request_json.h"

namespace kvasir {
namespace {

Json Parsed(const std::string& text) {
  Json json;
  const ApiError error = ParseRequestJson(text, &json);
  EXPECT_FALSE(error.failed()) << error.message;
  return json;
}

ApiLimits Limits() {
  ApiLimits limits;
  limits.vocab_size = 100;
  return limits;
}

ApiError ChatError(const std::string& text) {
  ChatRequest request;
  return ParseChatRequest(Parsed(text), Limits(), &request);
}

void ExpectChatError(const std::string& text, const std::string& code, const std::string& param) {
  const ApiError error = ChatError(text);
  EXPECT_EQ(error.status, 400) << text;
  EXPECT_EQ(error.code, code) << text;
  EXPECT_EQ(error.param, param) << text;
}

void ExpectBadJson(const std::string& text, const std::string& part) {
  Json json;
  const ApiError error = ParseRequestJson(text, &json);
  EXPECT_EQ(error.code, "invalid_json") << text.substr(0, 60);
  EXPECT_NE(error.message.find(part), std::string::npos) << error.message;
}

TEST(RequestJsonTest, LimitsHold) {
  ExpectBadJson(std::string(100000, '['), "deeper than 64");
  ExpectBadJson(R"({"a": 1, "a": 2})", "twice");
  ExpectBadJson(R"({"a": {"b": 1, "c": {"b": 2}, "b": 3}})", "twice");
  ExpectBadJson("{\"a\": \"\xff\"}", "UTF-8");
  ExpectBadJson(R"({"a": NaN})", "not valid JSON");
  ExpectBadJson(R"({"a": 1e999})", "not valid JSON");
  ExpectBadJson("[]", "a JSON object, not an array");
  ExpectBadJson("{} x", "not valid JSON");
  std::string wide = "{\"a\": [0";
  for (int i = 0; i < 1 << 20; ++i) wide += ",0";
  ExpectBadJson(wide + "]}", "more than 1048576 values");
  // What no parser quotes: bytes that came from the client.
  Json json;
  EXPECT_EQ(ParseRequestJson("{\"secret", &json).message.find("secret"), std::string::npos);
}

TEST(ChatRequestTest, EveryMemberArrives) {
  ChatRequest request;
  const ApiError error =
      ParseChatRequest(Parsed(R"({"messages": [{"role": "developer", "content": "Be brief."},
                              {"role": "user", "content": [{"type": "text", "text": "a"},
                                                           {"type": "text", "text": "b"}]},
                              {"role": "assistant", "content": null}],
                 "model": "m", "n": 2, "max_tokens": 9, "max_completion_tokens": 8,
                 "min_tokens": 3, "temperature": 0.5, "top_p": 0.9, "top_k": -1, "min_p": 0.1,
                 "presence_penalty": -1, "frequency_penalty": 2, "repetition_penalty": 1.5,
                 "seed": -1, "stop": "end", "stop_token_ids": [7], "logit_bias": {"5": -100},
                 "logprobs": true, "top_logprobs": 4, "stream": true,
                 "stream_options": {"include_usage": true}, "timeout_ms": 100,
                 "cache_salt": "s", "cache": {"write": false}, "ignore_eos": true,
                 "user": null, "colour": "blue"})"),
                       Limits(), &request);
  ASSERT_FALSE(error.failed()) << error.message;
  const GenerationParams& params = request.params;
  EXPECT_EQ(request.messages[0]["role"], "system");
  EXPECT_EQ(request.messages[1]["content"], "ab");
  EXPECT_EQ(request.messages[2]["content"], "");
  EXPECT_EQ(params.choice_count, 2u);
  EXPECT_EQ(params.token_count_max, 8u);
  EXPECT_EQ(params.token_count_min, 3u);
  EXPECT_FLOAT_EQ(params.sampling.temperature, 0.5f);
  EXPECT_EQ(params.sampling.top_k, 0u);
  EXPECT_FLOAT_EQ(params.sampling.repetition_penalty, 1.5f);
  EXPECT_EQ(params.seed, ~uint64_t{0});
  EXPECT_EQ(params.stops, std::vector<std::string>{"end"});
  EXPECT_EQ(params.stop_tokens, std::vector<TokenId>{7});
  ASSERT_EQ(params.logit_bias.size(), 1u);
  EXPECT_EQ(params.logit_bias[0].token, 5);
  EXPECT_FLOAT_EQ(params.logit_bias[0].bias, -100);
  EXPECT_EQ(params.top_logprob_count, 4u);
  EXPECT_TRUE(params.include_usage);
  EXPECT_EQ(params.timeout_ms, 100u);
  EXPECT_TRUE(params.cache_read);
  EXPECT_FALSE(params.cache_write);
  EXPECT_EQ(params.unknown_members, std::vector<std::string>{"colour"});
}

TEST(ChatRequestTest, DefaultsAreThoseOfTheApi) {
  ChatRequest request;
  ASSERT_FALSE(ParseChatRequest(Parsed(R"({"messages": [{"role": "user", "content": ""}]})"),
                                Limits(), &request)
                   .failed());
  EXPECT_FLOAT_EQ(request.params.sampling.temperature, 1);
  EXPECT_FALSE(request.params.token_count_max.has_value());
  EXPECT_FALSE(request.params.seed.has_value());
}

TEST(ChatRequestTest, MistakesAreNamed) {
  const std::string user = R"({"messages": [{"role": "user", "content": "x"}], )";
  ExpectChatError("{}", "missing_required_parameter", "messages");
  ExpectChatError(R"({"messages": [{"role": "x", "content": ""}]})", "invalid_value",
                  "messages[0].role");
  ExpectChatError(R"({"messages": [{"role": "user", "content": [{"type": "input_audio"}]}]})",
                  "unsupported_parameter", "messages[0].content[0].type");
  ExpectChatError(user + R"("n": 1000})", "invalid_value", "n");
  ExpectChatError(user + R"("top_logprobs": 2})", "invalid_value", "top_logprobs");
  ExpectChatError(user + R"("logit_bias": {"100": 1}})", "invalid_value", "logit_bias");
  ExpectChatError(user + R"("logit_bias": {"5": 1, "05": 1}})", "invalid_value", "logit_bias");
  ExpectChatError(user + R"("stream_options": {}})", "invalid_value", "stream_options");
  ExpectChatError(user + R"("tools": [{}]})", "unsupported_parameter", "tools");
  ExpectChatError(user + R"("response_format": {"type": "json_schema"}})", "unsupported_parameter",
                  "response_format");
  EXPECT_FALSE(ChatError(user + R"("tools": [], "best_of": 1, "tool_choice": "none",
                                   "response_format": {"type": "text"}, "store": true})")
                   .failed());
}

TEST(ChatRequestTest, StrictRefusesUnknownMembers) {
  ApiLimits limits = Limits();
  limits.strict = true;
  ChatRequest request;
  const ApiError error = ParseChatRequest(
      Parsed(R"({"messages": [{"role": "user", "content": "x"}], "colour": 1})"), limits, &request);
  EXPECT_EQ(error.code, "unknown_parameter");
  EXPECT_EQ(error.param, "colour");
}

TEST(CompletionRequestTest, PromptsInEveryForm) {
  const auto prompts_of = [](const std::string& prompt) {
    CompletionRequest request;
    const ApiError error =
        ParseCompletionRequest(Parsed("{\"prompt\": " + prompt + "}"), Limits(), &request);
    EXPECT_FALSE(error.failed()) << error.message;
    EXPECT_EQ(request.params.token_count_max, 16u);
    return request.prompts;
  };
  using Ids = std::vector<TokenId>;
  EXPECT_EQ(prompts_of(R"("a")"), std::vector<Prompt>{"a"});
  EXPECT_EQ(prompts_of("[1, 2]"), (std::vector<Prompt>{Ids{1, 2}}));
  EXPECT_EQ(prompts_of(R"(["a", "b"])"), (std::vector<Prompt>{"a", "b"}));
  EXPECT_EQ(prompts_of("[[1], [2, 3]]"), (std::vector<Prompt>{Ids{1}, Ids{2, 3}}));
  CompletionRequest request;
  EXPECT_EQ(ParseCompletionRequest(Parsed(R"({"prompt": [1, 100]})"), Limits(), &request).param,
            "prompt[1]");
}

}  // namespace
}  // namespace kvasir
