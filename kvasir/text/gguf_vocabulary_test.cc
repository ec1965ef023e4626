// tokenizer.json as GGUF arrays: the ids of both are those of PyPI's tokenizers, whose hashes are
// in tests/oracle/tokenizer_fixtures/.

#include "kvasir/text/gguf_vocabulary.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>

#include "kvasir/text/tokenizer.h"
#include "kvasir/text/tokenizer_test_ids.h"
#include "kvasir/text/tokenizer_test_text.h"

namespace kvasir {
namespace {

// With the ends that the reader of a directory finds in the fixture's post-processor.
TokenizerData JsonData(const std::string& name) {
  TokenizerData data;
  data.tokenizer_json = ReadTestFile(kTokenizerFixtures + name + ".json");
  if (name == "llama3") data.bos = 0;
  if (name == "gemma") data.bos = 2;
  if (name == "qwen2") data.eos = 2;
  data.add_bos = data.bos != kNoToken;
  data.add_eos = data.eos != kNoToken;
  return data;
}

bool HasAny(const std::string& text, std::initializer_list<const char*> words) {
  return std::any_of(words.begin(), words.end(),
                     [&](const char* word) { return text.find(word) != std::string::npos; });
}

struct Form {
  const char* fixture;
  const char* model;
  const char* pre;
};

class GgufVocabularyTest : public testing::TestWithParam<Form> {};

TEST_P(GgufVocabularyTest, HasTheIdsOfTheOriginal) {
  const TokenizerData data = JsonData(GetParam().fixture);
  const auto original = Tokenizer::Create(data);
  ASSERT_TRUE(original.ok()) << original.status().message();
  // Two more rows in the embedding than tokens, as in models that are padded.
  const size_t vocab_size = (*original)->vocab_size() + 2;
  const auto arrays = ToGgufVocabulary(data, vocab_size);
  ASSERT_TRUE(arrays.ok()) << arrays.status().message();
  EXPECT_EQ(arrays->model, GetParam().model);
  EXPECT_EQ(arrays->pre, GetParam().pre);
  EXPECT_TRUE(arrays->tokenizer_json.empty());
  ASSERT_EQ(arrays->tokens.size(), vocab_size);
  EXPECT_EQ(arrays->tokens.back(), "[PAD" + std::to_string(vocab_size - 1) + "]");
  EXPECT_EQ(arrays->types.back(), TokenType::kUnused);
  const auto tokenizer = Tokenizer::Create(*arrays);
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status().message();
  // GGUF has no word for added tokens that take the white space around them, nor for those of
  // normalized text (the wide A) or for a space mark that stands in the text itself.
  std::ifstream hashes(kTokenizerFixtures + GetParam().fixture + ".hashes.txt");
  TestText text;
  size_t compared = 0;
  for (uint64_t i = 0; i < kTestSegmentCount; ++i) {
    const std::string segment = text.Segment(i);
    uint64_t expected = 0;
    size_t expected_count = 0;
    hashes >> std::hex >> expected >> std::dec >> expected_count;
    if (HasAny(segment, {"<left>", "<right>", "<word>", "<tool>", "\xEF\xBC\xA1", "\xE2\x96\x81"}))
      continue;
    ++compared;
    const std::vector<TokenId> ids = (*tokenizer)->Encode(segment);
    ASSERT_EQ(HashIds(ids), expected) << segment << "\n"
                                      << JoinIds(ids) << "\n"
                                      << JoinIds((*original)->Encode(segment));
  }
  EXPECT_GT(compared, kTestSegmentCount / 10);
}

INSTANTIATE_TEST_SUITE_P(
    Fixtures, GgufVocabularyTest,
    testing::Values(Form{"gpt2", "gpt2", "gpt-2"}, Form{"smollm", "gpt2", "smollm"},
                    Form{"llama3", "gpt2", "llama-bpe"}, Form{"qwen2", "gpt2", "qwen2"},
                    Form{"gemma", "llama", "default"}, Form{"llama2", "llama", "default"}),
    [](const auto& info) { return std::string(info.param.fixture); });

TEST(GgufVocabularyTest, RefusesWhatGgufCannotSay) {
  // A space in front of the first word, which no tokenizer.ggml.pre has.
  const auto arrays = ToGgufVocabulary(JsonData("prefix_space"), 300);
  ASSERT_FALSE(arrays.ok());
  EXPECT_EQ(arrays.status().code(), StatusCode::kUnimplemented);
  EXPECT_NE(arrays.status().message().find("llama-bpe, qwen2"), std::string::npos)
      << arrays.status().message();
}

TEST(GgufVocabularyTest, LeavesArraysAlone) {
  TokenizerData data;
  data.model = "llama";
  data.tokens = {"a", "b"};
  const auto arrays = ToGgufVocabulary(data, 7);
  ASSERT_TRUE(arrays.ok());
  EXPECT_EQ(arrays->tokens, data.tokens);
}

}  // namespace
}  // namespace kvasir
