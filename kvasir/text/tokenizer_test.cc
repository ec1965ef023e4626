// What holds for every tokenizer: any bytes encode, streaming equals decoding at once, and an
// inconsistent vocabulary is a Status. The ids themselves: tokenizer_oracle_test.cc.

#include "kvasir/text/tokenizer.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <random>

#include "kvasir/text/detokenizer.h"
#include "kvasir/text/tokenizer_test_ids.h"
#include "kvasir/text/tokenizer_test_text.h"
#include "kvasir/text/unicode.h"

namespace kvasir {
namespace {

std::string JsonFixture(const std::string& name) {
  return ReadTestFile(kTokenizerFixtures + name + ".json");
}

std::unique_ptr<Tokenizer> FromJson(const std::string& name) {
  TokenizerData data;
  data.tokenizer_json = JsonFixture(name);
  Result<std::unique_ptr<Tokenizer>> tokenizer = Tokenizer::Create(data);
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.status().message();
  return tokenizer.ok() ? std::move(*tokenizer) : nullptr;
}

const char* const kFixtureNames[] = {"gpt2",    "prefix_space", "smollm", "llama3",
                                     "qwen2",   "gemma",        "llama2", "metaspace_first",
                                     "unigram", "unigram_bytes"};
// Those that have a token for every byte and change no text.
const char* const kLosslessNames[] = {"gpt2", "smollm", "llama3", "gemma", "llama2"};

std::string RandomBytes(std::mt19937& random, size_t size) {
  std::string bytes(size, '\0');
  for (char& c : bytes) {
    // Mostly pieces of characters: bytes that begin or continue one, and ASCII.
    const uint32_t r = random();
    c = static_cast<char>(r % 3 == 0 ? r >> 8 & 0x7F : r >> 8 | 0x80);
  }
  return bytes;
}

TEST(TokenizerTest, AnyBytesEncodeAndLosslessOnesComeBack) {
  std::mt19937 random(7);
  for (const char* name : kFixtureNames) {
    const auto tokenizer = FromJson(name);
    for (int round = 0; round < 300; ++round) {
      const std::string bytes = RandomBytes(random, random() % 200);
      const auto ids = tokenizer->Encode(bytes);
      for (const TokenId id : ids) ASSERT_LT(static_cast<size_t>(id), tokenizer->vocab_size());
    }
  }
  for (const char* name : kLosslessNames) {
    const auto tokenizer = FromJson(name);
    for (int round = 0; round < 300; ++round) {
      const std::string bytes = RandomBytes(random, random() % 200);
      const auto ids = tokenizer->Encode(bytes, {.add_special = false, .parse_special = false});
      ASSERT_EQ(tokenizer->Decode(ids), bytes) << name;
    }
  }
}

TEST(TokenizerTest, TextComesBackFromLosslessTokenizers) {
  TestText text;
  for (const char* name : kLosslessNames) {
    const auto tokenizer = FromJson(name);
    for (uint64_t i = 0; i < 300; ++i) {
      const std::string segment = text.Segment(i);
      // These replace their neighbours' white space, and the mark stands for a space.
      if (segment.find("<left>") != std::string::npos ||
          segment.find("<right>") != std::string::npos ||
          segment.find("\xE2\x96\x81") != std::string::npos) {
        continue;
      }
      const auto ids = tokenizer->Encode(segment, {.add_special = false, .parse_special = false});
      std::string decoded = tokenizer->Decode(ids);
      if (std::string(name) == "llama2") {
        // Every stretch between added tokens gets a space: only texts without them are lossless.
        if (segment.find("tool>") != std::string::npos ||
            segment.find("<word>") != std::string::npos ||
            segment.find("\xEF\xBC\xA1") != std::string::npos) {
          continue;
        }
      }
      ASSERT_EQ(decoded, segment) << name << " segment " << i;
    }
  }
}

// True when no well-formed character of `text` reaches over `offset`.
bool IsBetweenCharacters(std::string_view text, size_t offset) {
  size_t i = 0;
  while (i < offset) i += DecodeUtf8(text.substr(i)).byte_count;
  return i == offset;
}

TEST(DetokenizerTest, PiecesAreWholeCharactersAndAddUpToDecode) {
  std::mt19937 random(11);
  for (const char* name : kFixtureNames) {
    const auto tokenizer = FromJson(name);
    for (int round = 0; round < 300; ++round) {
      std::vector<TokenId> ids(random() % 60);
      for (TokenId& id : ids) {
        id = static_cast<TokenId>(random() % (tokenizer->vocab_size() + 2)) - 1;
      }
      const DecodeOptions options = {.skip_special = round % 2 == 0};
      const std::string whole = tokenizer->Decode(ids, options);
      Detokenizer detokenizer(*tokenizer, options);
      std::string text;
      for (const TokenId id : ids) {
        text += detokenizer.Push(id);
        ASSERT_TRUE(IsBetweenCharacters(whole, text.size())) << name;
      }
      const std::string rest = detokenizer.Finish();
      ASSERT_LE(rest.size(), 3u);
      ASSERT_EQ(text + rest, whole) << name;
    }
  }
}

TEST(DetokenizerTest, DropsTheSpaceBeforeTheFirstWordOnly) {
  const auto tokenizer = FromJson("llama2");
  const auto ids = tokenizer->Encode("the  quick");
  EXPECT_EQ(tokenizer->Decode(ids), "the  quick");
  EXPECT_EQ(tokenizer->TokenBytes(ids[0]).substr(0, 1), " ");
  Detokenizer detokenizer(*tokenizer, {.skip_special = true});
  EXPECT_EQ(detokenizer.Push(tokenizer->Find("<s>")), "");
  std::string text;
  for (const TokenId id : ids) text += detokenizer.Push(id);
  EXPECT_EQ(text + detokenizer.Finish(), "the  quick");
}

TEST(TokenizerTest, SpecialTokensAreOnlyReadWhereAllowed) {
  const auto tokenizer = FromJson("smollm");
  const TokenId start = tokenizer->Find("<|im_start|>");
  ASSERT_NE(start, kNoToken);
  EXPECT_TRUE(tokenizer->IsControl(start));
  EXPECT_EQ(tokenizer->TokenBytes(start), "<|im_start|>");
  EXPECT_EQ(tokenizer->Encode("<|im_start|>"), std::vector<TokenId>{start});
  for (const char* name : kFixtureNames) {
    const auto any = FromJson(name);
    for (const TokenId id : any->Encode("a<|im_start|> <s></s><bos>b",
                                        {.add_special = false, .parse_special = false})) {
      EXPECT_FALSE(any->IsControl(id) && any->TokenBytes(id) != "<unk>") << name << " " << id;
    }
  }
}

TEST(TokenizerTest, OutsideTheVocabularyThereIsNothing) {
  const auto tokenizer = FromJson("gpt2");
  const TokenId end = static_cast<TokenId>(tokenizer->vocab_size());
  for (const TokenId id : {kNoToken, end, INT32_MAX, INT32_MIN}) {
    EXPECT_EQ(tokenizer->TokenBytes(id), "");
    EXPECT_FALSE(tokenizer->IsControl(id));
  }
  EXPECT_EQ(tokenizer->Find("no such token"), kNoToken);
  EXPECT_EQ(tokenizer->Find(""), kNoToken);
}

// Long runs reach the heap of the merge loop and the limits of the regular expressions. Quadratic
// work on so much would take minutes.
TEST(TokenizerTest, LongTextsWithoutSpacesTakeNoQuadraticTime) {
  const size_t size = 1 << 18;
  std::string letters(size, 'a');
  for (size_t i = 0; i < size; ++i) letters[i] = static_cast<char>('a' + i * i % 26);
  const std::string texts[] = {std::string(size, 'a'),    letters,
                               std::string(size, ' '),    std::string(size, '\n'),
                               std::string(size, '\xE3'), std::string(size, '!')};
  for (const char* name : {"smollm", "llama3", "gemma", "llama2", "unigram_bytes"}) {
    const auto tokenizer = FromJson(name);
    for (const std::string& text : texts) {
      const auto ids = tokenizer->Encode(text, {.add_special = false});
      EXPECT_GT(ids.size(), size / 1000);
      if (std::string(name) != "unigram_bytes") {
        EXPECT_EQ(tokenizer->Decode(ids), text) << name;
      }
    }
  }
}

// A run of white space that no limit may cut short: what follows it is split as behind a short run.
TEST(TokenizerTest, LongRunsOfSpacesDoNotDisturbWhatFollows) {
  const std::string words = "hello world, don't 12345";
  for (const char* name : {"smollm", "llama3", "qwen2", "gemma"}) {
    const auto tokenizer = FromJson(name);
    for (const std::string_view space : {" ", "\n", "\t", "\xE3\x80\x80"}) {
      std::string run;
      while (run.size() < 1 << 19) run += space;
      const EncodeOptions options = {.add_special = false};
      const auto expected = tokenizer->Encode(run.substr(0, 48) + "." + words, options);
      const auto got = tokenizer->Encode(run + "." + words, options);
      constexpr size_t kTail = 10;
      ASSERT_GT(expected.size(), kTail);
      EXPECT_TRUE(std::equal(expected.end() - kTail, expected.end(), got.end() - kTail)) << name;
    }
  }
}

Status CreateStatus(const TokenizerData& data) { return Tokenizer::Create(data).status(); }

TokenizerData SmallByteBpe() {
  TokenizerData data;
  data.model = "gpt2";
  data.pre = "gpt-2";
  data.tokens = {"<s>", "a", "b", "ab"};
  data.types = {TokenType::kControl, TokenType::kNormal, TokenType::kNormal, TokenType::kNormal};
  data.merges = {"a b"};
  return data;
}

TEST(TokenizerTest, InconsistentGgufVocabulariesAreRefused) {
  EXPECT_TRUE(CreateStatus(SmallByteBpe()).ok());
  const auto expect = [](StatusCode code, const std::string& part, const auto& change) {
    TokenizerData data = SmallByteBpe();
    change(data);
    const Status status = CreateStatus(data);
    EXPECT_EQ(status.code(), code) << part;
    EXPECT_NE(status.message().find(part), std::string::npos) << status.message();
  };
  using D = TokenizerData;
  const auto loss = StatusCode::kDataLoss;
  expect(StatusCode::kUnimplemented, "\"bert\"", [](D& d) { d.model = "bert"; });
  expect(StatusCode::kUnimplemented, "\"klingon\"", [](D& d) { d.pre = "klingon"; });
  expect(loss, "tokens 1 and 2", [](D& d) { d.tokens[2] = "a"; });
  expect(loss, "merges[0]", [](D& d) { d.merges = {"a c"}; });
  expect(loss, "merges[0]", [](D& d) { d.merges = {"b a"}; });
  expect(loss, "merges[0]", [](D& d) { d.merges = {"ab"}; });
  expect(loss, "merges[0]", [](D& d) { d.merges = {""}; });
  expect(loss, "merges[0]", [](D& d) { d.merges = {" "}; });
  expect(loss, "merges[1]", [](D& d) { d.merges = {"a b", "a "}; });
  expect(loss, "token_type", [](D& d) { d.types.pop_back(); });
  expect(loss, "scores", [](D& d) { d.scores = {1}; });
  expect(loss, "bos", [](D& d) { d.bos = 4; });
  expect(loss, "eos", [](D& d) { d.eos = -2; });
  expect(loss, "end-of-generation", [](D& d) { d.end_of_generation = {99}; });
  expect(loss, "scores", [](D& d) { d.model = "llama"; });
  expect(loss, "scores[1]", [](D& d) {
    d.model = "llama";
    d.scores = {0, NAN, 0, 0};
  });
  expect(loss, "no vocabulary", [](D& d) { d.tokens.clear(); });
}

// Whatever the arrays hold: a Status, or a tokenizer whose ids are within the vocabulary.
TEST(TokenizerTest, RandomGgufVocabulariesAreRefusedOrWork) {
  std::mt19937 random(13);
  const auto text = [&](size_t size_max) {
    constexpr const char* kParts[] = {"a",        "b",      "c", " ",    "\xE2\x96\x81",
                                      "\xC4\xA0", "<0x41>", "",  "\xFF", "\xE4\xB8\xAD",
                                      "<0xZZ>"};
    std::string out;
    for (size_t n = random() % (size_max + 1); n > 0; --n) out += kParts[random() % 11];
    return out;
  };
  int made = 0;
  for (int round = 0; round < 20'000; ++round) {
    TokenizerData data;
    data.model = std::vector<std::string>{"gpt2", "llama", "t5"}[random() % 3];
    data.tokens.resize(random() % 12);
    for (std::string& token : data.tokens) token = text(2);
    if (random() % 2 == 0) data.types.resize(data.tokens.size());
    for (TokenType& type : data.types) type = static_cast<TokenType>(random() % 8);
    if (random() % 8 != 0) data.scores.resize(data.tokens.size());
    for (float& score : data.scores) score = std::bit_cast<float>(static_cast<uint32_t>(random()));
    for (size_t n = random() % 3; n > 0 && !data.tokens.empty(); --n) {
      data.merges.push_back(data.tokens[random() % data.tokens.size()] + " " +
                            data.tokens[random() % data.tokens.size()]);
    }
    data.unk = static_cast<TokenId>(random() % 5) - 1;
    data.add_space_prefix = random() % 2 == 0;
    const auto tokenizer = Tokenizer::Create(data);
    if (!tokenizer.ok()) continue;
    ++made;
    for (const TokenId id : (*tokenizer)->Encode(text(12))) {
      ASSERT_GE(id, 0);
      ASSERT_LT(static_cast<size_t>(id), data.tokens.size());
    }
  }
  EXPECT_GT(made, 1000);
}

TEST(TokenizerTest, InconsistentTokenizerJsonIsRefused) {
  const std::string good =
      R"({"model":{"type":"BPE","vocab":{"a":0,"b":1,"ab":2},"merges":["a b"]},)"
      R"("added_tokens":[{"id":3,"content":"<s>","special":true}]})";
  const auto status_of = [](const std::string& json) {
    TokenizerData data;
    data.tokenizer_json = json;
    return CreateStatus(data);
  };
  EXPECT_TRUE(status_of(good).ok()) << status_of(good).message();
  const auto expect = [&](const std::string& from, const std::string& to, const std::string& part) {
    std::string json = good;
    json.replace(json.find(from), from.size(), to);
    const Status status = status_of(json);
    EXPECT_FALSE(status.ok()) << json;
    EXPECT_NE(status.message().find(part), std::string::npos) << status.message();
  };
  expect("\"BPE\"", "\"WordPiece\"", "WordPiece");
  expect("\"b\":1", "\"b\":0", "id 0");
  expect("\"b\":1", "\"b\":-1", "vocab");
  expect("\"b\":1", "\"b\":16777215", "vocab");
  expect("\"b\":1", "\"b\":18446744073709551615", "vocab");
  expect("\"b\":1", "\"b\":1.5", "vocab");
  expect("a b", "a c", "merges[0]");
  expect("a b", "ab", "merges[0]");
  expect("[\"a b\"]", "[[\"a\"]]", "merges[0]");
  expect("[\"a b\"]", "7", "merges");
  expect("\"id\":3", "\"id\":2", "id 2");
  expect("\"id\":3", "\"id\":9999999", "added_tokens[0]");
  expect("<s>", "a", "same text");
  expect("<s>", "", "content");
  expect("{\"model\"", "{\"normalizer\":{\"type\":\"Precompiled\"},\"model\"", "Precompiled");
  expect("{\"model\"", "{\"normalizer\":{\"type\":\"Sequence\"},\"model\"", "normalizers");
  expect("{\"model\"", "{\"pre_tokenizer\":{\"type\":\"Bert\"},\"model\"", "Bert");
  expect("{\"model\"", "{\"decoder\":{\"type\":\"CTC\"},\"model\"", "CTC");
  expect("{\"model\"", "{\"post_processor\":{\"type\":\"Bert\"},\"model\"", "Bert");
  expect(
      "{\"model\"",
      R"({"pre_tokenizer":{"type":"Split","behavior":"Isolated","pattern":{"Regex":"("}},"model")",
      "malformed");
  expect("{\"model\"",
         R"({"pre_tokenizer":{"type":"Split","behavior":"Odd","pattern":{"String":"a"}},"model")",
         "Odd");
  expect("{\"model\"",
         R"({"post_processor":{"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"x"}}],)"
         R"("special_tokens":{"x":{"ids":[77]}}},"model")",
         "77");
  EXPECT_FALSE(status_of("{").ok());
  EXPECT_FALSE(status_of("[]").ok());
  EXPECT_FALSE(status_of(std::string(100'000, '[')).ok());
}

// A pattern that backtracks without end: the rest of the text stays one piece.
TEST(TokenizerTest, HostilePatternsStillEncode) {
  TokenizerData data;
  data.tokenizer_json =
      R"({"model":{"type":"BPE","vocab":{"a":0,"b":1},"merges":[]},"pre_tokenizer":)"
      R"({"type":"Split","behavior":"Isolated","pattern":{"Regex":"(a|aa)+\\p{N}"}}})";
  const auto tokenizer = Tokenizer::Create(data);
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status().message();
  EXPECT_EQ((*tokenizer)->Encode(std::string(5000, 'a')).size(), 5000u);
}

}  // namespace
}  // namespace kvasir
