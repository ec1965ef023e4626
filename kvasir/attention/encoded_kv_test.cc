// Quantised blocks where they end: blocks that no row sees encoded, windows that cut a block,
// numbers that are none, and what planning refuses.

#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <string>
#include <vector>

#include "kvasir/attention/attention_test_util.h"
#include "kvasir/kernels/cpu_target.h"

namespace kvasir {
namespace {

constexpr AttentionSpec kSpec = {6, 2, 64, 0.125f};

const KvFormats kFormats[] = {KvFormat::kInt8, KvFormat::kInt4,
                              KvFormats(KvFormat::kInt8, KvFormat::kInt4), KvFormat::kFp8E4M3};

class EncodedKvTest : public testing::TestWithParam<CpuTarget> {
 protected:
  const ScopedCpuTarget scope_{GetParam()};
  std::mt19937 random_{23};
};

INSTANTIATE_TEST_SUITE_P(Targets, EncodedKvTest, testing::ValuesIn(SupportedCpuTargets()),
                         [](const auto& info) { return std::string(CpuTargetName(info.param)); });

// Rows of a sequence's first block see nothing encoded: the bits are those of bf16.
TEST_P(EncodedKvTest, TheFirstBlockIsThatOfBf16) {
  for (const KvFormats formats : kFormats) {
    for (const int32_t kv_len : {1, 20, 32}) {
      const TestSequence sequence = RandomSequence(kSpec, formats, kv_len, kv_len, random_);
      const TestBatch encoded(kSpec, formats, {sequence}, random_);
      const TestBatch plain(kSpec, KvFormat::kBF16, {sequence}, random_);
      EXPECT_EQ(encoded.Run(1), plain.Run(1)) << KvFormatsName(formats) << ", " << kv_len;
    }
  }
}

// So do those of the first group, however many blocks it has.
TEST_P(EncodedKvTest, TheFirstGroupIsThatOfBf16) {
  for (const uint32_t open_blocks : {2u, 4u, 8u}) {
    TestStorage storage = KvFormat::kInt4;
    storage.open_blocks = open_blocks;
    const int32_t tokens = int32_t(open_blocks) * 32;
    for (const int32_t kv_len : {tokens - 31, tokens}) {
      const TestSequence sequence = RandomSequence(kSpec, storage, kv_len, kv_len, random_);
      const TestBatch encoded(kSpec, storage, {sequence}, random_);
      const TestBatch plain(kSpec, KvFormat::kBF16, {sequence}, random_);
      EXPECT_EQ(encoded.Run(1), plain.Run(1)) << open_blocks << ", " << kv_len;
    }
    const TestSequence longer = RandomSequence(kSpec, storage, tokens + 1, 1, random_);
    EXPECT_NE(TestBatch(kSpec, storage, {longer}, random_).Run(1),
              TestBatch(kSpec, KvFormat::kBF16, {longer}, random_).Run(1));
  }
}

// A window that ends within the row's own block, or at its edge, leaves nothing encoded to see.
TEST_P(EncodedKvTest, AWindowWithinTheOwnBlockIsThatOfBf16) {
  for (const KvFormats formats : kFormats) {
    for (const int32_t window_left : {0, 3, 19}) {
      AttentionSpec spec = kSpec;
      spec.window_left = window_left;
      // The row at position 307 is token 19 of its block.
      const TestSequence sequence = RandomSequence(spec, formats, 308, 1, random_);
      const TestBatch encoded(spec, formats, {sequence}, random_);
      const TestBatch plain(spec, KvFormat::kBF16, {sequence}, random_);
      EXPECT_EQ(encoded.Run(1), plain.Run(1)) << KvFormatsName(formats) << ", " << window_left;
      spec.window_left = 20;
      EXPECT_NE(TestBatch(spec, formats, {sequence}, random_).Run(1),
                TestBatch(spec, KvFormat::kBF16, {sequence}, random_).Run(1));
    }
  }
}

// A query that is no number makes its own row none, and no other.
TEST_P(EncodedKvTest, AQueryThatIsNoNumberSpoilsItsRowAlone) {
  for (const KvFormats formats : kFormats) {
    const TestSequence clean = RandomSequence(kSpec, formats, 100, 40, random_);
    TestSequence poisoned = clean;
    const size_t columns = size_t{kSpec.num_qo_heads} * kSpec.head_dim;
    constexpr size_t kRow = 17, kHead = 4;
    poisoned.q[kRow * columns + kHead * kSpec.head_dim + 5] = INFINITY;
    const std::vector<float> expected = TestBatch(kSpec, formats, {clean}, random_).Run(1);
    const std::vector<float> out = TestBatch(kSpec, formats, {poisoned}, random_).Run(1);
    for (size_t i = 0; i < out.size(); ++i) {
      if (i / columns == kRow && i % columns / kSpec.head_dim == kHead) continue;
      ASSERT_EQ(out[i], expected[i]) << KvFormatsName(formats) << " at " << i;
    }
  }
}

// The batch's own checks are those of every layout; these are of quantised ones.
class EncodedKvCheckTest : public testing::Test {
 protected:
  EncodedKvCheckTest()
      : sequence_(RandomSequence(kSpec, KvFormat::kInt8, 100, 40, random_)),
        batch_(kSpec, KvFormat::kInt8, {sequence_}, random_),
        kv_(batch_.kv()) {}
  std::string Refusal(const AttentionSpec& spec = kSpec) {
    const Status status = CheckAttention(spec, batch_.qo_indptr(), kv_);
    EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
    return std::string(status.message());
  }

  std::mt19937 random_{29};
  TestSequence sequence_;
  TestBatch batch_;
  PagedKv kv_;
};

TEST_F(EncodedKvCheckTest, WhatFitsIsAllowed) {
  EXPECT_TRUE(CheckAttention(kSpec, batch_.qo_indptr(), kv_).ok());
}

TEST_F(EncodedKvCheckTest, WhatDoesNotFitIsRefusedByName) {
  kv_.open.reset();
  EXPECT_EQ(Refusal(), "the KV layout is quantised, open is needed with it");
  kv_ = batch_.kv();
  kv_.open->layout.layer_count = 1;
  EXPECT_EQ(Refusal(), "the layout of open is not the KV layout in bf16");
  kv_ = batch_.kv();
  const std::vector<int32_t> first = {0};
  kv_.open->first_own_block = first;
  EXPECT_EQ(Refusal(), "first_own_block[0] is 0, the blocks of the first query begin with 1");
  kv_ = batch_.kv();
  const std::vector<int32_t> indptr = {0, 2};
  kv_.open->own_indptr = indptr;
  EXPECT_EQ(Refusal(), "sequence 0 has 2 own slots, its queries lie in 3 blocks");
  kv_ = batch_.kv();
  kv_.open->own_slots = kv_.open->own_slots.first(1);
  EXPECT_EQ(Refusal(), "own_slots has 1 entries, own_indptr asks for 3");
  kv_ = batch_.kv();
  kv_.open->open_base = nullptr;
  EXPECT_EQ(Refusal(), "own_slots[2] is 0, whose base address is null or not a multiple of 64");
}

TEST_F(EncodedKvCheckTest, RopeInTheKernelIsRefused) {
  const RopeTable rope = std::move(RopeTable::Create(64, 10000, 1, 128)).value();
  AttentionSpec spec = kSpec;
  spec.rope = &rope;
  EXPECT_EQ(Refusal(spec), "rope turns keys while they are read, which needs f32 or bf16 blocks");
}

}  // namespace
}  // namespace kvasir
