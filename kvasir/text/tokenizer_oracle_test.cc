// Token ids against the original libraries: PyPI tokenizers and sentencepiece. Their ids of every
// segment of the test text are in tests/oracle/tokenizer_fixtures/ as hashes; when one differs,
// tests/oracle/tokenizer_make_fixtures.py --show prints the expected ids.

#include <gtest/gtest.h>

#include <sstream>

#include "kvasir/text/detokenizer.h"
#include "kvasir/text/tokenizer.h"
#include "kvasir/text/tokenizer_test_text.h"

namespace kvasir {
namespace {

const char kFixtures[] = KVASIR_SOURCE_DIR "/tests/oracle/tokenizer_fixtures/";

uint64_t Fnv1a(const std::vector<TokenId>& ids) {
  uint64_t hash = 0xCBF29CE484222325u;
  for (const TokenId id : ids) {
    for (int shift = 0; shift < 32; shift += 8) {
      hash = (hash ^ (static_cast<uint32_t>(id) >> shift & 0xFF)) * 0x100000001B3u;
    }
  }
  return hash;
}

std::string Join(const std::vector<TokenId>& ids) {
  std::ostringstream out;
  for (const TokenId id : ids) out << id << ' ';
  return out.str();
}

std::unique_ptr<Tokenizer> Make(const TokenizerData& data) {
  Result<std::unique_ptr<Tokenizer>> tokenizer = Tokenizer::Create(data);
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.status().message();
  return tokenizer.ok() ? std::move(*tokenizer) : nullptr;
}

// The ids of every segment, and that decoding by pieces equals decoding at once.
void ExpectHashes(const Tokenizer& tokenizer, const std::string& name,
                  const EncodeOptions& options) {
  std::ifstream hashes(kFixtures + name + ".hashes.txt");
  ASSERT_TRUE(hashes.good()) << name;
  TestText text;
  size_t byte_count = 0;
  int wrong = 0;
  for (uint64_t i = 0; i < kTestSegmentCount && wrong < 3; ++i) {
    const std::string segment = text.Segment(i);
    byte_count += segment.size();
    uint64_t expected = 0;
    size_t expected_count = 0;
    hashes >> std::hex >> expected >> std::dec >> expected_count;
    const std::vector<TokenId> ids = tokenizer.Encode(segment, options);
    if (Fnv1a(ids) != expected) {
      ++wrong;
      ADD_FAILURE() << name << " segment " << i << ": " << ids.size() << " ids, not "
                    << expected_count << "\n"
                    << segment << "\n"
                    << Join(ids);
    }
    Detokenizer detokenizer(tokenizer, {});
    std::string streamed;
    for (const TokenId id : ids) streamed += detokenizer.Push(id);
    streamed += detokenizer.Finish();
    ASSERT_EQ(streamed, tokenizer.Decode(ids)) << name << " segment " << i;
  }
  EXPECT_TRUE(wrong > 0 || byte_count >= 1'000'000);
}

std::string JsonFixture(const std::string& name) {
  return ReadTestFile(kFixtures + name + ".json");
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
  const Json json = *ParseJson(ReadTestFile(kFixtures + name + ".pieces.json"));
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
