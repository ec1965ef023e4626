// What a request can ask of the engine beyond tokens: logprobs, bias, a least length, a deadline.

#include <chrono>
#include <limits>
#include <vector>

#include <gtest/gtest.h>

#include "kvasir/engine/engine_test_util.h"
#include "kvasir/engine/fake_model.h"
#include "kvasir/engine/logprobs.h"

namespace kvasir {
namespace {

void RunAll(Engine& engine) {
  while (engine.Step()) {
  }
}

// The logprobs of the tokens behind the first `known_count` of a whole sequence, by definition.
std::vector<TokenLogprobs> ReferenceLogprobs(const std::vector<TokenId>& tokens, size_t known_count,
                                             size_t top_count) {
  std::vector<TokenLogprobs> expected;
  for (size_t i = known_count; i < tokens.size(); ++i) {
    expected.push_back(
        LogprobsOf(FakeModel::LogitsAfter(std::span(tokens).first(i)), tokens[i], top_count));
  }
  return expected;
}

std::vector<TokenId> Joined(std::vector<TokenId> prompt, const std::vector<TokenId>& answer) {
  prompt.insert(prompt.end(), answer.begin(), answer.end());
  return prompt;
}

TEST(EngineRequest, LogprobsAreThoseOfTheModelWhateverTheSampling) {
  FakeModel model;
  const auto engine = MakeEngine(model);
  Request request{.prompt = {5, 6, 7}, .token_count_max = 30};
  request.logprobs = true;
  request.top_logprob_count = 4;
  request.sampling.temperature = 1;
  request.sampling.repetition_penalty = 1.3f;
  request.logit_bias = {{8, 2.0f}};
  RecordingSink sink;
  ASSERT_TRUE(engine->Submit(request, sink).ok());
  RunAll(*engine);
  EXPECT_EQ(sink.tokens.size(), 30);
  EXPECT_EQ(sink.logprobs,
            ReferenceLogprobs(Joined(request.prompt, sink.tokens), request.prompt.size(), 4));
  RecordingSink plain;
  request.logprobs = false;
  ASSERT_TRUE(engine->Submit(request, plain).ok());
  RunAll(*engine);
  EXPECT_EQ(plain.tokens, sink.tokens);
  EXPECT_TRUE(plain.logprobs.empty());
}

// Beside others, in chunks of every size, under preemption: the same numbers in the same order.
TEST(EngineRequest, PromptLogprobsAreComplete) {
  FakeModel model;
  for (const size_t chunk_tokens : {1, 5, 64, 512}) {
    for (const size_t block_count : {8, 40}) {
      const auto engine = MakeEngine(
          model, {.kv_bytes = block_count * model.KvLayout(KvFormat::kBF16).block_bytes(),
                  .chunk_tokens = chunk_tokens});
      std::vector<Request> requests = MixedRequests(4, 8, 256);
      requests[5].prompt = requests[0].prompt;  // one that could share
      std::vector<RecordingSink> sinks(requests.size());
      for (size_t i = 0; i < requests.size(); ++i) {
        requests[i].prompt_logprobs = i % 2 == 1;
        requests[i].top_logprob_count = 2;
        ASSERT_TRUE(engine->Submit(requests[i], sinks[i]).ok());
      }
      RunAll(*engine);
      for (size_t i = 0; i < requests.size(); ++i) {
        EXPECT_EQ(sinks[i].tokens, ReferenceAnswer(requests[i], 256)) << i;
        const auto expected = ReferenceLogprobs(requests[i].prompt, 1, 2);
        EXPECT_EQ(sinks[i].prompt_logprobs, i % 2 == 1 ? expected : std::vector<TokenLogprobs>())
            << i << ", chunks of " << chunk_tokens;
      }
      ExpectIdle(*engine);
    }
  }
}

TEST(EngineRequest, BiasForcesAndForbids) {
  FakeModel model;  // logits in [0, 4)
  const auto engine = MakeEngine(model);
  Request request{.prompt = {5, 6, 7}, .token_count_max = 20};
  request.logit_bias = {{42, 100.0f}};
  EXPECT_EQ(Generate(*engine, request)->tokens, std::vector<TokenId>(20, 42));
  const TokenId first = ReferenceAnswer({.prompt = {5, 6, 7}, .token_count_max = 1}, 256)[0];
  request.logit_bias = {{first, -100.0f}};
  const auto others = Generate(*engine, request);
  ASSERT_TRUE(others.ok());
  for (const TokenId token : others->tokens) EXPECT_NE(token, first);
}

TEST(EngineRequest, StopTokensWaitForTheLeastLength) {
  FakeModel model;
  const auto engine = MakeEngine(model);
  Request request{.prompt = {9, 8, 7}, .token_count_max = 200};
  for (TokenId token = 0; token < 200; token += 2) request.stop_tokens.push_back(token);
  request.stop_tokens.push_back(-5);
  request.stop_tokens.push_back(1000);
  for (const size_t least : {0, 1, 30, 200}) {
    request.token_count_min = least;
    const auto result = Generate(*engine, request);
    ASSERT_TRUE(result.ok());
    EXPECT_GE(result->tokens.size(), least);
    EXPECT_LT(result->tokens.size(), least + 20);  // half of the tokens end it
    EXPECT_EQ(result->reason, least == 200 ? FinishReason::kLength : FinishReason::kStop);
    for (const TokenId token : result->tokens) EXPECT_EQ(token % 2, 1);
  }
}

TEST(EngineRequest, ADeadlineEndsARequestWhereverItIs) {
  using Clock = std::chrono::steady_clock;
  FakeModel model;
  const auto engine = MakeEngine(model, {.sequence_count_max = 2, .chunk_tokens = 64});
  std::vector<RecordingSink> sinks(4);  // decoding, reading its prompt, waiting, in time
  for (size_t i = 0; i < 4; ++i) {
    Request request{.prompt = std::vector<TokenId>(i == 1 ? 200 : 10, 1), .token_count_max = 20};
    request.deadline = Clock::now() + std::chrono::milliseconds(i == 3 ? 3600000 : 20);
    ASSERT_TRUE(engine->Submit(request, sinks[i]).ok());
  }
  engine->Step();
  EXPECT_EQ(sinks[0].tokens.size(), 1);
  const Clock::time_point late = Clock::now() + std::chrono::milliseconds(25);
  while (Clock::now() < late) {
  }
  EXPECT_TRUE(engine->Step());
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(sinks[i].reason, FinishReason::kDeadline) << i;
    EXPECT_EQ(sinks[i].status.code(), StatusCode::kDeadlineExceeded) << i;
  }
  EXPECT_EQ(sinks[0].status.message(), "the deadline passed after 1 generated tokens");
  RunAll(*engine);
  EXPECT_EQ(sinks[3].reason, FinishReason::kLength);
  EXPECT_EQ(sinks[3].tokens.size(), 20);
  EXPECT_EQ(engine->stats().finished_counts[size_t(FinishReason::kDeadline)], 3);
  ExpectIdle(*engine);
}

TEST(EngineRequest, SaysHowLongTheQueueWas) {
  FakeModel model;
  const auto engine = MakeEngine(model, {.sequence_count_max = 1});
  Request request{.prompt = {1, 2}, .token_count_max = 3};
  request.arrival = std::chrono::steady_clock::now() - std::chrono::seconds(100);
  RecordingSink sink;
  ASSERT_TRUE(engine->Submit(request, sink).ok());
  RunAll(*engine);
  EXPECT_GE(sink.prompt_stats->queue_seconds, 100);
  EXPECT_LT(sink.prompt_stats->read_seconds, 100);
  EXPECT_EQ(sink.prompt_stats->token_count, 2);
}

TEST(EngineRequest, StatisticsCountSteps) {
  FakeModel model;
  const auto engine = MakeEngine(model, {.sequence_count_max = 2, .chunk_tokens = 64});
  std::vector<RecordingSink> sinks(3);
  for (RecordingSink& sink : sinks) {
    const Request request{.prompt = std::vector<TokenId>(100, 1), .token_count_max = 5};
    ASSERT_TRUE(engine->Submit(request, sink).ok());
  }
  EXPECT_EQ(engine->stats().waiting_token_count, 300);
  EXPECT_EQ(engine->stats().unread_token_count, 300);
  engine->Step();
  EXPECT_EQ(engine->stats().waiting_token_count, 100);
  EXPECT_EQ(engine->stats().unread_token_count, 300 - 64);
  RunAll(*engine);
  const EngineStats stats = engine->stats();
  EXPECT_EQ(stats.step_seconds.count(), stats.step_count);
  EXPECT_EQ(stats.batch_rows.count(), stats.step_count);
  // Every row is a computed prompt token or one of the four answer tokens that are fed back.
  EXPECT_EQ(stats.batch_rows.sum(), double(stats.prompt_token_count) + 3 * 4);
  EXPECT_EQ(stats.finished_counts[size_t(FinishReason::kLength)], 3);
  EXPECT_EQ(stats.running_count_max, 2);
}

}  // namespace
}  // namespace kvasir
