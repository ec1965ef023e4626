// Token ids against the original libraries: PyPI tokenizers and sentencepiece. Their ids of every
// segment of the test text are in tests/oracle/tokenizer_fixtures/ as hashes; when one differs,
// tests/oracle/tokenizer_make_fixtures.py --show prints the expected ids.

#include <gtest/gtest.h>

#include "kvasir/text/tokenizer.h"
#include "kvasir/text/tokenizer_test_ids.h"
#include "kvasir/text/tokenizer_test_text.h"

namespace kvasir {
namespace {

std::unique_ptr<Tokenizer> Make(const TokenizerData& data) {
  Result<std::unique_ptr<Tokenizer>> tokenizer = Tokenizer::Create(data);
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.status().message();
  return tokenizer.ok() ? std::move(*tokenizer) : nullptr;
}

std::string JsonFixture(const std::string& name) {
  return ReadTestFile(kTokenizerFixtures + name + ".json");
}

class JsonOracleTest : public testing::TestWithParam<const char*> {};

TEST_P(JsonOracleTest, SameIdsAsTokenizers) {
  TokenizerData data;
  data.tokenizer_json = JsonFixture(GetParam());
  const auto tokenizer = Make(data);
  ASSERT_NE(tokenizer, nullptr);
  ExpectHashes(*tokenizer, GetParam(), {});
}

INSTANTIATE_TEST_SUITE_P(Fixtures, JsonOracleTest,
                         testing::Values("gpt2", "prefix_space", "smollm", "llama3", "qwen2",
                                         "gemma", "llama2", "metaspace_first", "metaspace_always",
                                         "unigram", "unigram_bytes"),
                         [](const auto& info) { return std::string(info.param); });

// The arrays that a GGUF converter would write for a byte-level tokenizer.json.
TokenizerData ByteBpeArrays(const std::string& name, const std::string& pre) {
  const Json json = *ParseJson(JsonFixture(name));
  TokenizerData data;
  data.model = "gpt2";
  data.pre = pre;
  const auto set = [&](size_t id, const std::string& text, TokenType type) {
    if (id >= data.tokens.size()) {
      data.tokens.resize(id + 1);
      data.types.resize(id + 1, TokenType::kNormal);
    }
    data.tokens[id] = text;
    data.types[id] = type;
  };
  for (const auto& [text, id] : json["model"]["vocab"].items()) set(id, text, TokenType::kNormal);
  for (const Json& added : json["added_tokens"]) {
    set(added["id"], added["content"],
        added["special"] ? TokenType::kControl : TokenType::kUserDefined);
  }
  for (const Json& merge : json["model"]["merges"]) {
    data.merges.push_back(merge[0].get<std::string>() + " " + merge[1].get<std::string>());
  }
  return data;
}

struct NamedPre {
  const char* fixture;
  const char* pre;
};

class GgufByteBpeOracleTest : public testing::TestWithParam<NamedPre> {};

// GGUF has no lstrip, rstrip and single_word: segments that hold such tokens are left out.
TEST_P(GgufByteBpeOracleTest, SameIdsAsTokenizerJson) {
  TokenizerData json;
  json.tokenizer_json = JsonFixture(GetParam().fixture);
  const auto expected = Make(json);
  const auto tokenizer = Make(ByteBpeArrays(GetParam().fixture, GetParam().pre));
  ASSERT_NE(expected, nullptr);
  ASSERT_NE(tokenizer, nullptr);
  TestText text;
  size_t compared = 0;
  for (uint64_t i = 0; i < kTestSegmentCount; ++i) {
    const std::string segment = text.Segment(i);
    if (segment.find("<left>") != std::string::npos ||
        segment.find("<right>") != std::string::npos ||
        segment.find("<word>") != std::string::npos) {
      continue;
    }
    const EncodeOptions options = {.add_special = false};
    ASSERT_EQ(tokenizer->Encode(segment, options), expected->Encode(segment, options)) << segment;
    ++compared;
  }
  EXPECT_GT(compared, kTestSegmentCount * 4 / 5);
}

INSTANTIATE_TEST_SUITE_P(Fixtures, GgufByteBpeOracleTest,
                         testing::Values(NamedPre{"gpt2", "gpt-2"}, NamedPre{"smollm", "smollm"},
                                         NamedPre{"llama3", "llama-bpe"},
                                         NamedPre{"qwen2", "qwen2"}),
                         [](const auto& info) { return std::string(info.param.fixture); });

TokenizerData SentencePieceArrays(const std::string& name) {
  const Json json = *ParseJson(ReadTestFile(kTokenizerFixtures + name + ".pieces.json"));
  TokenizerData data;
  data.model = name == "sp_unigram" ? "t5" : "llama";
  data.pre = "default";
  data.add_space_prefix = name != "sp_gemma";
  data.unk = 0;
  for (const Json& piece : json) {
    data.tokens.push_back(piece[0]);
    data.scores.push_back(piece[1]);
    data.types.push_back(static_cast<TokenType>(piece[2].get<int32_t>()));
  }
  return data;
}

class SentencePieceOracleTest : public testing::TestWithParam<const char*> {};

// sentencepiece does not read control tokens in a text.
TEST_P(SentencePieceOracleTest, SameIdsAsSentencePiece) {
  const auto tokenizer = Make(SentencePieceArrays(GetParam()));
  ASSERT_NE(tokenizer, nullptr);
  ExpectHashes(*tokenizer, GetParam(), {.add_special = false, .parse_special = false});
}

INSTANTIATE_TEST_SUITE_P(Fixtures, SentencePieceOracleTest,
                         testing::Values("sp_llama", "sp_gemma", "sp_unigram"),
                         [](const auto& info) { return std::string(info.param); });

}  // namespace
}  // namespace kvasir
