// Quality and calibration of KV formats on real networks, tiny ones: what is reported is what the
// logits say, and what is calibrated keeps to its budget.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "kvasir/engine/kv_calibration.h"
#include "kvasir/engine/memory_plan.h"
#include "kvasir/eval/kv_calibrate.h"
#include "kvasir/eval/kv_quality.h"
#include "kvasir/eval/probe.h"
#include "kvasir/eval/sequence_reader.h"
#include "kvasir/weights/checkpoint.h"
#include "tests/oracle/logits_runner.h"

namespace kvasir {
namespace {

constexpr KvFormats kInt8Int4 = {KvFormat::kInt8, KvFormat::kInt4};

class KvQualityModelTest : public testing::Test {
 protected:
  void SetUp() override {
    const std::filesystem::path directory =
        std::filesystem::path(KVASIR_SOURCE_DIR) / "tests/oracle/logits_tiny/llama3";
    auto loaded = LoadForTest(directory.string(), ActivationPrecision::kF32, 2);
    ASSERT_TRUE(loaded.ok()) << loaded.status().message();
    loaded_ = std::move(*loaded);
    std::mt19937 random(1);
    text_.resize(600);
    for (TokenId& token : text_) token = TokenId(random() % loaded_.model->spec().vocab_size);
  }
  KvBlockLayout Layout(KvFormats formats) {
    auto layout = KvLayoutFor(*loaded_.model, {.kv_format = formats});
    EXPECT_TRUE(layout.ok()) << layout.status().message();
    return *layout;
  }
  // All logits of the first `count` tokens, token by token: [count][vocab_size].
  std::vector<std::vector<float>> Logits(KvFormats formats, size_t count) {
    auto reader = std::move(SequenceReader::Create(*loaded_.model, Layout(formats), count)).value();
    BlockTable sequence = reader->NewSequence();
    std::vector<std::vector<float>> rows(count);
    for (size_t i = 0; i < count; ++i) {
      rows[i].resize(loaded_.model->spec().vocab_size);
      EXPECT_TRUE(reader->Decode(text_[i], {}, sequence, rows[i]).ok());
    }
    return rows;
  }

  LoadedModel loaded_;
  std::vector<TokenId> text_;
};

std::vector<long double> Softmax(const std::vector<float>& logits) {
  std::vector<long double> p;
  long double sum = 0;
  for (const float logit : logits) p.push_back(std::exp(static_cast<long double>(logit)));
  for (const long double value : p) sum += value;
  for (long double& value : p) value /= sum;
  return p;
}

TEST_F(KvQualityModelTest, RowsSayWhatTheLogitsSay) {
  constexpr size_t kTokens = 100;
  KvQualityOptions options;
  options.layouts = {Layout(kInt8Int4), Layout(KvFormat::kBF16)};
  options.context_tokens = kTokens;
  options.window_count_max = 1;
  options.decode_tokens = 9;
  options.chunk_tokens = 37;
  const auto result = MeasureKvQuality(*loaded_.model, *loaded_.pool, text_, options);
  ASSERT_TRUE(result.ok()) << result.status().message();

  const auto reference = Logits(KvFormat::kBF16, kTokens - 1);
  const auto quantised = Logits(kInt8Int4, kTokens - 1);
  long double kl = 0, nll = 0;
  size_t agreed = 0;
  for (size_t i = 0; i + 1 < kTokens; ++i) {
    const auto p = Softmax(reference[i]), q = Softmax(quantised[i]);
    for (size_t t = 0; t < p.size(); ++t) kl += p[t] * std::log(p[t] / q[t]);
    nll -= std::log(q[size_t(text_[i + 1])]);
    agreed += std::max_element(p.begin(), p.end()) - p.begin() ==
              std::max_element(q.begin(), q.end()) - q.begin();
  }
  const KvQualityRow& row = result->rows[0];
  EXPECT_GT(row.quality.mean_kl, 0);
  // Sums of a few hundred terms in double against long double.
  EXPECT_NEAR(row.quality.mean_kl, double(kl / (kTokens - 1)), 1e-12);
  EXPECT_NEAR(row.quality.mean_nll, double(nll / (kTokens - 1)), 1e-12);
  EXPECT_DOUBLE_EQ(row.quality.top1, double(agreed) / (kTokens - 1));
  EXPECT_EQ(row.decode_same_count, 9u);
  EXPECT_EQ(row.bits_per_element, options.layouts[0].bits_per_element());
  EXPECT_EQ(result->rows[1].quality.mean_kl, 0);
}

TEST_F(KvQualityModelTest, CalibratedMapsKeepToTheBudgetAndAreWhatWasMeasured) {
  KvCalibrateOptions options;
  options.budget_bits = 0.5 * (Layout(KvFormat::kInt4).bits_per_element() +
                               Layout(KvFormat::kBF16).bits_per_element());
  options.window_tokens = 128;
  options.window_count = 2;
  options.scored_tokens = 64;
  options.refine_count = 3;
  const auto result = CalibrateKv(*loaded_.model, *loaded_.pool, text_, options);
  ASSERT_TRUE(result.ok()) << result.status().message();
  const size_t layer_count = loaded_.model->spec().layer_count;
  ASSERT_EQ(result->layers.size(), layer_count);
  EXPECT_LE(result->bits_per_element, options.budget_bits);
  EXPECT_EQ(result->costs.size(), 2 * layer_count * options.formats.size());
  EXPECT_EQ(result->statistics.size(), 2 * layer_count * loaded_.model->spec().kv_head_count);
  for (const KvHeadStatistics& head : result->statistics) {
    EXPECT_GE(head.absmax, head.max_channel_rms);
    EXPECT_GE(head.max_channel_rms, head.rms);
    EXPECT_GE(head.mean_share, 0);
    EXPECT_LE(head.mean_share, 1);
  }

  KvQualityOptions quality;
  quality.layouts = {MixedKvLayout(Layout(KvFormat::kBF16), result->layers)};
  quality.context_tokens = 128;
  quality.window_count_max = 2;
  quality.first_scored_token = 64;
  const auto again = MeasureKvQuality(*loaded_.model, *loaded_.pool, text_, quality);
  ASSERT_TRUE(again.ok());
  EXPECT_EQ(again->rows[0].quality.mean_kl, result->measured.mean_kl);
  EXPECT_LE(result->measured.mean_kl, result->start_kl);

  options.budget_bits = 1;
  EXPECT_EQ(CalibrateKv(*loaded_.model, *loaded_.pool, text_, options).status().code(),
            StatusCode::kInvalidArgument);
}

TEST_F(KvQualityModelTest, CopiesAreTheSameForEverySeedAndDifferBetweenSeeds) {
  const ProbeTrial a = MakeCopyTrial(text_, 32, 5), b = MakeCopyTrial(text_, 32, 5);
  EXPECT_EQ(a.context, b.context);
  EXPECT_NE(a.context, MakeCopyTrial(text_, 32, 6).context);
  ASSERT_EQ(a.context.size(), 64u);
  EXPECT_TRUE(std::equal(a.context.begin(), a.context.begin() + 32, a.context.begin() + 32));
  ASSERT_EQ(a.questions[0].answer.size(), 31u);
  EXPECT_EQ(a.questions[0].asked[0], a.context[0]);
  EXPECT_EQ(a.questions[0].answer[30], a.context[31]);
}

}  // namespace
}  // namespace kvasir
