#include "kvasir/kernels/batch_sampling.h"

#include <algorithm>
#include <functional>
#include <numeric>
#include <string>

#include <gtest/gtest.h>

#include "kvasir/kernels/philox.h"
#include "kvasir/kernels/sampling.h"
#include "kvasir/kernels/sampling_test_util.h"

namespace kvasir {
namespace {

constexpr size_t kRows = 6, kVocab = 333;

// [kRows, kVocab], each row inside a wider one whose rest is NaN.
struct Batch {
  static constexpr size_t kStride = kVocab + 5;
  explicit Batch(RowKind kind) {
    for (size_t r = 0; r < kRows; ++r) {
      const auto seed = static_cast<uint32_t>(r + 1);
      const std::vector<float> row =
          kind == RowKind::kLogits ? RandomLogits(kVocab, seed) : RandomProbs(kVocab, seed);
      std::copy(row.begin(), row.end(), numbers.begin() + std::ptrdiff_t(r * kStride));
    }
  }
  MatrixView<const float> view() const { return {numbers.data(), kRows, kVocab, kStride}; }
  MatrixView<float> view() { return {numbers.data(), kRows, kVocab, kStride}; }

  std::vector<float> numbers = std::vector<float>(kRows * kStride, kNan);
};

class BatchSamplingTest : public testing::Test {
 protected:
  ThreadPool pool_{3};
  SamplingWorkspace workspace_{pool_};
  const Batch logits_{RowKind::kLogits};
  const Batch probs_{RowKind::kProbs};
  std::vector<TokenId> samples_ = std::vector<TokenId>(kRows, -7);
  const std::vector<uint64_t> seeds_ = {1, 2, 3, 4, 5, 6};
  const std::vector<uint64_t> positions_ = {10, 20, 30, 40, 50, 60};

  // Each row alone, through the row's own function.
  std::vector<TokenId> RowByRow(const Batch& batch,
                                const std::function<RowFilter(size_t row)>& filter) {
    SamplingScratch scratch;
    std::vector<TokenId> tokens;
    for (size_t r = 0; r < kRows; ++r) {
      tokens.push_back(SampleRow(filter(r), batch.view().row_span(r),
                                 UniformFromSeed(seeds_[r], positions_[r]), &scratch));
    }
    return tokens;
  }
};

TEST_F(BatchSamplingTest, EveryFunctionAppliesItsFilterToEveryRow) {
  const SamplingRows rows = {.seed = seeds_, .position = positions_};
  const auto expect = [&](const Status& status, const Batch& batch, const RowFilter& filter) {
    ASSERT_TRUE(status.ok()) << status.message();
    EXPECT_EQ(samples_, RowByRow(batch, [&](size_t) { return filter; }));
    std::fill(samples_.begin(), samples_.end(), -7);
  };
  const MatrixView<const float> probs = probs_.view(), logits = logits_.view();
  const auto kProbs = RowKind::kProbs;
  expect(SamplingFromProbs(probs, rows, samples_, workspace_), probs_, {.kind = kProbs});
  expect(SamplingFromLogits(logits, rows, samples_, workspace_), logits_, {});
  expect(TopPSamplingFromProbs(probs, 0.3f, rows, samples_, workspace_), probs_,
         {.kind = kProbs, .top_p = 0.3f});
  expect(TopKSamplingFromProbs(probs, 4, rows, samples_, workspace_), probs_,
         {.kind = kProbs, .top_k = 4});
  expect(MinPSamplingFromProbs(probs, 0.2f, rows, samples_, workspace_), probs_,
         {.kind = kProbs, .min_p = 0.2f});
  for (const auto order : {FilterApplyOrder::kTopKFirst, FilterApplyOrder::kJoint}) {
    expect(TopKTopPSamplingFromProbs(probs, 9, 0.5f, order, rows, samples_, workspace_), probs_,
           {.kind = kProbs, .top_k = 9, .top_p = 0.5f, .order = order});
    expect(TopKTopPSamplingFromLogits(logits, 9, 0.5f, order, rows, samples_, workspace_), logits_,
           {.top_k = 9, .top_p = 0.5f, .order = order});
  }
}

TEST_F(BatchSamplingTest, ParametersMayBelongToRows) {
  const std::vector<int32_t> top_k = {0, 1, 2, 50, 332, 400};
  const std::vector<float> top_p = {0.5f, 1, 0.9f, 0, 0.99f, 0.3f};
  const std::vector<float> min_p = {0, 0, 0.1f, 0, 0.01f, 1};
  const std::vector<float> temperature = {1, 0, 0.5f, 2, 10, 1};
  const BatchFilter filter = {
      .temperature = temperature, .top_k = top_k, .top_p = top_p, .min_p = min_p};
  const auto row_filter = [&](size_t r) {
    return RowFilter{.temperature = temperature[r],
                     .top_k = uint32_t(top_k[r]),
                     .top_p = top_p[r],
                     .min_p = min_p[r]};
  };
  const SamplingRows rows = {.seed = seeds_, .position = positions_};
  ASSERT_TRUE(FilteredSampling(logits_.view(), filter, rows, samples_, workspace_).ok());
  EXPECT_EQ(samples_, RowByRow(logits_, row_filter));

  Batch out(RowKind::kProbs);
  ASSERT_TRUE(FilteredProbs(logits_.view(), filter, out.view(), workspace_).ok());
  SamplingScratch scratch;
  for (size_t r = 0; r < kRows; ++r) {
    std::vector<float> expected(kVocab);
    RenormRow(row_filter(r), logits_.view().row_span(r), &scratch, expected);
    const auto row = out.view().row_span(r);
    EXPECT_EQ(std::vector<float>(row.begin(), row.end()), expected) << r;
  }
}

// The same request gives the same token in any slot, any batch and on any number of threads.
TEST_F(BatchSamplingTest, ASampleDependsOnItsOwnRowSeedAndPositionOnly) {
  const SamplingRows rows = {.seed = seeds_, .position = positions_};
  ASSERT_TRUE(TopPSamplingFromProbs(probs_.view(), 0.95f, rows, samples_, workspace_).ok());
  ThreadPool lonely(1);
  SamplingWorkspace other(lonely);
  const std::vector<int32_t> indices = {5, 0, 0, 3};
  const std::vector<uint64_t> seeds = {6, 1, 1, 4}, positions = {60, 10, 10, 40};
  std::vector<TokenId> shuffled(4);
  ASSERT_TRUE(TopPSamplingFromProbs(probs_.view(), 0.95f,
                                    {.seed = seeds, .position = positions, .indices = indices},
                                    shuffled, other)
                  .ok());
  EXPECT_EQ(shuffled, (std::vector<TokenId>{samples_[5], samples_[0], samples_[0], samples_[3]}));
}

TEST_F(BatchSamplingTest, AgreesWithTheEnginesSampler) {
  SamplingParams params;
  params.temperature = 0.7f;
  params.top_k = 20;
  params.top_p = 0.8f;
  params.min_p = 0.02f;
  params.seed = 99;
  ASSERT_TRUE(FilteredSampling(
                  logits_.view(),
                  {.temperature = params.temperature, .top_k = 20, .top_p = 0.8f, .min_p = 0.02f},
                  {.seed = 99, .position = positions_}, samples_, workspace_)
                  .ok());
  SamplingScratch scratch;
  for (size_t r = 0; r < kRows; ++r) {
    EXPECT_EQ(samples_[r], Sample(params, positions_[r], logits_.view().row_span(r), &scratch));
  }
}

TEST_F(BatchSamplingTest, RenormalisationsHaveSumOneAndTheirFiltersSupport) {
  Batch out(RowKind::kLogits);
  const auto expect = [&](const Status& status, const Batch& input, const RowFilter& filter) {
    ASSERT_TRUE(status.ok()) << status.message();
    for (size_t r = 0; r < kRows; ++r) {
      const auto row = out.view().row_span(r);
      const std::vector<double> exact = ExactDistribution(filter, input.view().row_span(r));
      EXPECT_NEAR(std::accumulate(row.begin(), row.end(), 0.0), 1, 1e-6);
      for (size_t i = 0; i < kVocab; ++i) ASSERT_NEAR(row[i], exact[i], 1e-6 * exact[i] + 1e-9);
    }
    EXPECT_TRUE(std::isnan(out.numbers[kVocab]));  // between the rows
  };
  const auto kProbs = RowKind::kProbs;
  expect(Softmax(logits_.view(), 0.5f, out.view(), workspace_), logits_, {.temperature = 0.5f});
  expect(Softmax(logits_.view(), 0.0f, out.view(), workspace_), logits_, {.temperature = 0});
  expect(TopPRenormProbs(probs_.view(), 0.6f, out.view(), workspace_), probs_,
         {.kind = kProbs, .top_p = 0.6f});
  expect(TopKRenormProbs(probs_.view(), 11, out.view(), workspace_), probs_,
         {.kind = kProbs, .top_k = 11});
}

TEST_F(BatchSamplingTest, TheOutputMayBeTheInput) {
  Batch separate(RowKind::kProbs), in_place = logits_;
  const std::vector<int32_t> top_k = {1, 2, 0, 7, 100, 333};
  ASSERT_TRUE(TopKMaskLogits(logits_.view(), top_k, separate.view(), workspace_).ok());
  ASSERT_TRUE(TopKMaskLogits(in_place.view(), top_k, in_place.view(), workspace_).ok());
  for (size_t r = 0; r < kRows; ++r) {
    const auto a = separate.view().row_span(r), b = in_place.view().row_span(r);
    EXPECT_TRUE(std::equal(a.begin(), a.end(), b.begin())) << r;
  }
  ASSERT_TRUE(Softmax(separate.view(), 1.0f, separate.view(), workspace_).ok());
  const auto kept = separate.view().row_span(3);
  EXPECT_EQ(std::count_if(kept.begin(), kept.end(), [](float p) { return p > 0; }), 7);
}

TEST_F(BatchSamplingTest, EmptyBatchesAndTheSmallestVocabulary) {
  EXPECT_TRUE(SamplingFromProbs({}, {}, {}, workspace_).ok());
  EXPECT_TRUE(Softmax({}, 1.0f, {}, workspace_).ok());
  const float one[] = {0.3f, 0.0f};
  std::vector<TokenId> tokens(2, -7);
  ASSERT_TRUE(SamplingFromProbs({one, 2, 1}, {}, tokens, workspace_).ok());
  EXPECT_EQ(tokens, (std::vector<TokenId>{0, 0}));
}

TEST_F(BatchSamplingTest, RefusesWrongArgumentsByName) {
  const MatrixView<const float> probs = probs_.view();
  const auto expect = [&](const Status& status, const std::string& message) {
    EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
    EXPECT_EQ(status.message(), message);
    EXPECT_EQ(samples_, std::vector<TokenId>(kRows, -7));
  };
  const auto top_p = [&](const PerRow<float>& value) {
    return TopPSamplingFromProbs(probs, value, {}, samples_, workspace_);
  };
  expect(top_p(1.5f), "top_p is 1.5, allowed is 0 to 1");
  expect(top_p(kNan), "top_p is nan, allowed is 0 to 1");
  expect(top_p(std::vector<float>{0, 1, 0.5f, -0.1f, 0, 0}), "top_p[3] is -0.1, allowed is 0 to 1");
  expect(top_p(std::vector<float>{0, 1}),
         "top_p has 2 values, it must have 1 or 6, one for each output row");
  expect(TopKSamplingFromProbs(probs, -1, {}, samples_, workspace_),
         "top_k is -1, allowed is 0 to 2147483647");
  expect(MinPSamplingFromProbs(probs, 2.0f, {}, samples_, workspace_),
         "min_p is 2, allowed is 0 to 1");
  expect(FilteredSampling(probs, {.temperature = kInf}, {}, samples_, workspace_),
         "temperature is inf, allowed is 0 to 1000");
  expect(SamplingFromProbs(probs, {.seed = std::vector<uint64_t>{1, 2}}, samples_, workspace_),
         "seed has 2 values, it must have 1 or 6, one for each output row");
  const std::vector<int32_t> indices = {0, 1, 2, 3, 4, 6};
  expect(SamplingFromProbs(probs, {.indices = indices}, samples_, workspace_),
         "indices[5] is 6, allowed is 0 to 5, the rows of the input");
  expect(SamplingFromProbs(probs.Rows(0, 5), {}, samples_, workspace_),
         "samples has 6 elements, it must have 5");
  expect(SamplingFromProbs(probs.Cols(0, 0), {}, samples_, workspace_),
         "probs has 0 columns, allowed is 1 to 1073741824");
  Batch out(RowKind::kProbs);
  expect(Softmax(logits_.view(), 1.0f, out.view().Cols(0, 5), workspace_),
         "out is 6 x 5, it must be 6 x 333");
  expect(Softmax(logits_.view(), -1.0f, out.view(), workspace_),
         "temperature is -1, allowed is 0 to 1000");
  expect(TopKMaskLogits(logits_.view(), -3, out.view(), workspace_),
         "top_k is -3, allowed is 0 to 2147483647");
}

}  // namespace
}  // namespace kvasir
