#include "kvasir/engine/engine.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <memory>
#include <random>
#include <thread>

#include <gtest/gtest.h>

#include "kvasir/engine/engine_test_util.h"
#include "kvasir/engine/fake_model.h"
#include "kvasir/engine/memory_plan.h"

namespace kvasir {
namespace {

// Blocks that are written in place, and blocks that are encoded when they are complete.
constexpr KvFormats kFormatsOfBothKinds[] = {KvFormat::kBF16, {KvFormat::kInt8, KvFormat::kInt4}};

// kv_bytes of so many blocks.
size_t BytesOf(const FakeModel& model, const EngineOptions& options, size_t block_count) {
  const MemoryPlan plan = PlanMemory(model, options).value();
  return block_count * plan.kv_layout.block_bytes() + plan.open_bytes;
}

// Submits all requests at once, runs until nothing is left and compares with the reference.
void ExpectReferenceAnswers(Engine& engine, const std::vector<Request>& requests) {
  std::vector<RecordingSink> sinks(requests.size());
  for (size_t i = 0; i < requests.size(); ++i) {
    ASSERT_TRUE(engine.Submit(requests[i], sinks[i]).ok());
  }
  size_t steps = 0;
  while (engine.Step()) ASSERT_LT(++steps, 100000);
  for (size_t i = 0; i < requests.size(); ++i) {
    EXPECT_TRUE(sinks[i].finished) << i;
    EXPECT_EQ(sinks[i].reason, FinishReason::kLength) << i;
    EXPECT_TRUE(sinks[i].status.ok()) << i;
    EXPECT_EQ(sinks[i].tokens, ReferenceAnswer(requests[i], engine.context_tokens())) << i;
    ASSERT_FALSE(sinks[i].progress.empty()) << i;
    EXPECT_EQ(sinks[i].progress.back(), requests[i].prompt.size()) << i;
  }
  ExpectIdle(engine);
}

TEST(Engine, AloneGivesTheReferenceAnswer) {
  FakeModel model;
  for (const KvFormat format : kKvFormats) {
    // Five dimensions cannot be rotated.
    const auto engine =
        MakeEngine(model, {.kv_format = format, .kv_rotation = false, .sequence_count_max = 1});
    for (const Request& request : MixedRequests(1, 6, 256)) {
      const auto result = Generate(*engine, request);
      ASSERT_TRUE(result.ok());
      EXPECT_EQ(result->tokens, ReferenceAnswer(request, 256));
      EXPECT_EQ(result->reason, FinishReason::kLength);
    }
    ExpectIdle(*engine);
  }
}

TEST(Engine, ChunkSizeAndBatchDoNotChangeTokens) {
  FakeModel model;
  const std::vector<Request> requests = MixedRequests(2, 20, 256);
  for (const KvFormats formats : kFormatsOfBothKinds) {
    for (size_t chunk_tokens : {1, 7, 32, 512}) {
      for (size_t sequence_count_max : {1, 5, 16}) {
        SCOPED_TRACE(testing::Message() << KvFormatsName(formats) << ", " << chunk_tokens << ", "
                                        << sequence_count_max);
        const auto engine = MakeEngine(model, {.kv_format = formats,
                                               .kv_rotation = false,
                                               .sequence_count_max = sequence_count_max,
                                               .chunk_tokens = chunk_tokens});
        ExpectReferenceAnswers(*engine, requests);
        EXPECT_EQ(engine->stats().preemption_count, 0);
      }
    }
  }
}

TEST(Engine, PreemptionDoesNotChangeTokens) {
  FakeModel model;
  uint64_t preemption_count = 0;
  for (size_t block_count : {8, 9, 12, 20}) {
    for (size_t chunk_tokens : {16, 512}) {
      SCOPED_TRACE(testing::Message() << block_count << " blocks, chunks of " << chunk_tokens);
      EngineOptions options = {.kv_format = kFormatsOfBothKinds[block_count % 2],
                               .kv_rotation = false,
                               .chunk_tokens = chunk_tokens};
      options.kv_bytes = BytesOf(model, options, block_count);
      const auto engine = MakeEngine(model, options);
      const std::vector<Request> requests = MixedRequests(3, 20, 256);
      ExpectReferenceAnswers(*engine, requests);
      const EngineStats stats = engine->stats();
      preemption_count += stats.preemption_count;
      size_t prompt_tokens = 0, answer_tokens = 0;
      for (const Request& request : requests) {
        prompt_tokens += request.prompt.size();
        answer_tokens += ReferenceAnswer(request, 256).size();
      }
      EXPECT_EQ(stats.prompt_token_count, prompt_tokens);
      EXPECT_EQ(stats.generated_token_count, answer_tokens);
    }
  }
  EXPECT_GT(preemption_count, 10);
}

// Requests that come and go at any step, over blocks that others have used.
TEST(Engine, ArrivalsAndCancelsDoNotChangeTheAnswersOfOthers) {
  FakeModel model;
  for (uint32_t seed = 0; seed < 40; ++seed) {
    std::mt19937 random(seed);
    EngineOptions options = {.kv_format = kFormatsOfBothKinds[seed % 2], .kv_rotation = false};
    options.sequence_count_max = 1 + random() % 8;
    options.chunk_tokens = 1 + random() % 100;
    options.kv_bytes = BytesOf(model, options, 8 + seed / 2);
    const auto engine = MakeEngine(model, options);
    const std::vector<Request> requests = MixedRequests(seed, 15, 256);
    std::vector<RecordingSink> sinks(requests.size());
    std::vector<RequestId> ids;
    while (engine->Step() || ids.size() < requests.size()) {
      if (ids.size() < requests.size() && random() % 4 == 0) {
        ids.push_back(engine->Submit(requests[ids.size()], sinks[ids.size()]).value());
      }
      if (!ids.empty() && random() % 60 == 0) engine->Cancel(ids[random() % ids.size()]);
    }
    for (size_t i = 0; i < requests.size(); ++i) {
      std::vector<TokenId> expected = ReferenceAnswer(requests[i], 256);
      if (sinks[i].reason == FinishReason::kCancelled) expected.resize(sinks[i].tokens.size());
      EXPECT_EQ(sinks[i].tokens, expected) << seed << " " << i;
      EXPECT_TRUE(sinks[i].finished);
    }
    ExpectIdle(*engine);
  }
}

// Sequences of 4096 tokens that 1 GiB holds at once, blocks that are not encoded yet included, with
// keys and values of the shape of SmolLM2-135M.
size_t SequencesHeld(KvFormats formats) {
  FakeModel model(/*context_length=*/4096);
  model.SetShape(/*layer_count=*/30, /*kv_head_count=*/3, /*head_dim=*/64);
  const auto engine = MakeEngine(model, {.kv_format = formats,
                                         .context_tokens = 4096,
                                         .kv_bytes = size_t{1} << 30,
                                         .sequence_count_max = 48,
                                         .prefix_cache = false});
  std::vector<RecordingSink> sinks(48);
  for (size_t i = 0; i < sinks.size(); ++i) {
    // With its answer and the block that admission asks for beyond, 128 blocks.
    Request request{.prompt = std::vector<TokenId>(4040, TokenId(i)), .token_count_max = 16};
    EXPECT_TRUE(engine->Submit(request, sinks[i]).ok());
  }
  size_t held = 0;
  while (engine->Step()) held = std::max(held, engine->stats().running_count);
  EXPECT_EQ(engine->stats().preemption_count, 0u);
  for (const RecordingSink& sink : sinks) EXPECT_EQ(sink.tokens.size(), 16u);
  return held;
}

TEST(Engine, FewerBitsHoldMoreSequences) {
  const auto bf16 = double(SequencesHeld(KvFormat::kBF16));
  EXPECT_EQ(bf16, 11);  // of 128 blocks of 720 KiB: 90 MiB
  EXPECT_GE(double(SequencesHeld(KvFormat::kInt8)), 1.85 * bf16);
  EXPECT_GE(double(SequencesHeld({KvFormat::kInt8, KvFormat::kInt4})), 2.4 * bf16);
  EXPECT_GE(double(SequencesHeld(KvFormat::kInt4)), 3.3 * bf16);
}

TEST(Engine, SamplingRepeatsBySeed) {
  FakeModel model;
  const auto engine = MakeEngine(model);
  Request request{.prompt = {1, 2, 3}, .token_count_max = 40, .stop_tokens = {}, .sampling = {}};
  request.sampling.temperature = 1;
  request.sampling.seed = 5;
  const auto first = Generate(*engine, request);
  const auto second = Generate(*engine, request);
  request.sampling.seed = 6;
  const auto other = Generate(*engine, request);
  EXPECT_EQ(first->tokens, second->tokens);
  EXPECT_NE(first->tokens, other->tokens);
}

TEST(Engine, StopTokensEndTheAnswerUndelivered) {
  FakeModel model;
  const auto engine = MakeEngine(model);
  Request request{.prompt = {9, 8, 7}, .token_count_max = 50, .stop_tokens = {}, .sampling = {}};
  const std::vector<TokenId> whole = ReferenceAnswer(request, 256);
  const size_t stop_at = std::find(whole.begin(), whole.end(), whole[20]) - whole.begin();
  request.stop_tokens = {-5, 100000, whole[20]};
  const auto result = Generate(*engine, request);
  ASSERT_TRUE(result.ok());
  EXPECT_EQ(result->reason, FinishReason::kStop);
  EXPECT_EQ(result->tokens, std::vector<TokenId>(whole.begin(), whole.begin() + stop_at));
  EXPECT_EQ(engine->stats().generated_token_count, stop_at);
  ExpectIdle(*engine);
}

TEST(Engine, EndsAtTheTokenCountOrTheContext) {
  FakeModel model;
  const auto engine = MakeEngine(model, {.context_tokens = 70});
  EXPECT_EQ(engine->context_tokens(), 70);
  Request request{.prompt = std::vector<TokenId>(60, 3),
                  .token_count_max = 4,
                  .stop_tokens = {},
                  .sampling = {}};
  EXPECT_EQ(Generate(*engine, request)->tokens.size(), 4);
  request.token_count_max = 1;
  EXPECT_EQ(Generate(*engine, request)->tokens.size(), 1);
  request.token_count_max = 1000;
  const auto result = Generate(*engine, request);
  EXPECT_EQ(result->tokens.size(), 10);
  EXPECT_EQ(result->reason, FinishReason::kLength);
  request.prompt.assign(69, 3);
  EXPECT_EQ(Generate(*engine, request)->tokens.size(), 1);
  ExpectIdle(*engine);
}

TEST(Engine, ASinkThatHasEnoughStopsItsRequest) {
  FakeModel model;
  const auto engine = MakeEngine(model);
  const Request request{.prompt = {4, 5}, .token_count_max = 50, .stop_tokens = {}, .sampling = {}};
  RecordingSink brief, patient;
  brief.token_count_wanted = 3;
  ASSERT_TRUE(engine->Submit(request, brief).ok());
  ASSERT_TRUE(engine->Submit(request, patient).ok());
  while (engine->Step()) {
  }
  EXPECT_EQ(brief.reason, FinishReason::kStop);
  EXPECT_EQ(brief.tokens.size(), 3);
  EXPECT_EQ(patient.tokens, ReferenceAnswer(request, 256));
  ExpectIdle(*engine);
}

TEST(Engine, ReportsPrefillChunkByChunk) {
  FakeModel model;
  const auto engine = MakeEngine(model, {.chunk_tokens = 40});
  RecordingSink sink;
  const Request request{.prompt = std::vector<TokenId>(100, 1),
                        .token_count_max = 3,
                        .stop_tokens = {},
                        .sampling = {}};
  ASSERT_TRUE(engine->Submit(request, sink).ok());
  while (engine->Step()) {
  }
  EXPECT_EQ(sink.progress, (std::vector<size_t>{40, 80, 100}));
  EXPECT_EQ(engine->stats().step_count, 3 + 2);
}

TEST(Engine, SubmitRefusesWhatCannotRun) {
  FakeModel model;
  const auto engine = MakeEngine(model, {.context_tokens = 50});
  RecordingSink sink;
  for (const std::vector<TokenId>& prompt :
       {std::vector<TokenId>{}, {1, 200}, {-1}, std::vector<TokenId>(50, 1)}) {
    const auto id = engine->Submit({.prompt = prompt, .stop_tokens = {}, .sampling = {}}, sink);
    EXPECT_EQ(id.status().code(), StatusCode::kInvalidArgument);
  }
  EXPECT_FALSE(engine->Step());
  EXPECT_FALSE(sink.finished);
  EXPECT_FALSE(Generate(*engine, {}).ok());
}

TEST(Engine, CancelFreesAllBlocksWithinOneStep) {
  FakeModel model;
  const auto engine = MakeEngine(model, {.sequence_count_max = 2, .chunk_tokens = 64});
  std::vector<RecordingSink> sinks(3);  // decoding, reading its prompt, waiting
  std::vector<RequestId> ids;
  for (size_t i = 0; i < 3; ++i) {
    Request request{.prompt = std::vector<TokenId>(i == 1 ? 200 : 10, 1),
                    .token_count_max = 100,
                    .stop_tokens = {},
                    .sampling = {}};
    ids.push_back(engine->Submit(std::move(request), sinks[i]).value());
  }
  engine->Step();
  EXPECT_EQ(sinks[0].tokens.size(), 1);
  EXPECT_EQ(sinks[1].progress.back(), 54);
  EXPECT_EQ(engine->stats().waiting_count, 1);
  for (RequestId id : ids) engine->Cancel(id);
  EXPECT_FALSE(engine->Step());
  for (const RecordingSink& sink : sinks) EXPECT_EQ(sink.reason, FinishReason::kCancelled);
  EXPECT_EQ(sinks[0].tokens.size(), 1);
  ExpectIdle(*engine);
  engine->Cancel(ids[0]);  // finished
  engine->Cancel(12345);   // never was
  EXPECT_FALSE(engine->Step());
}

TEST(Engine, AFailingForwardEndsItsBatchOnly) {
  FakeModel model;
  const auto engine = MakeEngine(model, {.sequence_count_max = 2, .chunk_tokens = 64});
  const Request request{.prompt = {4, 5}, .token_count_max = 6, .stop_tokens = {}, .sampling = {}};
  std::vector<RecordingSink> sinks(3);
  for (RecordingSink& sink : sinks) ASSERT_TRUE(engine->Submit(request, sink).ok());
  int forward_count = 0;
  model.on_forward = [&](const Batch&) {
    return ++forward_count == 3 ? IoError("the network is unwell") : OkStatus();
  };
  while (engine->Step()) {
  }
  for (size_t i : {0, 1}) {
    EXPECT_EQ(sinks[i].reason, FinishReason::kError);
    EXPECT_EQ(sinks[i].status.message(), "the network is unwell");
    EXPECT_EQ(sinks[i].tokens.size(), 2);
  }
  EXPECT_EQ(sinks[2].tokens, ReferenceAnswer(request, 256));
  ExpectIdle(*engine);
  model.on_forward = [](const Batch&) { return IoError("still unwell"); };
  EXPECT_EQ(Generate(*engine, request).status().message(), "still unwell");
  model.on_forward = nullptr;
  EXPECT_EQ(Generate(*engine, request)->tokens, ReferenceAnswer(request, 256));
}

TEST(Engine, SinksMaySubmitAndCancel) {
  FakeModel model;
  const auto engine = MakeEngine(model, {.sequence_count_max = 2});
  const Request request{.prompt = {4, 5}, .token_count_max = 6, .stop_tokens = {}, .sampling = {}};
  RecordingSink first, from_token, from_finish;
  RequestId from_token_id = 0;
  first.on_token = [&] {
    if (from_token_id == 0) from_token_id = engine->Submit(request, from_token).value();
    if (first.tokens.size() == 4) engine->Cancel(from_token_id);
  };
  first.on_finish = [&] { EXPECT_TRUE(engine->Submit(request, from_finish).ok()); };
  ASSERT_TRUE(engine->Submit(request, first).ok());
  while (engine->Step()) {
  }
  EXPECT_EQ(from_token.reason, FinishReason::kCancelled);
  EXPECT_EQ(from_token.tokens.size(), 3);
  EXPECT_EQ(from_finish.tokens, ReferenceAnswer(request, 256));
  ExpectIdle(*engine);
}

TEST(Engine, TheBlocksAreFreeWhenTheSinkHearsOfTheEnd) {
  FakeModel model;
  const auto engine = MakeEngine(model);
  RecordingSink sink;
  sink.on_finish = [&] { ExpectIdle(*engine); };
  ASSERT_TRUE(engine->Submit({.prompt = {1}, .stop_tokens = {}, .sampling = {}}, sink).ok());
  while (engine->Step()) {
  }
  EXPECT_TRUE(sink.finished);
}

TEST(Engine, DestructionEndsWhatStillRuns) {
  FakeModel model;
  RecordingSink running, waiting;
  {
    const auto engine = MakeEngine(model, {.sequence_count_max = 1});
    const Request request{.prompt = {1}, .stop_tokens = {}, .sampling = {}};
    ASSERT_TRUE(engine->Submit(request, running).ok());
    ASSERT_TRUE(engine->Submit(request, waiting).ok());
    engine->Step();
  }
  EXPECT_EQ(running.reason, FinishReason::kCancelled);
  EXPECT_EQ(running.tokens.size(), 1);
  EXPECT_EQ(waiting.reason, FinishReason::kCancelled);
}

// Another thread cancels while the engine steps: for ThreadSanitizer, and every request still ends
// exactly once.
TEST(Engine, CancelFromAnotherThread) {
  FakeModel model;
  const auto engine = MakeEngine(model, {.sequence_count_max = 4, .chunk_tokens = 16});
  const std::vector<Request> requests = MixedRequests(8, 60, 256);
  std::vector<RecordingSink> sinks(requests.size());
  std::atomic<RequestId> newest{0};
  std::atomic<bool> done{false};
  std::thread canceller([&] {
    std::mt19937 random(1);
    while (!done.load()) {
      engine->Cancel(random() % (newest.load() + 2));
      std::this_thread::sleep_for(std::chrono::microseconds(200));
    }
  });
  size_t submitted = 0;
  while (engine->Step() || submitted < requests.size()) {
    if (submitted == requests.size()) continue;
    newest = engine->Submit(requests[submitted], sinks[submitted]).value();
    ++submitted;
  }
  done = true;
  canceller.join();
  size_t cancelled_count = 0;
  for (const RecordingSink& sink : sinks) {
    EXPECT_TRUE(sink.finished);
    cancelled_count += sink.reason == FinishReason::kCancelled;
  }
  EXPECT_GT(cancelled_count, 0);
  ExpectIdle(*engine);
}

}  // namespace
}  // namespace kvasir
