// Messages that spell special tokens stay text, whatever a template puts around them, and others
// are tokenised as if nobody had looked.

#include "kvasir/text/literal_marker.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "kvasir/text/tokenizer_test_ids.h"
#include "kvasir/text/tokenizer_test_text.h"

namespace kvasir {
namespace {

std::unique_ptr<Tokenizer> Load(const std::string& name) {
  TokenizerData data;
  data.tokenizer_json = ReadTestFile(kTokenizerFixtures + name + ".json");
  Result<std::unique_ptr<Tokenizer>> tokenizer = Tokenizer::Create(data);
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.status().message();
  return tokenizer.ok() ? std::move(*tokenizer) : nullptr;
}

std::string FirstControlToken(const Tokenizer& tokenizer) {
  for (TokenId id = 0; static_cast<size_t>(id) < tokenizer.vocab_size(); ++id) {
    if (tokenizer.IsControl(id) && tokenizer.TokenBytes(id).size() > 2) {
      return std::string(tokenizer.TokenBytes(id));
    }
  }
  return "";
}

// Control tokens in a prompt of `before` + the marked content + `after`.
size_t CountControls(const Tokenizer& tokenizer, const std::string& before,
                     const std::string& content, const std::string& after) {
  Json value = content;
  std::string mark;
  EXPECT_TRUE(LiteralMarker(tokenizer).MarkAll(&value, &mark));
  const std::string prompt = before + value.get<std::string>() + after;
  const auto ids =
      tokenizer.Encode(prompt, {.add_special = false, .parse_special = true, .literal_mark = mark});
  EXPECT_EQ(tokenizer.Decode(ids), before + content + after);
  return static_cast<size_t>(
      std::count_if(ids.begin(), ids.end(), [&](TokenId id) { return tokenizer.IsControl(id); }));
}

TEST(LiteralMarkerTest, OnlyTheTemplatesTokensAreSpecial) {
  for (const char* name : {"smollm", "llama3"}) {
    const auto tokenizer = Load(name);
    const std::string special = FirstControlToken(*tokenizer);
    ASSERT_FALSE(special.empty());
    EXPECT_EQ(CountControls(*tokenizer, special, "hi", special), 2u) << name;
    EXPECT_EQ(CountControls(*tokenizer, special, special, special), 2u) << name;
    EXPECT_EQ(CountControls(*tokenizer, special, "a" + special + special + "b", special), 2u);
    // Half of a token at an edge, and the other half in what stands beside it.
    for (size_t cut = 1; cut < special.size(); ++cut) {
      const std::string head = special.substr(0, cut), tail = special.substr(cut);
      EXPECT_EQ(CountControls(*tokenizer, special, "x" + head, tail), 1u) << name << cut;
      EXPECT_EQ(CountControls(*tokenizer, head, tail + "x", special), 1u) << name << cut;
    }
  }
}

TEST(LiteralMarkerTest, OrdinaryTextIsLeftAlone) {
  const auto tokenizer = Load("smollm");
  const LiteralMarker marker(*tokenizer);
  for (const std::string text : {"Hello, world", " 5 < 6 and |x| ", "", "\n"}) {
    EXPECT_EQ(marker.Mark(text, "#"), text);
  }
}

TEST(LiteralMarkerTest, EverythingInAValueIsMarkedWithOneMark) {
  const auto tokenizer = Load("smollm");
  const LiteralMarker marker(*tokenizer);
  const std::string special = FirstControlToken(*tokenizer);
  Json value = {{"content", special}, {special, Json::array({1, special})}};
  // The first noncharacter is taken.
  value["other"] = "\xEF\xB7\x90";
  const Json original = value;
  std::string mark;
  ASSERT_TRUE(marker.MarkAll(&value, &mark));
  EXPECT_EQ(mark, "\xEF\xB7\x91");
  const std::string text = DumpJson(value);
  EXPECT_EQ(text.find(special), std::string::npos);
  EXPECT_EQ(RemoveMark(text, mark), DumpJson(original));
}

}  // namespace
}  // namespace kvasir
