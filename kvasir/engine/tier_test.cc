// Requests whose blocks come from a store below the pool: the answers are those of requests that
// share nothing, whatever the store does, and what it has is not computed again.

#include <algorithm>
#include <chrono>
#include <ctime>
#include <future>
#include <memory>
#include <random>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "kvasir/engine/engine_loop.h"
#include "kvasir/engine/engine_test_util.h"
#include "kvasir/engine/fake_model.h"
#include "kvasir/engine/memory_plan.h"
#include "kvasir/store/fault_store.h"
#include "kvasir/store/memory_store.h"

namespace kvasir {
namespace {

using Clock = std::chrono::steady_clock;

std::vector<TokenId> Prompt(size_t count, uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<TokenId> tokens(count);
  for (TokenId& token : tokens) token = TokenId(random() % 200);
  return tokens;
}

class TierTest : public testing::TestWithParam<KvFormats> {
 protected:
  std::unique_ptr<Engine> Make(size_t block_count, EngineOptions options = {}) {
    options.kv_format = GetParam();
    options.kv_rotation = false;  // five dimensions cannot be rotated
    const MemoryPlan plan = PlanMemory(model_, options).value();
    options.kv_bytes = block_count * plan.kv_layout.block_bytes() + plan.open_bytes;
    if (options.store == nullptr) options.store = store_;
    return MakeEngine(model_, options);
  }

  // What a request that runs alone found in the cache, after the right answer.
  PromptStats Run(Engine& engine, const Request& request) {
    RecordingSink sink;
    EXPECT_TRUE(engine.Submit(request, sink).ok());
    while (engine.Step()) {
    }
    EXPECT_EQ(sink.reason, FinishReason::kLength) << sink.status.message();
    EXPECT_EQ(sink.tokens, ReferenceAnswer(request, engine.context_tokens()));
    return sink.prompt_stats.value_or(PromptStats{});
  }

  // From now on computing takes so long that loading is the quicker way.
  void SlowDown() {
    model_.on_forward = [](const Batch&) {
      std::this_thread::sleep_for(std::chrono::milliseconds(25));
      return OkStatus();
    };
  }

  static void Flush(Engine& engine) { engine.Flush(Clock::now() + std::chrono::seconds(10)); }

  FakeModel model_;
  std::shared_ptr<MemoryStore> store_ = std::make_shared<MemoryStore>();
};

TEST_P(TierTest, AnotherEngineFindsWhatTheFirstComputed) {
  const Request request{.prompt = Prompt(200, 1), .token_count_max = 40};
  {
    const auto engine = Make(40);
    EXPECT_EQ(Run(*engine, request).cached_token_count, 0);
    Flush(*engine);
    // Of 240 tokens, the last of which was not computed.
    EXPECT_EQ(engine->stats().tier.stored_block_count, 7u);
    ExpectIdle(*engine);
  }
  const auto engine = Make(40);
  const PromptStats stats = Run(*engine, request);
  EXPECT_EQ(stats.cached_token_count, 192u);
  EXPECT_EQ(stats.loaded_token_count, 192u);
  EXPECT_EQ(engine->stats().prompt_token_count, 8u);
  EXPECT_EQ(engine->stats().loaded_token_count, 192u);
  // A second time they are in memory, and nothing is written twice.
  const PromptStats again = Run(*engine, request);
  EXPECT_EQ(again.cached_token_count, 192u);
  EXPECT_EQ(again.loaded_token_count, 0u);
  // The next turn finds the answer in the store, too: from its last block on.
  Request next = request;
  const std::vector<TokenId> answer = ReferenceAnswer(request, 256);
  next.prompt.insert(next.prompt.end(), answer.begin(), answer.end());
  next.token_count_max = 4;
  EXPECT_EQ(Run(*engine, next).cached_token_count, 224u);
  Flush(*engine);
  EXPECT_EQ(store_->stats().record_count, 7u);
  ExpectIdle(*engine);
}

TEST_P(TierTest, EvictedBlocksComeBack) {
  SlowDown();
  const auto engine = Make(20);
  std::vector<Request> requests;
  for (uint32_t seed = 0; seed < 6; ++seed) {
    requests.push_back({.prompt = Prompt(150, seed), .token_count_max = 2});
    EXPECT_EQ(Run(*engine, requests.back()).cached_token_count, 0u);
    Flush(*engine);
  }
  EXPECT_GT(engine->stats().evicted_block_count, 0u);
  for (const Request& request : requests) {
    EXPECT_EQ(Run(*engine, request).cached_token_count, 128u);
  }
  const EngineStats stats = engine->stats();
  EXPECT_EQ(stats.prompt_token_count, 6u * 150 + 6 * 22);
  EXPECT_GT(stats.tier.loaded_block_count, 6u);
  Flush(*engine);
  ExpectIdle(*engine);
}

TEST_P(TierTest, RequestsAtOnceLoadACommonPromptOnce) {
  Request request{.prompt = Prompt(200, 4), .token_count_max = 20};
  {
    const auto engine = Make(40);
    Run(*engine, request);
  }
  const auto engine = Make(64, {.sequence_count_max = 8});
  std::vector<Request> requests(8, request);
  for (size_t i = 0; i < 8; ++i) {
    requests[i].sampling.temperature = float(i);
    requests[i].sampling.seed = i;
    if (i % 2 == 1) requests[i].prompt = Prompt(100 + i, 50 + i);
  }
  std::vector<RecordingSink> sinks(8);
  for (size_t i = 0; i < 8; ++i) ASSERT_TRUE(engine->Submit(requests[i], sinks[i]).ok());
  while (engine->Step()) {
  }
  for (size_t i = 0; i < 8; ++i) {
    EXPECT_EQ(sinks[i].tokens, ReferenceAnswer(requests[i], 256)) << i;
    EXPECT_EQ(sinks[i].prompt_stats->cached_token_count, i % 2 == 0 ? 192u : 0u) << i;
  }
  EXPECT_EQ(engine->stats().tier.loaded_block_count, 6u);
  Flush(*engine);
  ExpectIdle(*engine);
}

TEST_P(TierTest, SaltsIsolate) {
  SlowDown();
  Request request{.prompt = Prompt(100, 6), .token_count_max = 1, .cache_salt = "a"};
  {
    const auto engine = Make(40);
    Run(*engine, request);
  }
  const auto engine = Make(40);
  for (const char* salt : {"", "b", "A", "aa"}) {
    request.cache_salt = salt;
    EXPECT_EQ(Run(*engine, request).cached_token_count, 0u) << salt;
  }
  request.cache_salt = "a";
  EXPECT_EQ(Run(*engine, request).loaded_token_count, 96u);
}

// Salts that are near to the one whose blocks are stored, as text and as bytes.
TEST_P(TierTest, NoOtherSaltFindsABlock) {
  const std::string salt = "group:research/alice";
  const Request request{.prompt = Prompt(40, 6), .token_count_max = 1, .cache_salt = salt};
  const auto engine = Make(40);
  Run(*engine, request);
  Flush(*engine);
  const PrefixCache& cache = *engine->prefix_cache();
  const auto found = [&](const std::string& other) {
    size_t count = 0;
    store_->Lookup(cache.Keys(request.prompt, other), kNoDeadline,
                   [&](const Result<size_t>& leading) { count = *leading; });
    return count;
  };
  ASSERT_EQ(found(salt), 1u);
  std::mt19937 random(1);
  for (int i = 0; i < 100'000; ++i) {
    std::string other = salt.substr(0, random() % (salt.size() + 1));
    for (size_t more = random() % 4; more > 0; --more) {
      other.insert(random() % (other.size() + 1), 1, static_cast<char>(random()));
    }
    if (other == salt) continue;
    ASSERT_EQ(found(other), 0u) << i;
    ASSERT_TRUE(TenantTag(other) != TenantTag(salt)) << i;
  }
}

TEST_P(TierTest, OtherWeightsFindNothing) {
  const Request request{.prompt = Prompt(100, 6), .token_count_max = 1};
  {
    const auto engine = Make(40, {.model_identity = "one"});
    Run(*engine, request);
  }
  EXPECT_EQ(Run(*Make(40, {.model_identity = "two"}), request).cached_token_count, 0u);
  EXPECT_EQ(Run(*Make(40, {.model_identity = "one"}), request).cached_token_count, 96u);
}

TEST_P(TierTest, ADamagedBlockIsComputedAndStoredAnew) {
  const Request request{.prompt = Prompt(200, 7), .token_count_max = 1};
  {
    const auto engine = Make(40);
    Run(*engine, request);
  }
  std::vector<RecordInfo> infos;
  store_->ForEach([&](const RecordInfo& info) {
    infos.push_back(info);
    return true;
  });
  ASSERT_EQ(infos.size(), 6u);
  const auto third = std::find_if(infos.begin(), infos.end(),
                                  [](const RecordInfo& info) { return info.token_start == 64; });
  ASSERT_TRUE(store_->Corrupt(third->key, 5000, std::byte{1}));
  const auto engine = Make(40);
  EXPECT_EQ(Run(*engine, request).cached_token_count, 64u);
  EXPECT_EQ(engine->stats().tier.corrupt_block_count, 1u);
  Flush(*engine);
  EXPECT_EQ(Run(*Make(40), request).cached_token_count, 192u);
}

TEST_P(TierTest, ReadingAndWritingCanBeSwitchedOff) {
  Request request{.prompt = Prompt(100, 8), .token_count_max = 1, .cache_write = false};
  {
    const auto engine = Make(40);
    Run(*engine, request);
  }
  EXPECT_EQ(store_->stats().record_count, 0u);
  request.cache_write = true;
  {
    const auto engine = Make(40);
    Run(*engine, request);
  }
  EXPECT_EQ(store_->stats().record_count, 3u);
  request.cache_read = false;
  EXPECT_EQ(Run(*Make(40), request).cached_token_count, 0u);
}

// Many requests with common beginnings, little memory, aborts: as in life.
TEST_P(TierTest, MixedWorkGetsItsAnswers) {
  model_.on_forward = [](const Batch&) {
    std::this_thread::sleep_for(std::chrono::microseconds(200));
    return OkStatus();
  };
  std::vector<std::vector<TokenId>> families;
  for (uint32_t seed = 0; seed < 4; ++seed) families.push_back(Prompt(140, seed));
  for (uint32_t round = 0; round < 3; ++round) {
    const auto engine = Make(18 + 6 * round, {.sequence_count_max = 6, .chunk_tokens = 48});
    std::mt19937 random(round);
    std::vector<Request> requests(60);
    std::vector<RecordingSink> sinks(requests.size());
    std::vector<RequestId> ids;
    size_t submitted = 0;
    for (bool more = true; more || submitted < requests.size();) {
      if (submitted < requests.size() && random() % 2 == 0) {
        Request& request = requests[submitted];
        const auto& family = families[random() % families.size()];
        request.prompt.assign(family.begin(), family.begin() + 33 + random() % 100);
        for (size_t own = random() % 20; own > 0; --own) {
          request.prompt.push_back(TokenId(random() % 200));
        }
        request.token_count_max = 1 + random() % 60;
        ids.push_back(engine->Submit(request, sinks[submitted]).value());
        ++submitted;
      }
      if (!ids.empty() && random() % 8 == 0) engine->Cancel(ids[random() % ids.size()]);
      more = engine->Step();
    }
    for (size_t i = 0; i < requests.size(); ++i) {
      ASSERT_TRUE(sinks[i].finished);
      std::vector<TokenId> expected = ReferenceAnswer(requests[i], 256);
      if (sinks[i].reason == FinishReason::kCancelled) expected.resize(sinks[i].tokens.size());
      EXPECT_EQ(sinks[i].tokens, expected) << "round " << round << " request " << i;
    }
    Flush(*engine);
    ExpectIdle(*engine);
    EXPECT_GE(engine->stats().loaded_token_count, round > 0 ? 1u : 0u);
  }
}

// What FaultStore does to the store behind it, and what may come of it: the right answer, within
// bounds.
class TierFaultTest : public TierTest {
 protected:
  void SetUp() override {
    SlowDown();
    const auto engine = Make(60);
    Run(*engine, request_);
    Flush(*engine);
  }

  // A new engine on the store behind faults.
  std::unique_ptr<Engine> MakeFaulty(size_t block_count = 60) {
    return Make(block_count, {.store = std::shared_ptr<BlockStore>(&faults_, [](BlockStore*) {})});
  }

  double SecondsOf(Engine& engine, const Request& request) {
    const Clock::time_point start = Clock::now();
    Run(engine, request);
    return std::chrono::duration<double>(Clock::now() - start).count();
  }

  const Request request_{.prompt = Prompt(200, 1), .token_count_max = 1};
  FaultStore faults_{*store_};
};

TEST_P(TierFaultTest, AnErrorAtAnyReadIsAMiss) {
  for (int failing = 0; failing < 6; ++failing) {
    int reads = 0;
    faults_.SetFault([&](FaultStore::Call call, const Digest&) {
      const bool fails = call == FaultStore::Call::kGet && reads++ == failing;
      return fails ? IoError("test") : OkStatus();
    });
    const auto engine = MakeFaulty();
    const PromptStats stats = Run(*engine, request_);
    EXPECT_EQ(stats.cached_token_count, size_t(failing) * 32);
    EXPECT_EQ(engine->stats().tier.failed_load_count, 1u);
  }
}

TEST_P(TierFaultTest, AnErrorAtAnyWriteLeavesTheBlockOut) {
  const Request other{.prompt = Prompt(200, 2), .token_count_max = 1};
  int writes = 0;
  faults_.SetFault([&](FaultStore::Call call, const Digest&) {
    const bool fails = call == FaultStore::Call::kPut && writes++ == 2;
    return fails ? IoError("test") : OkStatus();
  });
  {
    const auto engine = MakeFaulty();
    Run(*engine, other);
    Flush(*engine);
    EXPECT_EQ(engine->stats().tier.failed_store_count, 1u);
    EXPECT_EQ(engine->stats().tier.stored_block_count, 5u);
    ExpectIdle(*engine);
  }
  EXPECT_EQ(Run(*MakeFaulty(), other).cached_token_count, 64u);
}

TEST_P(TierFaultTest, AStoreThatHangsCostsATenthOfAnAnswerOrSo) {
  faults_.SetHeld(true);
  const auto engine = MakeFaulty();
  // Computing takes 25 ms as far as is known, so patience is 50 ms.
  Run(*engine, {.prompt = Prompt(40, 9), .token_count_max = 4});
  const double seconds = SecondsOf(*engine, request_);
  EXPECT_LT(seconds, 0.025 + 0.05 + 0.2);
  EXPECT_EQ(engine->stats().tier.given_up_load_count, 1u);
  // It is known now: nobody waits for it any more, or as little, until it comes back.
  for (int i = 0; i < 3; ++i) {
    engine->prefix_cache()->DropAll();
    EXPECT_LT(SecondsOf(*engine, request_), 0.275);
  }
  const TierStats stats = engine->stats().tier;
  EXPECT_EQ(stats.given_up_load_count + stats.declined_load_count + stats.refused_load_count, 4u);
  faults_.SetHeld(false);
  faults_.Release();
}

TEST_P(TierFaultTest, TheBreakerOpensAndHealsByItself) {
  bool broken = true;
  faults_.SetFault([&](FaultStore::Call call, const Digest&) {
    return broken && call == FaultStore::Call::kGet ? Unavailable("test") : OkStatus();
  });
  const auto engine = MakeFaulty();
  for (int i = 0; i < 5; ++i) {
    EXPECT_EQ(Run(*engine, request_).cached_token_count, 0u);
    engine->prefix_cache()->DropAll();
  }
  EXPECT_TRUE(engine->stats().tier.loading_suspended);
  EXPECT_GE(engine->stats().tier.failed_load_count, 3u);
  broken = false;
  const Clock::time_point deadline = Clock::now() + std::chrono::seconds(5);
  while (engine->stats().tier.loading_suspended && Clock::now() < deadline) {
    Run(*engine, request_);
    engine->prefix_cache()->DropAll();
  }
  EXPECT_FALSE(engine->stats().tier.loading_suspended);
  EXPECT_EQ(Run(*engine, request_).cached_token_count, 192u);
}

TEST_P(TierFaultTest, WhatIsCancelledWaitsForNothing) {
  faults_.SetHeld(true);
  const auto engine = MakeFaulty();
  RecordingSink sink;
  const RequestId id = engine->Submit(request_, sink).value();
  engine->SetWaker([] {});
  engine->Step();
  EXPECT_FALSE(sink.finished);
  EXPECT_GT(engine->stats().tier.loading_block_count, 0u);
  engine->Cancel(id);
  EXPECT_FALSE(engine->Step());
  EXPECT_EQ(sink.reason, FinishReason::kCancelled);
  const Clock::time_point deadline = Clock::now() + std::chrono::seconds(5);
  while (engine->stats().tier.loading_block_count > 0 && Clock::now() < deadline) engine->Step();
  EXPECT_EQ(engine->stats().tier.loading_block_count, 0u);
  faults_.SetHeld(false);
  faults_.Release();
}

// While one request waits for its blocks another one gets its tokens.
TEST_P(TierFaultTest, ALoadHoldsNobodyElseUp) {
  faults_.SetSpeed(0.04, 1e9);
  const auto engine = MakeFaulty();
  const Request other{.prompt = Prompt(20, 3), .token_count_max = 10};
  RecordingSink loading, computing;
  size_t tokens_meanwhile = 0;
  computing.on_token = [&] { tokens_meanwhile += !loading.prompt_stats.has_value(); };
  ASSERT_TRUE(engine->Submit(request_, loading).ok());
  ASSERT_TRUE(engine->Submit(other, computing).ok());
  while (engine->Step()) {
  }
  EXPECT_GE(tokens_meanwhile, 2u);
  EXPECT_EQ(loading.prompt_stats->loaded_token_count, 192u);
  EXPECT_EQ(loading.tokens, ReferenceAnswer(request_, 256));
  EXPECT_EQ(computing.tokens, ReferenceAnswer(other, 256));
}

// The engine's thread sleeps while everything waits, and wakes when the blocks are there.
TEST_P(TierFaultTest, TheLoopSleepsUntilTheBlocksCome) {
  faults_.SetSpeed(0.04, 1e9);
  auto loop = EngineLoop::Create(MakeFaulty(), {}).value();
  struct Sink final : TokenSink {
    bool OnToken(const SampledToken& token) override { return tokens.push_back(token.id), true; }
    void OnPromptRead(const PromptStats& read) override { stats = read; }
    void OnFinish(FinishReason, const Status&) override { done.set_value(); }
    std::vector<TokenId> tokens;
    PromptStats stats;
    std::promise<void> done;
  };
  const auto sink = std::make_shared<Sink>();
  const std::clock_t processor_start = std::clock();
  ASSERT_TRUE(loop->Submit(request_, sink).ok());
  sink->done.get_future().wait();
  EXPECT_EQ(sink->stats.loaded_token_count, 192u);
  EXPECT_EQ(sink->tokens, ReferenceAnswer(request_, 256));
  // Six blocks of 0.04 s each, one after the other, and hardly any work for the processor.
  EXPECT_LT(double(std::clock() - processor_start) / CLOCKS_PER_SEC, 0.12);
  ASSERT_TRUE(loop->store_stats().has_value());
  EXPECT_EQ(loop->store_stats()->hit_count, 6u);
}

INSTANTIATE_TEST_SUITE_P(Formats, TierFaultTest, testing::Values(KvFormats(KvFormat::kBF16)),
                         [](const auto&) { return "in_place"; });

INSTANTIATE_TEST_SUITE_P(Formats, TierTest,
                         testing::Values(KvFormats(KvFormat::kBF16),
                                         KvFormats(KvFormat::kInt8, KvFormat::kInt4)),
                         [](const auto& info) { return info.index == 0 ? "in_place" : "encoded"; });

}  // namespace
}  // namespace kvasir
