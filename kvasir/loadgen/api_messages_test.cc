#include "kvasir/loadgen/api_messages.h"

#include <gtest/gtest.h>

namespace kvasir {
namespace {

ApiChunk Read(std::string_view data) {
  const Result<ApiChunk> chunk = ReadApiChunk(data);
  EXPECT_TRUE(chunk.ok()) << chunk.status().message();
  return chunk.ok() ? *chunk : ApiChunk();
}

TEST(GenerationBodyTest, ChatAndCompletions) {
  ApiStyle style;
  style.model = "m";
  const std::vector<ApiMessage> messages = {{"system", " be"}, {"user", " brief"}};
  EXPECT_EQ(GenerationBody(style, messages, 5),
            R"({"model":"m","messages":[{"role":"system","content":" be"},)"
            R"({"role":"user","content":" brief"}],"max_tokens":5,"temperature":0.0,)"
            R"("stream":true,"stream_options":{"include_usage":true},"ignore_eos":true})");
  style.endpoint = ApiEndpoint::kCompletions;
  style.model.clear();
  style.ignore_eos = false;
  style.extra = {{"max_tokens", 9}, {"cache_prompt", false}};
  EXPECT_EQ(GenerationBody(style, messages, 5),
            R"({"prompt":" be brief","max_tokens":9,"temperature":0.0,"stream":true,)"
            R"("stream_options":{"include_usage":true},"cache_prompt":false})");
}

TEST(ReadApiChunkTest, TextOfEitherEndpoint) {
  EXPECT_EQ(Read(R"({"choices":[{"index":0,"delta":{"content":"Hi"},"finish_reason":null}]})").text,
            "Hi");
  EXPECT_EQ(Read(R"({"choices":[{"text":" there","finish_reason":null}],"usage":null})").text,
            " there");
  EXPECT_EQ(Read(R"({"choices":[{"delta":{"reasoning_content":"hm","content":null}}]})").text,
            "hm");
  const ApiChunk role = Read(R"({"choices":[{"delta":{"role":"assistant","content":""}}]})");
  EXPECT_TRUE(role.text.empty());
  EXPECT_FALSE(role.finished);
  EXPECT_TRUE(Read(R"({"choices":[{"delta":{},"finish_reason":"length"}]})").finished);
  EXPECT_TRUE(Read("[DONE]").done);
}

TEST(ReadApiChunkTest, UsageOfSeveralServers) {
  const ApiChunk kvasir =
      Read(R"({"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":4,"total_tokens":13,)"
           R"("prompt_tokens_details":{"cached_tokens":8}}})");
  EXPECT_EQ(kvasir.usage.prompt_tokens, 9u);
  EXPECT_EQ(kvasir.usage.completion_tokens, 4u);
  EXPECT_EQ(kvasir.usage.cached_tokens, 8u);
  // vLLM without --enable-prompt-tokens-details.
  const ApiChunk vllm = Read(R"({"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":4,)"
                             R"("prompt_tokens_details":null}})");
  EXPECT_EQ(vllm.usage.prompt_tokens, 9u);
  EXPECT_FALSE(vllm.usage.cached_tokens.has_value());
  const ApiChunk llama = Read(
      R"({"choices":[],"timings":{"cache_n":6,"prompt_n":3,"predicted_n":4,"prompt_ms":1.5}})");
  EXPECT_EQ(llama.usage.prompt_tokens, 9u);
  EXPECT_EQ(llama.usage.completion_tokens, 4u);
  EXPECT_EQ(llama.usage.cached_tokens, 6u);

  ApiUsage merged = kvasir.usage;
  merged.Merge({10, std::nullopt, std::nullopt});
  EXPECT_EQ(merged.prompt_tokens, 10u);
  EXPECT_EQ(merged.cached_tokens, 8u);
}

TEST(ReadApiChunkTest, Errors) {
  EXPECT_EQ(Read(R"({"error":{"message":"out of memory","code":500}})").error, "out of memory");
  EXPECT_EQ(Read(R"({"error":{"code":"timeout"}})").error, "timeout");
  EXPECT_EQ(Read(R"({"error":"busy"})").error, "busy");
  EXPECT_FALSE(Read(R"({"error":{}})").error.empty());
  for (const char* bad : {"", "{", "[]", "3", "{}", R"({"choices":3})", "nonsense"}) {
    EXPECT_EQ(ReadApiChunk(bad).status().code(), StatusCode::kDataLoss) << bad;
  }
  // Odd members are no reason to fall over.
  for (const char* odd : {R"({"choices":[3]})", R"({"choices":[{"delta":7,"text":[]}]})",
                          R"({"choices":[],"usage":{"prompt_tokens":-1}})"}) {
    EXPECT_TRUE(Read(odd).text.empty()) << odd;
  }
}

TEST(ErrorMessageOfTest, ShapesOfErrorBodies) {
  EXPECT_EQ(ErrorMessageOf(R"({"error":{"message":"no such model"}})"), "no such model");
  EXPECT_EQ(ErrorMessageOf(R"({"detail":"Not Found"})"), "Not Found");
  EXPECT_EQ(ErrorMessageOf("<html>\n502</html>"), "<html> 502</html>");
  EXPECT_EQ(ErrorMessageOf(std::string(1000, 'x')).size(), 200u);
}

}  // namespace
}  // namespace kvasir
