#include "kvasir/kv/block_table.h"

#include <gtest/gtest.h>

#include <cstring>
#include <map>
#include <memory>
#include <random>
#include <utility>
#include <vector>

namespace kvasir {
namespace {

std::unique_ptr<BlockPool> MakePool(size_t block_count) {
  const KvBlockLayout layout = {.layer_count = 1, .kv_head_count = 1, .head_dim = 4};
  auto pool = BlockPool::Create(layout, block_count);
  EXPECT_TRUE(pool.ok());
  return std::move(pool).value();
}

std::byte* Bytes(BlockPool& pool, BlockId block) {
  return pool.base() + size_t(block) * pool.layout().block_bytes();
}

TEST(BlockTableTest, TakesABlockPer32Tokens) {
  auto pool = MakePool(4);
  BlockTable table(*pool);
  EXPECT_EQ(table.last_block_token_count(), 0u);
  EXPECT_EQ(table.BlocksNeeded(0), 0u);
  EXPECT_EQ(table.BlocksNeeded(1), 1u);
  EXPECT_EQ(table.BlocksNeeded(33), 2u);
  ASSERT_TRUE(table.Extend(31).ok());
  EXPECT_EQ(table.blocks().size(), 1u);
  EXPECT_EQ(table.BlocksNeeded(1), 0u);
  EXPECT_EQ(table.BlocksNeeded(2), 1u);
  ASSERT_TRUE(table.Extend(1).ok());
  EXPECT_EQ(table.blocks().size(), 1u);
  EXPECT_EQ(table.last_block_token_count(), 32u);
  ASSERT_TRUE(table.Extend(1).ok());
  EXPECT_EQ(table.blocks().size(), 2u);
  EXPECT_EQ(table.last_block_token_count(), 1u);
  EXPECT_EQ(table.token_count(), 33u);
}

TEST(BlockTableTest, ExtendIsAllOrNothing) {
  auto pool = MakePool(2);
  BlockTable table(*pool);
  ASSERT_TRUE(table.Extend(10).ok());
  const Status status = table.Extend(55);
  EXPECT_EQ(status.code(), StatusCode::kResourceExhausted);
  EXPECT_NE(status.message().find("55 more tokens need 2 KV blocks, 1 of 2"), std::string::npos)
      << status.message();
  EXPECT_EQ(table.token_count(), 10u);
  EXPECT_EQ(table.blocks().size(), 1u);
  EXPECT_EQ(pool->free_count(), 1u);
  EXPECT_TRUE(table.Extend(54).ok());
  EXPECT_EQ(pool->free_count(), 0u);
}

TEST(BlockTableTest, AForkSharesUntilItWrites) {
  auto pool = MakePool(4);
  BlockTable table(*pool);
  ASSERT_TRUE(table.Extend(40).ok());
  std::memset(Bytes(*pool, table.blocks()[1]), 7, pool->layout().block_bytes());
  BlockTable fork = table.Fork();
  EXPECT_EQ(fork.token_count(), 40u);
  EXPECT_EQ(pool->free_count(), 2u);
  EXPECT_EQ(pool->ReferenceCount(table.blocks()[0]), 2u);

  EXPECT_EQ(fork.BlocksNeeded(1), 1u) << "the shared open block must be copied";
  ASSERT_TRUE(fork.Extend(1).ok());
  EXPECT_EQ(fork.blocks()[0], table.blocks()[0]) << "complete blocks stay shared";
  EXPECT_NE(fork.blocks()[1], table.blocks()[1]);
  EXPECT_EQ(std::memcmp(Bytes(*pool, fork.blocks()[1]), Bytes(*pool, table.blocks()[1]),
                        pool->layout().block_bytes()),
            0);
  EXPECT_EQ(table.BlocksNeeded(1), 0u) << "the original holds its open block alone again";
  EXPECT_EQ(table.token_count(), 40u);
}

TEST(BlockTableTest, AFullSharedLastBlockIsNotCopied) {
  auto pool = MakePool(3);
  BlockTable table(*pool);
  ASSERT_TRUE(table.Extend(32).ok());
  BlockTable fork = table.Fork();
  EXPECT_EQ(fork.BlocksNeeded(1), 1u);
  ASSERT_TRUE(fork.Extend(1).ok());
  EXPECT_EQ(fork.blocks()[0], table.blocks()[0]);
  EXPECT_EQ(pool->free_count(), 1u);
}

TEST(BlockTableTest, CopyOnWriteWithoutAFreeBlockChangesNothing) {
  auto pool = MakePool(1);
  BlockTable table(*pool);
  ASSERT_TRUE(table.Extend(5).ok());
  BlockTable fork = table.Fork();
  EXPECT_EQ(fork.Extend(1).code(), StatusCode::kResourceExhausted);
  EXPECT_EQ(fork.token_count(), 5u);
  EXPECT_EQ(fork.blocks()[0], table.blocks()[0]);
  EXPECT_TRUE(fork.Extend(0).ok());
}

TEST(BlockTableTest, TruncateReleasesBlocksThatHoldNothing) {
  auto pool = MakePool(4);
  BlockTable table(*pool);
  ASSERT_TRUE(table.Extend(100).ok());
  BlockTable fork = table.Fork();
  table.Truncate(64);
  EXPECT_EQ(table.blocks().size(), 2u);
  EXPECT_EQ(table.last_block_token_count(), 32u);
  EXPECT_EQ(pool->free_count(), 0u) << "the fork still holds them";
  fork.Clear();
  EXPECT_EQ(pool->free_count(), 2u);
  table.Truncate(33);
  EXPECT_EQ(table.blocks().size(), 2u);
  table.Truncate(0);
  EXPECT_EQ(table.blocks().size(), 0u);
  EXPECT_EQ(pool->free_count(), 4u);
}

TEST(BlockTableTest, TruncatingIntoASharedBlockMakesItOpenAgain) {
  auto pool = MakePool(3);
  BlockTable table(*pool);
  ASSERT_TRUE(table.Extend(64).ok());
  BlockTable fork = table.Fork();
  fork.Truncate(40);
  ASSERT_TRUE(fork.Extend(1).ok());
  EXPECT_NE(fork.blocks()[1], table.blocks()[1]);
}

TEST(BlockTableTest, MovesLeaveAnEmptyTable) {
  auto pool = MakePool(4);
  BlockTable a(*pool);
  ASSERT_TRUE(a.Extend(40).ok());
  BlockTable b(std::move(a));
  EXPECT_EQ(b.token_count(), 40u);
  EXPECT_EQ(a.token_count(), 0u);  // NOLINT: the moved-from state is specified
  EXPECT_TRUE(a.blocks().empty());
  BlockTable c(*pool);
  ASSERT_TRUE(c.Extend(64).ok());
  c = std::move(b);
  EXPECT_EQ(c.token_count(), 40u);
  EXPECT_EQ(pool->free_count(), 2u);
  { BlockTable d = std::move(c); }
  EXPECT_EQ(pool->free_count(), 4u);
}

TEST(BlockTableTest, SharedBlocksStandInPlaceOfAnOpenOne) {
  auto pool = MakePool(6);
  BlockTable table(*pool), other(*pool);
  ASSERT_TRUE(table.Extend(96).ok());
  ASSERT_TRUE(other.Extend(40).ok());
  const BlockId kept = other.blocks()[0], open = other.blocks()[1];
  other.AppendShared(table.blocks().subspan(1));
  EXPECT_EQ(other.token_count(), 96u);
  EXPECT_EQ(other.blocks()[0], kept);
  EXPECT_EQ(other.blocks()[1], table.blocks()[1]);
  EXPECT_EQ(pool->ReferenceCount(open), 0u);
  EXPECT_EQ(pool->ReferenceCount(table.blocks()[2]), 2u);
  other.AppendShared({});
  ASSERT_TRUE(other.Extend(1).ok());
  EXPECT_EQ(other.blocks().size(), 4u) << "what follows goes to a block of its own";
}

// Random forks, extensions and truncations: no block is lost, held twice by mistake, or written by
// one table under the eyes of another.
TEST(BlockTableTest, SurvivesARandomWalk) {
  constexpr size_t kBlockCount = 24;
  auto pool = MakePool(kBlockCount);
  std::mt19937 random(1);
  {
    std::vector<BlockTable> tables;
    std::vector<std::vector<uint8_t>> expected;  // a byte for each token, by table
    const auto byte_at = [&](const BlockTable& table, size_t token) {
      return Bytes(*pool, table.blocks()[token / kKvBlockTokens]) + token % kKvBlockTokens;
    };
    for (int step = 0; step < 3000; ++step) {
      const uint32_t action = random() % 8;
      const size_t i = tables.empty() ? 0 : random() % tables.size();
      if (tables.empty() || (action == 0 && tables.size() < 8)) {
        tables.emplace_back(*pool);
        expected.emplace_back();
      } else if (action == 1 && tables.size() < 8) {
        tables.push_back(tables[i].Fork());
        expected.push_back(expected[i]);
      } else if (action == 2) {
        tables[i] = std::move(tables.back());
        expected[i] = expected.back();
        tables.pop_back();
        expected.pop_back();
      } else if (action == 3) {
        const size_t keep = random() % (tables[i].token_count() + 1);
        tables[i].Truncate(keep);
        expected[i].resize(keep);
      } else {
        const size_t count = random() % 50, before = pool->free_count();
        const size_t needed = tables[i].BlocksNeeded(count);
        const Status status = tables[i].Extend(count);
        ASSERT_EQ(status.ok(), needed <= before);
        ASSERT_EQ(pool->free_count(), status.ok() ? before - needed : before);
        for (size_t n = 0; status.ok() && n < count; ++n) {
          const uint8_t value = uint8_t(random());
          *byte_at(tables[i], expected[i].size()) = std::byte(value);
          expected[i].push_back(value);
        }
      }
      std::map<BlockId, uint32_t> holders;
      for (size_t t = 0; t < tables.size(); ++t) {
        ASSERT_EQ(tables[t].token_count(), expected[t].size());
        for (const BlockId block : tables[t].blocks()) ++holders[block];
        for (size_t token = 0; token < expected[t].size(); ++token) {
          ASSERT_EQ(*byte_at(tables[t], token), std::byte(expected[t][token]));
        }
      }
      ASSERT_EQ(holders.size() + pool->free_count(), kBlockCount);
      for (const auto& [block, count] : holders) ASSERT_EQ(pool->ReferenceCount(block), count);
    }
  }
  EXPECT_EQ(pool->free_count(), kBlockCount);
}

}  // namespace
}  // namespace kvasir
