#include "kvasir/kv/open_blocks.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <utility>
#include <vector>

#include "kvasir/kv/block_pool.h"
#include "kvasir/kv/block_table.h"

namespace kvasir {
namespace {

const KvBlockLayout kLayout = {2, 1, 64, {KvFormat::kInt8, KvFormat::kInt4}};

std::unique_ptr<BlockPool> MakePool(OpenBlockCounts counts) {
  return std::move(BlockPool::Create(kLayout, 16, counts)).value();
}

std::vector<int32_t> Copy(std::span<const int32_t> numbers) {
  return {numbers.begin(), numbers.end()};
}

TEST(OpenBlocksTest, CountsAreThoseOfTheWorstBatch) {
  EXPECT_EQ(OpenBlockCounts::For({2, 1, 64}, 512, 4).slots, 0u);  // bf16
  for (const size_t rows : {1, 2, 3, 33, 34, 512}) {
    for (const size_t sequences : {1, 2, 5, 16}) {
      // All ways to begin inside a block, rows dealt in twos and the rest to the first: no batch
      // stages more.
      size_t worst = 0;
      for (size_t in_twos = 0; in_twos < sequences && 2 * in_twos < rows; ++in_twos) {
        const size_t first = rows - 2 * in_twos;
        worst = std::max(worst, in_twos + (31 + first - 1) / 32);
      }
      EXPECT_GE(OpenBlockCounts::For(kLayout, rows, sequences).staging, worst);
    }
  }
  EXPECT_EQ(OpenBlockCounts::For(kLayout, 1, 1).staging, 0u);
  // Slots of two layers of K and V in bf16, staging of one.
  EXPECT_EQ(OpenBlocks::ByteCount(kLayout, {.slots = 3, .staging = 5}), (3 * 2 + 5) * 8192u);
}

TEST(OpenBlocksTest, ATableHoldsASlotFromItsFirstTokenOn) {
  auto pool = MakePool({.slots = 2, .staging = 0});
  BlockTable a(*pool), b(*pool), c(*pool);
  EXPECT_EQ(a.open_slot(), -1);
  ASSERT_TRUE(a.Extend(5).ok());
  ASSERT_TRUE(b.Extend(40).ok());
  EXPECT_GE(a.open_slot(), 0);
  EXPECT_NE(a.open_slot(), b.open_slot());
  EXPECT_EQ(c.Extend(1).message(), "all 2 open KV blocks are in use");
  EXPECT_EQ(c.token_count(), 0u);
  EXPECT_EQ(pool->free_count(), 13u);
  a.Clear();
  EXPECT_EQ(a.open_slot(), -1);
  EXPECT_TRUE(c.Extend(1).ok());
  { const BlockTable moved = std::move(b); }
  EXPECT_EQ(b.open_slot(), -1);
  EXPECT_TRUE(a.Extend(1).ok());
}

TEST(OpenBlocksTest, AForkHasACopyOfItsOwn) {
  auto pool = MakePool({.slots = 2, .staging = 0});
  const OpenBlocks& open = pool->open_blocks();
  const size_t slot_bytes = 2 * open.layout().layer_bytes(0);
  BlockTable table(*pool);
  ASSERT_TRUE(table.Extend(5).ok());
  std::byte* bytes = open.base() + size_t(table.open_slot()) * slot_bytes;
  std::memset(bytes, 0x5A, slot_bytes);
  BlockTable fork = table.Fork();
  ASSERT_NE(fork.open_slot(), table.open_slot());
  const std::byte* copy = open.base() + size_t(fork.open_slot()) * slot_bytes;
  EXPECT_EQ(std::memcmp(bytes, copy, slot_bytes), 0);
  // Their pages part when one of them goes on.
  EXPECT_EQ(fork.blocks()[0], table.blocks()[0]);
  ASSERT_TRUE(fork.Extend(1).ok());
  EXPECT_NE(fork.blocks()[0], table.blocks()[0]);
}

TEST(OwnBlocksTest, TheLastBlockIsOpenAndTheOthersAreStaged) {
  auto pool = MakePool({.slots = 2, .staging = 4});
  BlockTable a(*pool), b(*pool);
  ASSERT_TRUE(a.Extend(20).ok());
  ASSERT_TRUE(b.Extend(64).ok());
  OwnBlocks own;
  ASSERT_TRUE(a.Extend(60).ok());  // tokens 20..79: blocks 0, 1, 2
  own.Add(a, 60);
  ASSERT_TRUE(b.Extend(1).ok());  // token 64: block 2
  own.Add(b, 1);
  EXPECT_EQ(Copy(own.indptr()), (std::vector<int32_t>{0, 3, 4}));
  EXPECT_EQ(Copy(own.slots()), (std::vector<int32_t>{-1, -2, a.open_slot(), b.open_slot()}));
  EXPECT_EQ(Copy(own.first_blocks()), (std::vector<int32_t>{0, 2}));
  EXPECT_EQ(own.staging_count(), 2u);
  own.Clear();
  EXPECT_EQ(Copy(own.indptr()), (std::vector<int32_t>{0}));
}

// Groups of four: the slots of the last one lie one behind another, earlier ones are staged whole.
TEST(OwnBlocksTest, GroupsAreOpenTogether) {
  KvBlockLayout layout = kLayout;
  layout.open_blocks = 4;
  auto pool = std::move(BlockPool::Create(layout, 16, {.slots = 2, .staging = 8})).value();
  EXPECT_EQ(OpenBlocks::ByteCount(layout, {.slots = 3, .staging = 5}), (3 * 4 * 2 + 5) * 8192u);
  // From the last token of a group on, 130 rows end in the second group after it.
  EXPECT_EQ(OpenBlockCounts::For(layout, 130, 1).staging, 8u);
  EXPECT_EQ(OpenBlockCounts::For(layout, 1, 1).staging, 0u);
  BlockTable table(*pool);
  ASSERT_TRUE(table.Extend(70).ok());
  const int32_t open = 4 * table.open_slot();
  OwnBlocks own;
  own.Add(table, 3);  // tokens 67..69: block 2, and with it 0 and 1
  EXPECT_EQ(Copy(own.slots()), (std::vector<int32_t>{open, open + 1, open + 2}));
  EXPECT_EQ(Copy(own.first_blocks()), (std::vector<int32_t>{0}));
  own.Clear();
  ASSERT_TRUE(table.Extend(100).ok());  // tokens 70..169: blocks 2 to 5
  own.Add(table, 100);
  EXPECT_EQ(Copy(own.slots()), (std::vector<int32_t>{-1, -2, -3, -4, open, open + 1}));
  EXPECT_EQ(Copy(own.first_blocks()), (std::vector<int32_t>{0}));
}

}  // namespace
}  // namespace kvasir
