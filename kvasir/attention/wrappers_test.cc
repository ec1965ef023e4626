// FlashInfer's names against the float64 truth.

#include "kvasir/attention/wrappers.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <string>
#include <vector>

#include "kvasir/attention/attention_test_util.h"

namespace kvasir {
namespace {

constexpr double kTolerance = 5e-6;  // as in batch_attention_test.cc
constexpr AttentionSpec kSpec = {6, 2, 40, 0.2f};

// Results of q_len rows of kSpec.
struct Output {
  explicit Output(size_t row_count)
      : rows(row_count), out(rows * 6 * 40, NAN), lse(rows * 6, NAN) {}
  MatrixView<float> Out() { return {out.data(), rows, 6 * 40}; }
  MatrixView<float> Lse() { return {lse.data(), rows, 6}; }
  void ExpectTruth(const ReferenceOutput& truth) const {
    const OutputError error = CompareWithReference(out, lse, truth);
    EXPECT_LE(error.out, kTolerance);
    EXPECT_LE(error.lse, kTolerance);
  }

  size_t rows;
  std::vector<float> out, lse;
};

std::vector<float> AllQueries(const TestBatch& batch) {
  std::vector<float> q;
  for (const TestSequence& s : batch.sequences()) q.insert(q.end(), s.q.begin(), s.q.end());
  return q;
}

ReferenceOutput Truth(const TestBatch& batch) {
  std::vector<ReferenceOutput> truths;
  for (const TestSequence& s : batch.sequences()) {
    truths.push_back(ReferenceAttention(batch.spec(), s));
  }
  return Concatenate(truths);
}

TEST(WrappersTest, BatchDecode) {
  for (const int32_t q_len : {1, 3}) {
    std::mt19937 random(3);
    const TestStorage storage(TestStorage::Kind::kNhd, KvRowType::kBF16, 16);
    std::vector<TestSequence> sequences;
    for (const int32_t kv_len : {40, 3, 300}) {
      sequences.push_back(RandomSequence(kSpec, storage, kv_len, q_len, random));
    }
    const TestBatch batch(kSpec, storage, std::move(sequences), random);
    ThreadPool pool(2);
    BatchAttentionPlan plan;
    ASSERT_TRUE(
        PlanBatchDecodeWithPagedKvCache(kSpec, batch.kv(), {.thread_count = 2}, &plan, q_len).ok());
    const std::vector<float> q = AllQueries(batch);
    Output output(batch.row_count());
    plan.Run(batch.kv(), 0, MatrixView<const float>(q.data(), batch.row_count(), 6 * 40),
             output.Out(), output.Lse(), pool);
    output.ExpectTruth(Truth(batch));
  }
  BatchAttentionPlan plan;
  EXPECT_EQ(PlanBatchDecodeWithPagedKvCache(kSpec, {}, {}, &plan, 0).message(),
            "q_len_per_req is 0, allowed is 1 to 65536");
}

TEST(WrappersTest, BatchPrefillWithPages) {
  std::mt19937 random(4);
  std::vector<TestSequence> sequences = {RandomSequence(kSpec, KvFormat::kF32, 70, 70, random),
                                         RandomSequence(kSpec, KvFormat::kF32, 33, 5, random)};
  const TestBatch batch(kSpec, KvFormat::kF32, std::move(sequences), random);
  ThreadPool pool(1);
  BatchAttentionPlan plan;
  ASSERT_TRUE(
      PlanBatchPrefillWithPagedKvCache(kSpec, batch.qo_indptr(), batch.kv(), {}, &plan).ok());
  const std::vector<float> q = AllQueries(batch);
  Output output(batch.row_count());
  plan.Run(batch.kv(), TestBatch::kLayer, MatrixView<const float>(q.data(), 75, 6 * 40),
           output.Out(), output.Lse(), pool);
  output.ExpectTruth(Truth(batch));
}

TEST(WrappersTest, BatchPrefillWithRaggedArrays) {
  std::mt19937 random(5);
  const TestStorage storage(TestStorage::Kind::kRagged, KvRowType::kF16, 1);
  std::vector<TestSequence> sequences = {RandomSequence(kSpec, storage, 70, 9, random),
                                         RandomSequence(kSpec, storage, 0, 2, random),
                                         RandomSequence(kSpec, storage, 33, 5, random)};
  const TestBatch batch(kSpec, storage, std::move(sequences), random);
  ThreadPool pool(2);
  BatchAttentionPlan plan;
  const Status status = PlanBatchPrefillWithRaggedKvCache(
      kSpec, batch.qo_indptr(), batch.kv().kv_indptr, *batch.kv().rows, {.thread_count = 2}, &plan);
  ASSERT_TRUE(status.ok()) << status.message();
  const std::vector<float> q = AllQueries(batch);
  Output output(batch.row_count());
  plan.Run(RaggedKv(*batch.kv().rows, batch.kv().kv_indptr), 0,
           MatrixView<const float>(q.data(), 16, 6 * 40), output.Out(), output.Lse(), pool);
  output.ExpectTruth(Truth(batch));
  EXPECT_EQ(
      PlanBatchPrefillWithRaggedKvCache(kSpec, batch.qo_indptr(), {}, {}, {}, &plan).message(),
      "kv_indptr is empty, batch + 1 entries are needed");
}

TEST(WrappersTest, OneSequence) {
  std::mt19937 random(6);
  ThreadPool pool(2);
  TestSequence s = RandomSequence(kSpec, KvFormat::kF32, 77, 9, random);
  const KvRows rows = F32Rows(kSpec, &s);
  const MatrixView<const float> q(s.q.data(), 9, 6 * 40);
  Output output(9);
  ASSERT_TRUE(SinglePrefillWithKvCache(kSpec, rows, 77, q, output.Out(), output.Lse(), pool).ok());
  output.ExpectTruth(ReferenceAttention(kSpec, s));

  Output one(1);
  ASSERT_TRUE(
      SingleDecodeWithKvCache(kSpec, rows, 77, q.Rows(8, 1), one.Out(), one.Lse(), pool).ok());
  EXPECT_EQ(one.out, std::vector<float>(output.out.end() - 6 * 40, output.out.end()));

  s.mask.resize(9 * 77);
  std::vector<uint8_t> packed((9 * 77 + 7) / 8);
  for (size_t i = 0; i < s.mask.size(); ++i) {
    s.mask[i] = random() % 2;
    packed[i / 8] |= uint8_t(s.mask[i] << (i % 8));
  }
  AttentionSpec masked = kSpec;
  masked.packed_custom_mask = packed;
  ASSERT_TRUE(SinglePrefillWithKvCache(masked, rows, 77, q, output.Out(), output.Lse(), pool).ok());
  output.ExpectTruth(ReferenceAttention(kSpec, s));
}

TEST(WrappersTest, AWrongShapeIsNamed) {
  std::mt19937 random(7);
  ThreadPool pool(1);
  TestSequence s = RandomSequence(kSpec, KvFormat::kF32, 8, 2, random);
  const KvRows rows = F32Rows(kSpec, &s);
  const MatrixView<const float> q(s.q.data(), 2, 6 * 40);
  Output output(2);
  const auto refusal = [&](int32_t kv_len, MatrixView<const float> queries, MatrixView<float> out,
                           MatrixView<float> lse) {
    return SinglePrefillWithKvCache(kSpec, rows, kv_len, queries, out, lse, pool).message();
  };
  EXPECT_EQ(refusal(8, q, output.Out(), output.Lse()), "");
  EXPECT_EQ(refusal(-1, q, output.Out(), {}), "kv_len is -1, allowed is 0 and above");
  EXPECT_EQ(refusal(8, q.Cols(0, 40), output.Out(), {}),
            "q has shape [2, 40], allowed is [2, 240]");
  EXPECT_EQ(refusal(8, q, output.Out().Rows(0, 1), {}),
            "out has shape [1, 240], allowed is [2, 240]");
  EXPECT_EQ(refusal(8, q, output.Out(), output.Lse().Cols(0, 5)),
            "lse has shape [2, 5], allowed is [2, 6]");
  EXPECT_EQ(SingleDecodeWithKvCache(kSpec, rows, 8, q, output.Out(), output.Lse(), pool).message(),
            "q has shape [2, 240], allowed is [1, 240]");
}

}  // namespace
}  // namespace kvasir
