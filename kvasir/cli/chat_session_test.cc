#include "kvasir/cli/chat_session.h"

#include <gtest/gtest.h>

#include <csignal>

#include "kvasir/cli/testing/fakes.h"

namespace kvasir {
namespace {

constexpr const char* kTemplate =
    "{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}{% endfor %}<assistant>";

Conversation MakeConversation(const Tokenizer& tokenizer, const std::string& source,
                              std::string system = "") {
  Result<Conversation> conversation = Conversation::Create(tokenizer, source, std::move(system));
  EXPECT_TRUE(conversation.ok()) << conversation.status().message();
  return std::move(*conversation);
}

class ChatSessionTest : public testing::Test {
 protected:
  ChatSession MakeSession(SamplingOptions sampling = {.token_count_max = 100}) {
    return ChatSession(engine_, tokenizer_, MakeConversation(tokenizer_, kTemplate), sampling,
                       interrupt_);
  }
  AnswerStream::TextCallback Show() {
    return [this](std::string_view text) {
      shown_ += text;
      return true;
    };
  }

  FakeTokenizer tokenizer_;
  FakeEngine engine_{"Paris."};
  InterruptScope interrupt_;
  std::string shown_;
};

TEST_F(ChatSessionTest, EachTurnSubmitsTheWholeConversation) {
  ChatSession session = MakeSession();
  const Result<Turn> first = session.Answer("Capital?", Show(), nullptr);
  ASSERT_TRUE(first.ok());
  EXPECT_EQ(first->text, "Paris.");
  EXPECT_EQ(first->answer_token_count, 6u);
  EXPECT_EQ(tokenizer_.last_encoded, "<user>Capital?<assistant>");
  EXPECT_FALSE(tokenizer_.last_encode_options.add_special);
  ASSERT_TRUE(session.Answer("Sure?", Show(), nullptr).ok());
  EXPECT_EQ(tokenizer_.last_encoded, "<user>Capital?<assistant>Paris.<user>Sure?<assistant>");
  EXPECT_EQ(shown_, "Paris.Paris.");
  EXPECT_EQ(engine_.requests[0].stop_tokens, std::vector<TokenId>{0});
}

TEST_F(ChatSessionTest, StopStringsEndTheAnswer) {
  ChatSession session = MakeSession({.token_count_max = 100, .stops = {"ri"}});
  const Result<Turn> turn = session.Answer("Capital?", Show(), nullptr);
  ASSERT_TRUE(turn.ok());
  EXPECT_EQ(turn->text, "Pa");
  EXPECT_EQ(turn->reason, FinishReason::kStop);
}

TEST_F(ChatSessionTest, InterruptKeepsWhatCame) {
  ChatSession session = MakeSession();
  int steps = 0;
  engine_.on_step = [&] {
    if (++steps == 3) std::raise(SIGINT);
  };
  const Result<Turn> turn = session.Answer("Capital?", Show(), nullptr);
  ASSERT_TRUE(turn.ok());
  EXPECT_EQ(turn->reason, FinishReason::kCancelled);
  EXPECT_EQ(turn->text, "Par");
  EXPECT_EQ(session.conversation().message_count(), 2u);
  interrupt_.Clear();
  engine_.on_step = nullptr;
  EXPECT_EQ(session.Answer("Again?", Show(), nullptr)->text, "Paris.");
}

TEST_F(ChatSessionTest, ARefusedMessageIsForgotten) {
  ChatSession session = MakeSession();
  engine_.submit_status = InvalidArgument("the prompt has 5000 tokens, the context 1024");
  EXPECT_EQ(session.Answer("too long", Show(), nullptr).status().message(),
            "the prompt has 5000 tokens, the context 1024");
  engine_.submit_status = OkStatus();
  engine_.step_status = ResourceExhausted("out of blocks");
  EXPECT_EQ(session.Answer("fails", Show(), nullptr).status().code(),
            StatusCode::kResourceExhausted);
  EXPECT_EQ(session.conversation().message_count(), 0u);
}

TEST(ConversationTest, WithoutATemplateItWritesLines) {
  const FakeTokenizer tokenizer;
  Conversation conversation = MakeConversation(tokenizer, "", "Be brief.");
  EXPECT_FALSE(conversation.has_template());
  EXPECT_EQ(conversation.Stops(), std::vector<std::string>{"\nUser:"});
  conversation.AddUser("Hi");
  conversation.AddAssistant("Hello");
  conversation.AddUser("Bye");
  ASSERT_TRUE(conversation.Prompt().ok());
  EXPECT_EQ(tokenizer.last_encoded,
            "Be brief.\n\nUser: Hi\nAssistant: Hello\nUser: Bye\nAssistant:");
  EXPECT_TRUE(tokenizer.last_encode_options.add_special);
}

TEST(ConversationTest, ResetKeepsTheSystemMessageAndRestartReplacesIt) {
  const FakeTokenizer tokenizer;
  Conversation conversation = MakeConversation(tokenizer, kTemplate, "one");
  conversation.AddUser("a");
  conversation.Reset();
  EXPECT_EQ(conversation.message_count(), 0u);
  ASSERT_TRUE(conversation.Prompt().ok());
  EXPECT_EQ(tokenizer.last_encoded, "<system>one<assistant>");
  conversation.Restart("two");
  conversation.AddUser("b");
  ASSERT_TRUE(conversation.Prompt().ok());
  EXPECT_EQ(tokenizer.last_encoded, "<system>two<user>b<assistant>");
  conversation.Restart("");
  conversation.AddUser("c");
  ASSERT_TRUE(conversation.Prompt().ok());
  EXPECT_EQ(tokenizer.last_encoded, "<user>c<assistant>");
}

TEST(ConversationTest, TemplateErrorsSayWhoseTheyAre) {
  const FakeTokenizer tokenizer;
  const Status broken = Conversation::Create(tokenizer, "{% for %}", "").status();
  EXPECT_EQ(broken.code(), StatusCode::kInvalidArgument);
  EXPECT_TRUE(broken.message().starts_with("the model's chat template: ")) << broken.message();
  Conversation refusing =
      MakeConversation(tokenizer, "{{ raise_exception('no system message here') }}", "x");
  EXPECT_NE(refusing.Prompt().status().message().find("no system message here"), std::string::npos);
}

TEST(DescribeTurnTest, SaysWhatTheCacheSaved) {
  EXPECT_EQ(DescribeTurn({.prompt_token_count = 100,
                          .cached_token_count = 64,
                          .answer_token_count = 1,
                          .prefill_seconds = 0.5}),
            "100 tokens read, 64 of them from the cache, at 200 tokens/s, 1 written at 0.0 "
            "tokens/s");
}

TEST(DescribeTurnTest, CountsTheFirstTokenToThePrompt) {
  EXPECT_EQ(DescribeTurn({.prompt_token_count = 100,
                          .answer_token_count = 21,
                          .prefill_seconds = 0.5,
                          .decode_seconds = 2}),
            "100 tokens read at 200 tokens/s, 21 written at 10.0 tokens/s");
}

}  // namespace
}  // namespace kvasir
