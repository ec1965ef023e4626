#include "kvasir/eval/perplexity.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

namespace kvasir {
namespace {

constexpr size_t kVocabSize = 4;

// A model whose probabilities are known: after token t at an even position, t + 1 (mod 4) has
// probability 1/2; at an odd position 1/8; the other three tokens share the rest. Checks that it is
// shown one window at a time, from position 0 on, with the whole window in the pages.
class KnownModel : public Model {
 public:
  KnownModel() {
    spec_.layer_count = 1;
    spec_.q_head_count = spec_.kv_head_count = 1;
    spec_.head_dim = 2;
    spec_.vocab_size = kVocabSize;
    spec_.context_length = 100;
  }
  static double ProbabilityOfNext(int32_t position) { return position % 2 == 0 ? 0.5 : 0.125; }

  const ModelSpec& spec() const override { return spec_; }
  size_t weight_bytes() const override { return 0; }
  size_t ActivationBytes(size_t, size_t) const override { return 0; }
  size_t row_count_max() const override { return 48; }
  KvBlockLayout KvLayout(KvFormats formats) const override { return {1, 1, 2, formats}; }
  Status Forward(const Batch& batch, MatrixView<float> logits) override {
    EXPECT_EQ(batch.kv.batch_size(), 1u);
    EXPECT_EQ(batch.logit_rows.size(), batch.tokens.size());
    EXPECT_LE(batch.tokens.size(), row_count_max());
    EXPECT_TRUE(batch.positions[0] == 0 || batch.positions[0] == next_position_);
    next_position_ = batch.positions.back() + 1;
    EXPECT_EQ(batch.kv.KvLen(0), next_position_);
    for (size_t row = 0; row < batch.tokens.size(); ++row) {
      const double next = ProbabilityOfNext(batch.positions[row]);
      for (size_t v = 0; v < kVocabSize; ++v) {
        const bool is_next = v == (static_cast<size_t>(batch.tokens[row]) + 1) % kVocabSize;
        // Any constant may be added to logits.
        logits.row(row)[v] = static_cast<float>(std::log(is_next ? next : (1 - next) / 3)) + 3;
      }
    }
    ++forward_count;
    return OkStatus();
  }

  int forward_count = 0;

 private:
  ModelSpec spec_;
  int32_t next_position_ = 0;
};

// 0 1 2 3 0 1 2 3 ...: each token is the expected next one.
std::vector<TokenId> CountingText(size_t token_count) {
  std::vector<TokenId> tokens(token_count);
  for (size_t i = 0; i < token_count; ++i) tokens[i] = static_cast<TokenId>(i % kVocabSize);
  return tokens;
}

class PerplexityTest : public testing::Test {
 protected:
  Result<PerplexityResult> Measure(std::span<const TokenId> tokens,
                                   const PerplexityOptions& options) {
    return MeasurePerplexity(model_, pool_, tokens, options);
  }
  KnownModel model_;
  ThreadPool pool_{2};
};

TEST_F(PerplexityTest, ScoresTokensTwoToNOfEachWholeWindow) {
  // Windows of 5: positions 0..3 predict, 2 even and 2 odd ones. 13 tokens: two windows, 3 dropped.
  const auto result = Measure(CountingText(13), {.context_tokens = 5});
  ASSERT_TRUE(result.ok()) << result.status().message();
  EXPECT_EQ(result->window_count, 2u);
  EXPECT_EQ(result->token_count, 8u);
  const double mean_nll = (2 * std::log(2.0) + 2 * std::log(8.0)) / 4;
  EXPECT_NEAR(result->mean_nll, mean_nll, 1e-6);
  EXPECT_NEAR(result->perplexity, 4.0, 1e-5);  // sqrt(2 * 8)
}

TEST_F(PerplexityTest, UnexpectedTokensCostTheirOwnProbability) {
  const std::vector<TokenId> tokens = {0, 0, 3};  // p = (1 - 1/2) / 3, then (1 - 1/8) / 3
  const auto result = Measure(tokens, {.context_tokens = 3});
  ASSERT_TRUE(result.ok());
  EXPECT_NEAR(result->mean_nll, (std::log(6.0) + std::log(24.0 / 7)) / 2, 1e-6);
}

TEST_F(PerplexityTest, ChunksChangeNothing) {
  const std::vector<TokenId> tokens = CountingText(200);
  const auto whole = Measure(tokens, {.context_tokens = 100});
  ASSERT_TRUE(whole.ok());
  EXPECT_EQ(model_.forward_count, 2 * 3);  // 99 rows in chunks of the model's 48
  for (const size_t chunk : {1, 7, 32, 99}) {
    const auto chunked = Measure(tokens, {.context_tokens = 100, .chunk_tokens = chunk});
    ASSERT_TRUE(chunked.ok());
    EXPECT_EQ(chunked->mean_nll, whole->mean_nll) << chunk;
  }
}

TEST_F(PerplexityTest, WindowsMayBeLimitedAndProgressIsTold) {
  std::vector<double> shares;
  const auto result =
      Measure(CountingText(40), {.context_tokens = 10,
                                 .window_count_max = 2,
                                 .on_progress = [&](double share) { shares.push_back(share); }});
  ASSERT_TRUE(result.ok());
  EXPECT_EQ(result->window_count, 2u);
  EXPECT_EQ(shares, (std::vector<double>{0.5, 1.0}));
}

TEST_F(PerplexityTest, RefusesWhatCannotBeScored) {
  EXPECT_EQ(Measure(CountingText(9), {.context_tokens = 10}).status().message(),
            "the text has 9 tokens, fewer than one window of 10");
  EXPECT_EQ(Measure(CountingText(500), {.context_tokens = 101}).status().message(),
            "the context is 101 tokens; this model takes 2 to 100");
  EXPECT_EQ(Measure(CountingText(500), {.context_tokens = 1}).status().code(),
            StatusCode::kInvalidArgument);
  const std::vector<TokenId> outside = {0, 1, 4};
  EXPECT_EQ(Measure(outside, {.context_tokens = 3}).status().message(),
            "the text has token 4, outside the model's vocabulary of 4");
}

}  // namespace
}  // namespace kvasir
