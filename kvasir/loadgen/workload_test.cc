#include "kvasir/loadgen/workload.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <set>

namespace kvasir {
namespace {

size_t WordCount(std::string_view text) {
  return static_cast<size_t>(std::count(text.begin(), text.end(), ' '));
}

// A tokenizer for which words of more than four letters are two tokens.
Result<size_t> CountLongWordsTwice(std::string_view text) {
  size_t count = 0, letters = 0;
  for (const char c : text) {
    letters = c == ' ' ? 0 : letters + 1;
    if (letters == 1 || letters == 5) ++count;
  }
  return count;
}

PromptMaker Words() { return *PromptMaker::Create(nullptr); }

TEST(PromptMakerTest, TextsHaveTheWishedLengthInTokens) {
  const Result<PromptMaker> prompts = PromptMaker::Create(CountLongWordsTwice);
  ASSERT_TRUE(prompts.ok()) << prompts.status().message();
  EXPECT_TRUE(prompts->exact());
  EXPECT_FALSE(Words().exact());
  for (const size_t count : {0u, 1u, 2u, 17u, 1000u}) {
    EXPECT_EQ(*CountLongWordsTwice(prompts->Text(7, count)), count);
    EXPECT_EQ(WordCount(Words().Text(7, count)), count);
  }
  EXPECT_EQ(*CountLongWordsTwice(prompts->Text(1, 40) + prompts->Text(2, 9)), 49u);
}

TEST(PromptMakerTest, TheSeedDecides) {
  const PromptMaker prompts = Words();
  EXPECT_EQ(prompts.Text(3, 50), prompts.Text(3, 50));
  EXPECT_TRUE(prompts.Text(3, 50).starts_with(prompts.Text(3, 20)));
  std::set<std::string> beginnings;
  for (uint64_t seed = 0; seed < 1000; ++seed) beginnings.insert(prompts.Text(seed, 8));
  EXPECT_EQ(beginnings.size(), 1000u);
  EXPECT_NE(MixSeeds(1, 2), MixSeeds(2, 1));
}

TEST(PromptMakerTest, CountersThatFailOrKnowNoWord) {
  const auto fails = [](std::string_view) -> Result<size_t> { return IoError("gone"); };
  EXPECT_EQ(PromptMaker::Create(fails).status().message(), "gone");
  const auto letters = [](std::string_view text) -> Result<size_t> { return text.size(); };
  EXPECT_EQ(PromptMaker::Create(letters).status().code(), StatusCode::kUnimplemented);
}

TEST(WorkloadTest, AllAtOnceWithUniqueTexts) {
  WorkloadOptions options;
  options.seed = 5;
  const PromptMaker prompts = Words();
  const Workload workload = MakeWorkload(options, prompts, 0);
  ASSERT_EQ(workload.conversations.size(), 16u);
  EXPECT_EQ(workload.request_count(), 16u);
  std::set<std::string> texts;
  for (uint64_t round = 0; round < 3; ++round) {
    for (const Conversation& conversation : MakeWorkload(options, prompts, round).conversations) {
      EXPECT_EQ(conversation.due_ms, 0);
      EXPECT_TRUE(conversation.system.empty());
      ASSERT_EQ(conversation.turns.size(), 1u);
      EXPECT_EQ(WordCount(conversation.turns[0].text), 256u);
      EXPECT_EQ(conversation.turns[0].output_tokens, 64u);
      texts.insert(conversation.turns[0].text);
    }
  }
  EXPECT_EQ(texts.size(), 48u);
  EXPECT_EQ(MakeWorkload(options, prompts, 0).conversations[3].turns[0].text,
            workload.conversations[3].turns[0].text);
}

TEST(WorkloadTest, ArrivalsAreExponential) {
  WorkloadOptions options;
  options.request_count = 20'000;
  options.input_tokens = 1;
  options.rate_per_s = 4;
  const Workload workload = MakeWorkload(options, Words(), 0);
  EXPECT_EQ(workload.conversations[0].due_ms, 0);
  double sum = 0, squares = 0;
  for (size_t i = 1; i < workload.conversations.size(); ++i) {
    const double gap = workload.conversations[i].due_ms - workload.conversations[i - 1].due_ms;
    EXPECT_GE(gap, 0);
    sum += gap;
    squares += gap * gap;
  }
  // Mean and standard deviation of an exponential distribution of rate 4/s are 250 ms; those of
  // 20,000 draws stray by 250 / sqrt(20000) = 1.8 ms and about twice that.
  const double count = 19'999, mean = sum / count;
  EXPECT_NEAR(mean, 250, 4 * 1.8);
  EXPECT_NEAR(std::sqrt(squares / count - mean * mean), 250, 4 * 3.6);
}

TEST(WorkloadTest, SharedPrefixesAreNewInEachRoundUnlessWarm) {
  WorkloadOptions options;
  options.shared_prefix_tokens = 30;
  const PromptMaker prompts = Words();
  const Workload first = MakeWorkload(options, prompts, 0);
  EXPECT_EQ(WordCount(first.conversations[0].system), 30u);
  EXPECT_EQ(first.conversations[0].system, first.conversations[15].system);
  EXPECT_NE(first.conversations[0].system,
            MakeWorkload(options, prompts, 1).conversations[0].system);
  EXPECT_TRUE(MakeWarmup(options, prompts, 0).system.empty());
  options.warm_prefix = true;
  const Workload warm = MakeWorkload(options, prompts, 0);
  EXPECT_EQ(warm.conversations[0].system,
            MakeWorkload(options, prompts, 1).conversations[0].system);
  EXPECT_EQ(warm.conversations[0].system, MakeWarmup(options, prompts, 0).system);
}

TEST(WorkloadTest, TurnsAndPromptsBeside) {
  WorkloadOptions options;
  options.request_count = 3;
  options.turn_count = 4;
  options.beside_tokens = 70;
  const Workload workload = MakeWorkload(options, Words(), 0);
  EXPECT_EQ(workload.request_count(), 12u);
  std::set<std::string> texts;
  for (const Conversation& conversation : workload.conversations) {
    for (const Turn& turn : conversation.turns) texts.insert(turn.text);
  }
  EXPECT_EQ(texts.size(), 12u);
  ASSERT_EQ(workload.beside.size(), 4u);
  EXPECT_EQ(WordCount(workload.beside[0].turns[0].text), 70u);
  EXPECT_EQ(workload.beside[0].turns[0].output_tokens, 1u);
}

TEST(WorkloadTest, TracesKeepTimesLengthsAndSharing) {
  WorkloadOptions options;
  options.trace = {{100, 1100, 50, {4, 5, 6}}, {300, 1024, 3, {4, 5}}, {900, 513, 1, {4, 9}}};
  options.trace_speed = 2;
  options.trace_scale = 1.0 / 16;
  const Workload workload = MakeWorkload(options, Words(), 0);
  ASSERT_EQ(workload.conversations.size(), 3u);
  EXPECT_EQ(workload.conversations[0].due_ms, 0);
  EXPECT_EQ(workload.conversations[1].due_ms, 100);
  EXPECT_EQ(workload.conversations[2].due_ms, 400);
  const auto text = [&](size_t i) { return workload.conversations[i].turns[0].text; };
  EXPECT_EQ(WordCount(text(0)), 69u);  // 1100 / 16 = 68.75
  EXPECT_EQ(WordCount(text(1)), 64u);
  EXPECT_EQ(WordCount(text(2)), 32u);
  EXPECT_TRUE(text(0).starts_with(text(1)));
  EXPECT_EQ(workload.conversations[0].turns[0].output_tokens, 3u);
  EXPECT_EQ(workload.conversations[2].turns[0].output_tokens, 1u);
  EXPECT_NE(text(1), MakeWorkload(options, Words(), 1).conversations[1].turns[0].text);
}

TEST(WorkloadTest, IsDescribedInASentence) {
  WorkloadOptions options;
  EXPECT_EQ(DescribeWorkload(options), "16 requests, all at once, 256 tokens in, 64 out");
  options.rate_per_s = 2.5;
  options.shared_prefix_tokens = 2048;
  EXPECT_EQ(DescribeWorkload(options),
            "16 requests, 2.5 a second, 2048 shared + 256 tokens in, 64 out");
  options = {};
  options.request_count = 8;
  options.turn_count = 6;
  EXPECT_EQ(DescribeWorkload(options),
            "8 conversations of 6 turns, all at once, 256 tokens in, 64 out");
}

}  // namespace
}  // namespace kvasir
