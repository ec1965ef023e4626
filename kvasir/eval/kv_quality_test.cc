#include "kvasir/eval/kv_quality.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

namespace kvasir {
namespace {

constexpr size_t kVocabSize = 3;
constexpr size_t kContextMax = 100;

// A model whose predictions are known, and depend on the format of its keys and values from the
// second block on: logits (position % 5, 1, 0), in f32 with `kShift` added to the first.
constexpr float kShift = 1.5f;
class KnownModel : public Model {
 public:
  KnownModel() {
    spec_.layer_count = spec_.q_head_count = spec_.kv_head_count = 1;
    spec_.head_dim = 2;
    spec_.vocab_size = kVocabSize;
    spec_.context_length = kContextMax;
  }
  const ModelSpec& spec() const override { return spec_; }
  size_t weight_bytes() const override { return 0; }
  size_t ActivationBytes(size_t, size_t) const override { return 0; }
  size_t row_count_max() const override { return 48; }
  KvBlockLayout KvLayout(KvFormats formats) const override { return {1, 1, 2, formats}; }
  Status Forward(const Batch& batch, MatrixView<float> logits) override {
    for (size_t i = 0; i < batch.logit_rows.size(); ++i) {
      const int32_t position = batch.positions[size_t(batch.logit_rows[i])];
      logits.row(i)[0] = float(position % 5);
      const bool is_read = position >= int32_t(kKvBlockTokens);
      if (is_read && batch.kv.layout.format == KvFormat::kF32) logits.row(i)[0] += kShift;
      logits.row(i)[1] = 1;
      logits.row(i)[2] = 0;
    }
    return OkStatus();
  }

 private:
  ModelSpec spec_;
};

// What the scores must be, from the probabilities themselves.
struct Expected {
  double nll = 0, kl = 0;
  bool is_agreed = true;
};
Expected ExpectedOf(size_t position, TokenId next, bool is_shifted) {
  const auto probabilities = [&](double shift) {
    std::vector<double> p = {std::exp(double(position % 5) + shift), std::exp(1.0), 1.0};
    const double sum = p[0] + p[1] + p[2];
    for (double& value : p) value /= sum;
    return p;
  };
  const std::vector<double> p = probabilities(0), q = probabilities(is_shifted ? kShift : 0);
  Expected expected;
  expected.nll = -std::log(q[size_t(next)]);
  for (size_t i = 0; i < p.size(); ++i) expected.kl += p[i] * std::log(p[i] / q[i]);
  const auto best = [](const std::vector<double>& v) {
    return std::max_element(v.begin(), v.end()) - v.begin();
  };
  expected.is_agreed = best(p) == best(q);
  return expected;
}

class KvQualityTest : public testing::Test {
 protected:
  KvQualityTest() : tokens_(200) {
    for (size_t i = 0; i < tokens_.size(); ++i) tokens_[i] = TokenId(i * i % 7 % kVocabSize);
    options_.layouts = {model_.KvLayout(KvFormat::kBF16), model_.KvLayout(KvFormat::kF32)};
    options_.context_tokens = 80;
    options_.window_count_max = 9;
  }
  KvQualityResult Measure() {
    auto result = MeasureKvQuality(model_, pool_, tokens_, options_);
    EXPECT_TRUE(result.ok()) << result.status().message();
    return result.ok() ? *result : KvQualityResult();
  }

  KnownModel model_;
  ThreadPool pool_{2};
  std::vector<TokenId> tokens_;
  KvQualityOptions options_;
};

TEST_F(KvQualityTest, ComparesEveryPredictedTokenWithTheReference) {
  const KvQualityResult result = Measure();
  EXPECT_EQ(result.window_count, 2u);  // of 80 tokens in 200
  double nll = 0, kl = 0, agreed = 0;
  std::vector<double> kls;
  for (size_t window = 0; window < 2; ++window) {
    for (size_t i = 0; i + 1 < 80; ++i) {
      const Expected expected = ExpectedOf(i, tokens_[window * 80 + i + 1], i >= kKvBlockTokens);
      nll += expected.nll;
      kl += expected.kl;
      agreed += expected.is_agreed;
      kls.push_back(expected.kl);
    }
  }
  std::sort(kls.begin(), kls.end());
  ASSERT_EQ(result.rows.size(), 2u);
  const PredictionQuality& shifted = result.rows[1].quality;
  EXPECT_EQ(shifted.token_count, 158u);
  // Logits are f32 and small: all of them exact but the shift's rounding.
  EXPECT_NEAR(shifted.mean_nll, nll / 158, 1e-12);
  EXPECT_NEAR(shifted.mean_kl, kl / 158, 1e-12);
  EXPECT_NEAR(shifted.top1, agreed / 158, 1e-12);
  EXPECT_NEAR(shifted.p999_kl, kls.back(), 1e-12);
  EXPECT_LT(shifted.top1, 1);
  const PredictionQuality& reference = result.rows[0].quality;
  EXPECT_EQ(reference.mean_kl, 0);
  EXPECT_EQ(reference.top1, 1);
  EXPECT_EQ(reference.mean_nll, result.reference.mean_nll);
}

TEST_F(KvQualityTest, ChunksChangeNothingAndDecodedRowsAreTheSame) {
  options_.decode_tokens = 17;
  const KvQualityResult whole = Measure();
  EXPECT_EQ(whole.rows[1].decode->token_count, 34u);
  EXPECT_EQ(whole.rows[1].decode_same_count, 34u);
  EXPECT_GT(whole.rows[1].decode->mean_kl, 0);
  for (const size_t chunk : {1, 7, 33}) {
    options_.chunk_tokens = chunk;
    const KvQualityResult chunked = Measure();
    EXPECT_EQ(chunked.rows[1].quality.mean_kl, whole.rows[1].quality.mean_kl);
    EXPECT_EQ(chunked.rows[1].quality.mean_nll, whole.rows[1].quality.mean_nll);
  }
}

TEST_F(KvQualityTest, ScoresFromTheChosenTokenOn) {
  options_.first_scored_token = 79;
  const KvQualityResult result = Measure();
  ASSERT_EQ(result.rows[1].quality.token_count, 2u);
  const double kl = ExpectedOf(78, 0, true).kl;  // does not depend on the token
  EXPECT_NEAR(result.rows[1].quality.mean_kl, kl, 1e-12);
}

TEST_F(KvQualityTest, RefusesWhatCannotBeMeasured) {
  const auto refusal = [&] {
    return MeasureKvQuality(model_, pool_, tokens_, options_).status().message();
  };
  options_.context_tokens = 101;
  EXPECT_EQ(refusal(), "the context is 101 tokens; this model takes 2 to 100");
  options_.context_tokens = 80;
  options_.decode_tokens = 80;
  EXPECT_EQ(refusal(), "80 decoded tokens leave nothing of a window of 80 to read before");
  options_.decode_tokens = 0;
  options_.first_scored_token = 80;
  EXPECT_EQ(refusal(),
            "the first scored token is number 80 of a window of 80; allowed is 1 to one less");
  options_.first_scored_token = 1;
  tokens_.resize(79);
  EXPECT_EQ(refusal(), "the text has 79 tokens, fewer than one window of 80");
  tokens_.resize(90, 3);
  EXPECT_EQ(refusal(), "the text has token 3, outside the model's vocabulary of 3");
}

}  // namespace
}  // namespace kvasir
