// Requests that share blocks: the answers are those of requests that share nothing, and no token is
// computed twice that need not be.

#include <algorithm>
#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "kvasir/engine/engine_test_util.h"
#include "kvasir/engine/fake_model.h"

namespace kvasir {
namespace {

std::vector<TokenId> Prompt(size_t count, uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<TokenId> tokens(count);
  for (TokenId& token : tokens) token = TokenId(random() % 200);
  return tokens;
}

class PrefixSharingTest : public testing::Test {
 protected:
  std::unique_ptr<Engine> Make(size_t block_count, EngineOptions options = {}) {
    options.kv_bytes = block_count * model_.KvLayout(KvFormat::kBF16).block_bytes();
    return MakeEngine(model_, options);
  }

  // The cached tokens of a request that runs alone and gets the right answer.
  size_t CachedTokens(Engine& engine, const Request& request) {
    RecordingSink sink;
    EXPECT_TRUE(engine.Submit(request, sink).ok());
    while (engine.Step()) {
    }
    EXPECT_EQ(sink.tokens, ReferenceAnswer(request, engine.context_tokens()));
    EXPECT_EQ(sink.prompt_stats->token_count, request.prompt.size());
    return sink.prompt_stats->cached_token_count;
  }

  FakeModel model_;
};

TEST_F(PrefixSharingTest, ASecondRequestComputesOnlyWhatIsNew) {
  const auto engine = Make(40);
  Request request{.prompt = Prompt(100, 1), .token_count_max = 2};
  EXPECT_EQ(CachedTokens(*engine, request), 0);
  EXPECT_EQ(CachedTokens(*engine, request), 96);
  request.prompt.resize(96);  // its last token must be computed, and that lies in the third block
  EXPECT_EQ(CachedTokens(*engine, request), 64);
  request.prompt = Prompt(100, 1);
  request.prompt[40] ^= 1;
  EXPECT_EQ(CachedTokens(*engine, request), 32);
  request.prompt.resize(32);
  EXPECT_EQ(CachedTokens(*engine, request), 0);
  const EngineStats stats = engine->stats();
  EXPECT_EQ(stats.cached_token_count, 96 + 64 + 32);
  EXPECT_EQ(stats.prompt_token_count, 100 + 4 + 32 + 68 + 32);
  EXPECT_EQ(stats.used_block_count, 0);
  // a b c, and the second and third of the changed prompt.
  EXPECT_EQ(stats.cached_block_count, 5);
  ExpectIdle(*engine);
}

TEST_F(PrefixSharingTest, TheNextTurnFindsTheAnswerToo) {
  const auto engine = Make(40);
  Request request{.prompt = Prompt(50, 2), .token_count_max = 60};
  EXPECT_EQ(CachedTokens(*engine, request), 0);
  const std::vector<TokenId> answer = ReferenceAnswer(request, 256);
  request.prompt.insert(request.prompt.end(), answer.begin(), answer.end());
  const std::vector<TokenId> question = Prompt(20, 3);
  request.prompt.insert(request.prompt.end(), question.begin(), question.end());
  // 110 tokens, the last of which was never computed: three blocks.
  EXPECT_EQ(CachedTokens(*engine, request), 96);
}

TEST_F(PrefixSharingTest, RequestsInFlightComputeACommonPromptOnce) {
  for (const size_t chunk_tokens : {16, 64, 512}) {
    const auto engine = Make(64, {.sequence_count_max = 8, .chunk_tokens = chunk_tokens});
    const Request request{.prompt = Prompt(200, 4), .token_count_max = 20};
    std::vector<Request> requests(8, request);
    for (size_t i = 0; i < 8; ++i) {
      requests[i].sampling.temperature = float(i);
      requests[i].sampling.seed = i;
      if (i >= 6) requests[i].prompt.resize(100 + i);
    }
    std::vector<RecordingSink> sinks(8);
    for (size_t i = 0; i < 8; ++i) {
      ASSERT_TRUE(engine->Submit(requests[i], sinks[i]).ok());
      if (i == 3) engine->Step();  // the rest arrives in the middle
    }
    size_t used_block_count_max = 0;
    while (engine->Step()) {
      used_block_count_max = std::max(used_block_count_max, engine->stats().used_block_count);
    }
    size_t cached = 0;
    for (size_t i = 0; i < 8; ++i) {
      EXPECT_EQ(sinks[i].tokens, ReferenceAnswer(requests[i], 256)) << i;
      cached += sinks[i].prompt_stats->cached_token_count;
      EXPECT_EQ(sinks[i].progress.back(), requests[i].prompt.size());
    }
    EXPECT_EQ(cached, 5 * 192 + 2 * 96) << "chunks of " << chunk_tokens;
    EXPECT_EQ(engine->stats().prompt_token_count, 200 + 5 * 8 + 10 + 11);
    // Six shared blocks and two more for each, instead of eight for each.
    EXPECT_LE(used_block_count_max, 6 + 8 * 2);
  }
}

// A follower whose leader goes away computes for itself.
TEST_F(PrefixSharingTest, ALeaderMayBeCancelled) {
  const auto engine = Make(40, {.chunk_tokens = 40});
  const Request request{.prompt = Prompt(200, 5), .token_count_max = 5};
  RecordingSink first, second;
  const RequestId id = engine->Submit(request, first).value();
  ASSERT_TRUE(engine->Submit(request, second).ok());
  engine->Step();
  engine->Step();
  EXPECT_EQ(second.progress, std::vector<size_t>{32});
  engine->Cancel(id);
  while (engine->Step()) {
  }
  EXPECT_EQ(first.reason, FinishReason::kCancelled);
  EXPECT_EQ(second.tokens, ReferenceAnswer(request, 256));
  EXPECT_EQ(second.prompt_stats->cached_token_count, 64) << "what the first had completed";
  ExpectIdle(*engine);
}

TEST_F(PrefixSharingTest, SaltsIsolate) {
  const auto engine = Make(40);
  Request request{.prompt = Prompt(100, 6), .token_count_max = 1};
  request.cache_salt = "tenant a";
  EXPECT_EQ(CachedTokens(*engine, request), 0);
  request.cache_salt = "tenant b";
  EXPECT_EQ(CachedTokens(*engine, request), 0);
  request.cache_salt = "";
  EXPECT_EQ(CachedTokens(*engine, request), 0);
  request.cache_salt = "tenant a";
  EXPECT_EQ(CachedTokens(*engine, request), 96);
  // Nor in flight.
  std::vector<RecordingSink> sinks(2);
  request.prompt = Prompt(100, 7);
  for (size_t i = 0; i < 2; ++i) {
    request.cache_salt = std::to_string(i);
    ASSERT_TRUE(engine->Submit(request, sinks[i]).ok());
  }
  while (engine->Step()) {
  }
  EXPECT_EQ(sinks[1].prompt_stats->cached_token_count, 0);
}

TEST_F(PrefixSharingTest, RequestsMayLeaveTheCacheAlone) {
  const auto engine = Make(40);
  Request request{.prompt = Prompt(100, 8), .token_count_max = 1};
  request.cache_write = false;
  EXPECT_EQ(CachedTokens(*engine, request), 0);
  EXPECT_EQ(CachedTokens(*engine, request), 0);
  EXPECT_EQ(engine->stats().cached_block_count, 0);
  request.cache_write = true;
  request.cache_read = false;
  EXPECT_EQ(CachedTokens(*engine, request), 0);
  EXPECT_EQ(CachedTokens(*engine, request), 0);
  EXPECT_EQ(engine->stats().cached_block_count, 3) << "the second time it was there already";
  request.cache_read = true;
  request.cache_write = false;
  EXPECT_EQ(CachedTokens(*engine, request), 96);
}

TEST_F(PrefixSharingTest, OffIsOff) {
  EngineOptions options;
  options.prefix_cache = false;
  const auto engine = Make(40, options);
  EXPECT_EQ(engine->prefix_cache(), nullptr);
  const Request request{.prompt = Prompt(100, 9), .token_count_max = 3};
  EXPECT_EQ(CachedTokens(*engine, request), 0);
  EXPECT_EQ(CachedTokens(*engine, request), 0);
  EXPECT_EQ(engine->stats().free_block_count, 40);
}

TEST_F(PrefixSharingTest, OldPrefixesGoWhenMemoryIsNeeded) {
  const auto engine = Make(8);  // one sequence of full length
  Request first{.prompt = Prompt(100, 10), .token_count_max = 1};
  Request second{.prompt = Prompt(100, 11), .token_count_max = 1};
  Request large{.prompt = Prompt(160, 12), .token_count_max = 1};
  EXPECT_EQ(CachedTokens(*engine, first), 0);
  EXPECT_EQ(CachedTokens(*engine, second), 0);
  EXPECT_EQ(engine->stats().free_block_count, 2);
  EXPECT_EQ(CachedTokens(*engine, large), 0);  // five blocks: the three of the first must go
  EXPECT_EQ(engine->stats().evicted_block_count, 3);
  EXPECT_EQ(CachedTokens(*engine, second), 96);
  EXPECT_EQ(CachedTokens(*engine, first), 0);
}

TEST_F(PrefixSharingTest, PinsHoldAgainstPressureAndLeaveRoomForOneSequence) {
  const auto engine = Make(12);  // 8 for one sequence
  Request pinned{.prompt = Prompt(130, 13), .token_count_max = 1};
  EXPECT_EQ(CachedTokens(*engine, pinned), 0);
  ASSERT_TRUE(engine->prefix_cache()->Pin(pinned.prompt, "").ok());
  EXPECT_EQ(engine->stats().pinned_block_count, 4);
  for (uint32_t seed = 20; seed < 24; ++seed) {
    EXPECT_EQ(CachedTokens(*engine, {.prompt = Prompt(250, seed), .token_count_max = 6}), 0);
  }
  EXPECT_EQ(CachedTokens(*engine, pinned), 128);
  EXPECT_EQ(engine->prefix_cache()->Pin(Prompt(250, 23), "").status().code(),
            StatusCode::kResourceExhausted);
}

// A preempted sequence finds its own blocks again, unless somebody needed the memory.
TEST_F(PrefixSharingTest, PreemptedSequencesComputeLessTwice) {
  uint64_t rows[2] = {}, preemption_count = 0;
  for (const bool prefix_cache : {false, true}) {
    for (const uint32_t seed : {1, 2, 3, 4}) {
      const auto engine = Make(8 + seed, {.chunk_tokens = 64, .prefix_cache = prefix_cache});
      const std::vector<Request> requests = MixedRequests(seed, 20, 256);
      std::vector<RecordingSink> sinks(requests.size());
      for (size_t i = 0; i < requests.size(); ++i) {
        ASSERT_TRUE(engine->Submit(requests[i], sinks[i]).ok());
      }
      while (engine->Step()) {
      }
      for (size_t i = 0; i < requests.size(); ++i) {
        EXPECT_EQ(sinks[i].tokens, ReferenceAnswer(requests[i], 256));
        EXPECT_EQ(sinks[i].prompt_stats->cached_token_count, 0) << "its own blocks are no hit";
      }
      preemption_count += engine->stats().preemption_count;
      rows[prefix_cache] += uint64_t(engine->stats().batch_rows.sum());
    }
  }
  EXPECT_GT(preemption_count, 10);
  EXPECT_LT(rows[1], rows[0]);
}

// Families of prompts, cancels, scarce memory, dropped and pinned prefixes, all at random:
// everybody gets the answer of the definition.
TEST_F(PrefixSharingTest, SharingNeverChangesAnAnswer) {
  uint64_t cached_count = 0, preemption_count = 0, evicted_count = 0;
  for (uint32_t seed = 0; seed < 40; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    std::mt19937 random(seed);
    const auto engine = Make(8 + random() % 30, {.sequence_count_max = 1 + random() % 8,
                                                 .chunk_tokens = 1 + random() % 100});
    std::vector<Request> requests = MixedRequests(seed, 20, 256);
    for (Request& request : requests) {
      const std::vector<TokenId> family = Prompt(200, random() % 3);
      const size_t common = std::min<size_t>(request.prompt.size(), random() % 200);
      std::copy_n(family.begin(), common, request.prompt.begin());
      request.cache_read = random() % 8 != 0;
      request.cache_write = random() % 8 != 0;
      request.prompt_logprobs = random() % 8 == 0;
      request.cache_salt = random() % 4 == 0 ? "other" : "";
    }
    std::vector<RecordingSink> sinks(requests.size());
    std::vector<RequestId> ids;
    while (engine->Step() || ids.size() < requests.size()) {
      if (ids.size() < requests.size() && random() % 4 == 0) {
        ids.push_back(engine->Submit(requests[ids.size()], sinks[ids.size()]).value());
      }
      if (!ids.empty() && random() % 60 == 0) engine->Cancel(ids[random() % ids.size()]);
      PrefixCache& cache = *engine->prefix_cache();
      if (random() % 50 == 0) (void)cache.Pin(Prompt(200, random() % 3), "");
      const std::vector<CachedPrefix> prefixes =
          random() % 50 == 0 ? cache.List(3, 0) : std::vector<CachedPrefix>();
      for (const CachedPrefix& prefix : prefixes) {
        if (random() % 2) cache.Unpin(prefix.id);
        if (random() % 3 == 0) cache.Drop(prefix.id);
      }
    }
    for (size_t i = 0; i < requests.size(); ++i) {
      std::vector<TokenId> expected = ReferenceAnswer(requests[i], 256);
      if (sinks[i].reason == FinishReason::kCancelled) expected.resize(sinks[i].tokens.size());
      EXPECT_EQ(sinks[i].tokens, expected) << i;
      EXPECT_TRUE(sinks[i].finished);
    }
    engine->prefix_cache()->DropAll();
    const EngineStats stats = engine->stats();
    EXPECT_EQ(stats.free_block_count, stats.block_count);
    cached_count += stats.cached_token_count;
    preemption_count += stats.preemption_count;
    evicted_count += stats.evicted_block_count;
  }
  EXPECT_GT(cached_count, 1000);
  EXPECT_GT(preemption_count, 10);
  EXPECT_GT(evicted_count, 100);
}

}  // namespace
}  // namespace kvasir
