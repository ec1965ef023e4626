#include "kvasir/cli/answer_stream.h"

#include <gtest/gtest.h>

#include "kvasir/cli/testing/fakes.h"

namespace kvasir {
namespace {

// What a reader sees, piece by piece.
struct Shown {
  std::string text;
  std::vector<std::string> pieces;
  AnswerStream::TextCallback callback() {
    return [this](std::string_view piece) {
      pieces.emplace_back(piece);
      text += piece;
      return true;
    };
  }
};

bool PushText(AnswerStream& stream, std::string_view text) {
  for (const char c : text) {
    if (!stream.OnToken({static_cast<unsigned char>(c)})) return false;
  }
  return true;
}

TEST(AnswerStreamTest, ShowsTextAsItComes) {
  const FakeTokenizer tokenizer;
  Shown shown;
  AnswerStream stream(tokenizer, {}, shown.callback());
  EXPECT_TRUE(PushText(stream, "Paris"));
  EXPECT_EQ(shown.text, "Paris");
  EXPECT_FALSE(stream.finished());
  stream.OnFinish(FinishReason::kLength, OkStatus());
  EXPECT_TRUE(stream.finished());
  EXPECT_EQ(stream.reason(), FinishReason::kLength);
  EXPECT_EQ(stream.text(), "Paris");
  EXPECT_EQ(stream.tokens().size(), 5u);
}

TEST(AnswerStreamTest, EveryPieceIsWholeCharacters) {
  const FakeTokenizer tokenizer;
  Shown shown;
  AnswerStream stream(tokenizer, {}, shown.callback());
  const std::string text = "na\xC3\xAFve \xE6\x97\xA5\xE6\x9C\xAC \xF0\x9F\x8E\x89";
  EXPECT_TRUE(PushText(stream, text));
  EXPECT_EQ(shown.text, text);
  for (const std::string& piece : shown.pieces) EXPECT_EQ(piece, WellFormedUtf8(piece));
}

TEST(AnswerStreamTest, ACharacterThatIsCutOffIsReplaced) {
  const FakeTokenizer tokenizer;
  Shown shown;
  AnswerStream stream(tokenizer, {}, shown.callback());
  EXPECT_TRUE(PushText(stream, "a\xF0\x9F"));
  stream.OnFinish(FinishReason::kLength, OkStatus());
  EXPECT_EQ(shown.text, "a\xEF\xBF\xBD");
}

TEST(AnswerStreamTest, AStopStringEndsTheAnswerAndIsNotShown) {
  const FakeTokenizer tokenizer;
  Shown shown;
  AnswerStream stream(tokenizer, {"\nUser:", "END"}, shown.callback());
  EXPECT_FALSE(PushText(stream, "yes\nUse it\nUser: more"));
  stream.OnFinish(FinishReason::kStop, OkStatus());
  EXPECT_EQ(shown.text, "yes\nUse it");
  EXPECT_EQ(stream.text(), "yes\nUse it");
}

TEST(AnswerStreamTest, TextHeldForAStopStringIsShownAtTheEnd) {
  const FakeTokenizer tokenizer;
  Shown shown;
  AnswerStream stream(tokenizer, {"END"}, shown.callback());
  EXPECT_TRUE(PushText(stream, "an EN"));
  EXPECT_EQ(shown.text, "an ");
  stream.OnFinish(FinishReason::kStop, OkStatus());
  EXPECT_EQ(shown.text, "an EN");
}

TEST(AnswerStreamTest, AReaderThatLeavesEndsTheAnswer) {
  const FakeTokenizer tokenizer;
  int calls = 0;
  AnswerStream stream(tokenizer, {}, [&](std::string_view) { return ++calls < 2; });
  EXPECT_TRUE(stream.OnToken({'a'}));
  EXPECT_FALSE(stream.OnToken({'b'}));
  stream.OnFinish(FinishReason::kStop, OkStatus());
  EXPECT_EQ(calls, 2);
}

TEST(AnswerStreamTest, ControlTokensAreNotShown) {
  const FakeTokenizer tokenizer({"<|end|>"}, 256);
  Shown shown;
  AnswerStream stream(tokenizer, {}, shown.callback());
  stream.OnToken({'a'});
  stream.OnToken({256});
  stream.OnToken({'b'});
  stream.OnFinish(FinishReason::kStop, OkStatus());
  EXPECT_EQ(shown.text, "ab");
}

TEST(AnswerStreamTest, BlanksBeforeTheFirstWordMayBeDropped) {
  const FakeTokenizer tokenizer;
  Shown shown;
  AnswerStream stream(tokenizer, {}, shown.callback());
  stream.DropLeadingBlanks();
  EXPECT_TRUE(PushText(stream, " \n Hi  there "));
  EXPECT_EQ(shown.text, "Hi  there ");
}

TEST(AnswerStreamTest, TellsHowMuchOfThePromptIsRead) {
  const FakeTokenizer tokenizer;
  size_t done = 0, total = 0;
  AnswerStream stream(tokenizer, {}, nullptr, [&](size_t d, size_t t) { done = d, total = t; });
  stream.OnPrefillProgress(512, 2000);
  EXPECT_EQ(done, 512u);
  EXPECT_EQ(total, 2000u);
}

TEST(WellFormedUtf8Test, ReplacesWhatIsNoCharacter) {
  const std::string bad = "\xEF\xBF\xBD";
  EXPECT_EQ(WellFormedUtf8("abc \xC3\xA9 \xF4\x8F\xBF\xBF"), "abc \xC3\xA9 \xF4\x8F\xBF\xBF");
  EXPECT_EQ(WellFormedUtf8("\xFF"), bad);
  EXPECT_EQ(WellFormedUtf8("\xC0\xAF"), bad + bad);                             // overlong
  EXPECT_EQ(WellFormedUtf8("\xED\xA0\x80"), bad + bad + bad);                   // surrogate
  EXPECT_EQ(WellFormedUtf8("\xE2\x82"), bad + bad);                             // cut off
  EXPECT_EQ(WellFormedUtf8("\xF4\x90\x80\x80z"), bad + bad + bad + bad + "z");  // beyond U+10FFFF
}

}  // namespace
}  // namespace kvasir
