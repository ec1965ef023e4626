#include "kvasir/engine/batch_builder.h"

#include <numeric>

#include <gtest/gtest.h>

#include "kvasir/engine/fake_model.h"

namespace kvasir {
namespace {

class IgnoringSink final : public TokenSink {
 public:
  bool OnToken(const SampledToken&) override { return true; }
  void OnFinish(FinishReason, const Status&) override {}
};

template <typename T>
std::vector<T> Copy(std::span<const T> values) {
  return {values.begin(), values.end()};
}

class BatchBuilderTest : public testing::Test {
 protected:
  std::unique_ptr<Sequence> MakeSequence(size_t prompt_count) {
    Request request;
    request.prompt.resize(prompt_count);
    std::iota(request.prompt.begin(), request.prompt.end(), TokenId{100} * ++sequence_count_);
    return std::make_unique<Sequence>(sequence_count_, std::move(request), sink_, *pool_);
  }

  // Makes room for the next tokens and adds them.
  void Add(Sequence& sequence, size_t token_count) {
    ASSERT_TRUE(sequence.blocks().Extend(token_count).ok());
    builder_.Add(sequence, token_count);
  }

  IgnoringSink sink_;
  int sequence_count_ = 0;
  std::unique_ptr<BlockPool> pool_ =
      BlockPool::Create(FakeModel().KvLayout(KvFormat::kBF16), 12).value();
  BatchBuilder builder_{*pool_, 64, 4};
};

TEST_F(BatchBuilderTest, AnEmptyBatchIsWellFormed) {
  const Batch batch = builder_.batch();
  EXPECT_TRUE(batch.tokens.empty());
  EXPECT_EQ(Copy(batch.qo_indptr), (std::vector<int32_t>{0}));
  EXPECT_EQ(Copy(batch.kv.kv_indptr), (std::vector<int32_t>{0}));
  EXPECT_EQ(batch.kv.batch_size(), 0);
}

TEST_F(BatchBuilderTest, WritesTheArraysOfFlashInfer) {
  const auto a = MakeSequence(36), b = MakeSequence(3);
  Add(*a, 34);
  EXPECT_TRUE(builder_.batch().logit_rows.empty());  // two tokens of the prompt are missing
  builder_.Start();
  Add(*b, 3);
  Add(*a, 2);

  const Batch batch = builder_.batch();
  EXPECT_EQ(Copy(batch.tokens), (std::vector<TokenId>{200, 201, 202, 134, 135}));
  EXPECT_EQ(Copy(batch.positions), (std::vector<int32_t>{0, 1, 2, 34, 35}));
  EXPECT_EQ(Copy(batch.qo_indptr), (std::vector<int32_t>{0, 3, 5}));
  EXPECT_EQ(Copy(batch.logit_rows), (std::vector<int32_t>{2, 4}));
  EXPECT_EQ(Copy(batch.kv.kv_indptr), (std::vector<int32_t>{0, 1, 3}));
  EXPECT_EQ(Copy(batch.kv.kv_indices),
            (std::vector<int32_t>{b->blocks().blocks()[0], a->blocks().blocks()[0],
                                  a->blocks().blocks()[1]}));
  EXPECT_EQ(Copy(batch.kv.kv_last_page_len), (std::vector<int32_t>{3, 4}));
  EXPECT_EQ(batch.kv.KvLen(1), 36);
  EXPECT_EQ(batch.kv.base, pool_->base());
  EXPECT_EQ(batch.kv.page_count, 12);
  EXPECT_EQ(batch.kv.layout, pool_->layout());
}

// The arrays stay where they were reserved: a full batch allocates nothing.
TEST_F(BatchBuilderTest, ReusesItsMemory) {
  const auto first = MakeSequence(1);
  Add(*first, 1);
  const Batch small = builder_.batch();
  first->blocks().Clear();

  builder_.Start();
  std::vector<std::unique_ptr<Sequence>> sequences;
  for (size_t prompt_count : {16, 16, 16, 16}) {
    sequences.push_back(MakeSequence(prompt_count));
    Add(*sequences.back(), prompt_count);
  }
  const Batch full = builder_.batch();
  EXPECT_EQ(full.tokens.size(), 64);
  EXPECT_EQ(full.tokens.data(), small.tokens.data());
  EXPECT_EQ(full.positions.data(), small.positions.data());
  EXPECT_EQ(full.qo_indptr.data(), small.qo_indptr.data());
  EXPECT_EQ(full.logit_rows.data(), small.logit_rows.data());
  EXPECT_EQ(full.kv.kv_indptr.data(), small.kv.kv_indptr.data());
  EXPECT_EQ(full.kv.kv_indices.data(), small.kv.kv_indices.data());
  EXPECT_EQ(full.kv.kv_last_page_len.data(), small.kv.kv_last_page_len.data());
}

}  // namespace
}  // namespace kvasir
