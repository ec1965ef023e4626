// What the tests of the engine share: a sink that records, requests, and the answers that they must
// get.

#ifndef KVASIR_ENGINE_ENGINE_TEST_UTIL_H_
#define KVASIR_ENGINE_ENGINE_TEST_UTIL_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <random>
#include <span>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "kvasir/engine/engine.h"
#include "kvasir/engine/fake_model.h"

namespace kvasir {

// Records what a request hears, and complains when it hears something after its end.
class RecordingSink final : public TokenSink {
 public:
  bool OnToken(const SampledToken& token) override {
    EXPECT_FALSE(finished);
    EXPECT_TRUE(prompt_stats.has_value()) << "a token came before the prompt was read";
    tokens.push_back(token.id);
    if (token.logprobs != nullptr) logprobs.push_back(*token.logprobs);
    if (on_token) on_token();
    return tokens.size() < token_count_wanted;
  }
  void OnPrefillProgress(size_t done, size_t total) override {
    EXPECT_FALSE(finished);
    EXPECT_TRUE(progress.empty() || progress.back() < done);
    EXPECT_LE(done, total);
    progress.push_back(done);
  }
  void OnPromptLogprobs(size_t position, const TokenLogprobs& logprobs) override {
    EXPECT_FALSE(prompt_stats.has_value());
    EXPECT_EQ(position, prompt_logprobs.size() + 1);
    prompt_logprobs.push_back(logprobs);
  }
  void OnPromptRead(const PromptStats& stats) override {
    EXPECT_FALSE(finished || prompt_stats.has_value());
    EXPECT_GE(stats.queue_seconds, 0);
    EXPECT_GE(stats.read_seconds, 0);
    EXPECT_LT(stats.cached_token_count, stats.token_count);
    prompt_stats = stats;
  }
  void OnFinish(FinishReason finish_reason, const Status& finish_status) override {
    EXPECT_FALSE(finished);
    finished = true;
    reason = finish_reason;
    status = finish_status;
    if (on_finish) on_finish();
  }

  size_t token_count_wanted = 1 << 30;
  std::function<void()> on_token;
  std::function<void()> on_finish;
  std::vector<TokenId> tokens;
  std::vector<size_t> progress;
  std::optional<PromptStats> prompt_stats;
  std::vector<TokenLogprobs> logprobs;         // by answer token
  std::vector<TokenLogprobs> prompt_logprobs;  // from the second token of the prompt on
  bool finished = false;
  FinishReason reason = FinishReason::kError;
  Status status;
};

// Prompts of many lengths, half of them sampled.
inline std::vector<Request> MixedRequests(uint32_t seed, size_t count, size_t context_tokens) {
  std::mt19937 random(seed);
  std::vector<Request> requests(count);
  for (size_t i = 0; i < count; ++i) {
    Request& request = requests[i];
    request.prompt.resize(1 + random() % (context_tokens * 2 / 3));
    for (TokenId& token : request.prompt) token = random() % 200;
    request.token_count_max = 1 + random() % (context_tokens / 2);
    request.sampling.seed = random();
    if (i % 2 == 0) continue;
    request.sampling.temperature = 1;
    request.sampling.top_p = 0.9f;
    request.sampling.top_k = 50;
    request.sampling.repetition_penalty = 1.1f;
    request.sampling.frequency_penalty = 0.2f;
  }
  return requests;
}

// The answer by definition: the whole sequence through the network for each token, no pages.
inline std::vector<TokenId> ReferenceAnswer(const Request& request, size_t context_tokens) {
  std::vector<TokenId> tokens = request.prompt;
  const size_t prompt_count = tokens.size();
  std::vector<std::pair<float, TokenId>> scratch;
  while (tokens.size() < context_tokens && tokens.size() - prompt_count < request.token_count_max) {
    std::vector<float> logits = FakeModel::LogitsAfter(tokens);
    const std::span<const TokenId> all(tokens);
    ApplyPenalties(request.sampling, all.first(prompt_count), all.subspan(prompt_count), logits);
    tokens.push_back(Sample(request.sampling, tokens.size(), logits, &scratch));
  }
  return {tokens.begin() + prompt_count, tokens.end()};
}

inline std::unique_ptr<Engine> MakeEngine(FakeModel& model, const EngineOptions& options = {}) {
  auto engine = Engine::Create(model, options);
  EXPECT_TRUE(engine.ok()) << engine.status().message();
  return std::move(engine).value();
}

inline void ExpectIdle(const Engine& engine) {
  const EngineStats stats = engine.stats();
  EXPECT_EQ(stats.used_block_count, 0);
  EXPECT_EQ(stats.free_block_count + stats.cached_block_count, stats.block_count);
  EXPECT_EQ(stats.running_count, 0);
  EXPECT_EQ(stats.waiting_count, 0);
}

}  // namespace kvasir

#endif  // KVASIR_ENGINE_ENGINE_TEST_UTIL_H_
