// Pieces of answers: whole characters, stop strings across tokens, logprobs with the text they
// made; and how replies put them into JSON.

#include "kvasir/server/answer_text.h"

#include <gtest/gtest.h>

#include "kvasir/base/json.h"
#include "kvasir/server/reply_format.h"
#include "kvasir/server/testing/word_tokenizer.h"

namespace kvasir {
namespace {

AnswerText Text(const Tokenizer& tokenizer, std::vector<std::string> stops = {},
                bool keep_tokens = false) {
  AnswerText::Options options;
  options.stops = std::move(stops);
  options.keep_tokens = keep_tokens;
  return AnswerText(tokenizer, std::move(options));
}

TEST(AnswerTextTest, CharactersAreWhole) {
  const WordTokenizer tokenizer({"a", "\xE4\xBD", "\xA0", "\xFF"});
  AnswerText text = Text(tokenizer);
  EXPECT_EQ(text.Push({0}).text, "a");
  EXPECT_EQ(text.Push({1}).text, "");
  EXPECT_EQ(text.Push({2}).text, "\xE4\xBD\xA0");
  EXPECT_EQ(text.Push({3}).text, "\xEF\xBF\xBD");  // no character at all
  EXPECT_EQ(text.Push({1}).text, "");
  EXPECT_EQ(text.Finish().text, "\xEF\xBF\xBD");  // cut off by the limit
}

TEST(AnswerTextTest, NoPartOfAStopStringIsShown) {
  const WordTokenizer tokenizer({"Hello ", "wo", "rld", "wonder"});
  AnswerText text = Text(tokenizer, {"world"});
  EXPECT_EQ(text.Push({0}).text, "Hello ");
  EXPECT_EQ(text.Push({1}).text, "");
  EXPECT_EQ(text.Push({3}).text, "wowonder");  // neither "wo" began a stop string
  EXPECT_FALSE(text.stopped());
  AnswerText other = Text(tokenizer, {"world"});
  EXPECT_EQ(other.Push({1}).text, "");
  EXPECT_EQ(other.Push({2}).text, "");
  EXPECT_EQ(other.Finish().text, "");
  EXPECT_TRUE(other.stopped());
}

TEST(AnswerTextTest, LogprobsComeWithTheTextThatTheirTokensMade) {
  const WordTokenizer tokenizer({"\xE4\xBD", "\xA0", "b"});
  AnswerText text = Text(tokenizer, {}, /*keep_tokens=*/true);
  TokenLogprobs logprobs{.logprob = -0.5f, .top = {{0, -0.5f}}};
  EXPECT_TRUE(text.Push({0, &logprobs}).tokens.empty());
  const AnswerPiece piece = text.Push({1, &logprobs});
  ASSERT_EQ(piece.tokens.size(), 2u);
  EXPECT_EQ(piece.tokens[0].id, 0);
  EXPECT_FLOAT_EQ(piece.tokens[1].logprobs.logprob, -0.5f);
}

TEST(ReplyFormatTest, CompletionLogprobsHaveOffsetsInCharacters) {
  const WordTokenizer tokenizer({"n\xC3\xA4", "b", "c"});
  ReplyOptions options;
  options.logprobs = true;
  const auto format = ReplyFormat::Completion(options, tokenizer);
  ReplyChoice choice;
  choice.text =
      "n\xC3\xA4"
      "b";
  choice.finish_reason = "stop";
  choice.tokens = {{.id = 0}, {.id = 1, .has_logprobs = true}};
  choice.tokens[1].logprobs.logprob = -INFINITY;
  choice.tokens[1].logprobs.top = {{2, -1.0f}};
  const Json reply = *ParseJson(format->Whole({choice}, {.prompt_tokens = 3, .cached_tokens = 2}));
  const Json& logprobs = reply["choices"][0]["logprobs"];
  EXPECT_EQ(logprobs["text_offset"], Json::array({0, 2}));
  EXPECT_TRUE(logprobs["token_logprobs"][0].is_null());
  EXPECT_EQ(logprobs["token_logprobs"][1], -9999);  // JSON has no infinity
  EXPECT_EQ(logprobs["top_logprobs"][1]["c"], -1.0);
  EXPECT_EQ(reply["usage"]["prompt_tokens_details"]["cached_tokens"], 2);
}

TEST(ReplyFormatTest, ChunksOfAChat) {
  const WordTokenizer tokenizer({"a"});
  ReplyOptions options;
  options.request_id = "r";
  options.include_usage = true;
  const auto format = ReplyFormat::Chat(options, tokenizer);
  const Json first = *ParseJson(format->FirstChunk(1));
  EXPECT_EQ(first["id"], "chatcmpl-r");
  EXPECT_EQ(first["choices"][0]["index"], 1);
  EXPECT_EQ(first["choices"][0]["delta"], Json({{"role", "assistant"}, {"content", ""}}));
  EXPECT_TRUE(first["usage"].is_null());
  const Json last = *ParseJson(format->LastChunk(0, "length"));
  EXPECT_EQ(last["choices"][0]["delta"], Json::object());
  EXPECT_EQ(last["choices"][0]["finish_reason"], "length");
  EXPECT_EQ(SseEvent("{}"), "data: {}\n\n");
}

}  // namespace
}  // namespace kvasir
