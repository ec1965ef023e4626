#include "kvasir/kv/block_pool.h"

#include <gtest/gtest.h>

#include <cstring>
#include <set>
#include <vector>

namespace kvasir {
namespace {

KvBlockLayout SmallLayout() {
  return {.layer_count = 2, .kv_head_count = 3, .head_dim = 8, .format = KvFormat::kBF16};
}

TEST(BlockPoolTest, RefusesEmptyShapes) {
  for (const KvBlockLayout& layout :
       {KvBlockLayout{0, 3, 8, KvFormat::kF32}, KvBlockLayout{2, 0, 8, KvFormat::kF32},
        KvBlockLayout{2, 3, 0, KvFormat::kF32}}) {
    EXPECT_EQ(BlockPool::Create(layout, 4).status().code(), StatusCode::kInvalidArgument);
  }
  EXPECT_EQ(BlockPool::Create(SmallLayout(), 0).status().code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(BlockPool::Create(SmallLayout(), size_t{1} << 40).status().code(),
            StatusCode::kInvalidArgument);
}

TEST(BlockPoolTest, SaysWhenTheMemoryCannotBeHad) {
  const KvBlockLayout huge = {.layer_count = 1u << 20, .kv_head_count = 1u << 10, .head_dim = 512};
  EXPECT_EQ(BlockPool::Create(huge, 0x7FFFFFFF).status().code(), StatusCode::kResourceExhausted);
}

TEST(BlockPoolTest, HandsOutEveryBlockOnceInRisingOrder) {
  auto pool = BlockPool::Create(SmallLayout(), 5);
  ASSERT_TRUE(pool.ok()) << pool.status().message();
  EXPECT_EQ((*pool)->block_count(), 5u);
  EXPECT_EQ((*pool)->free_count(), 5u);
  for (BlockId expected = 0; expected < 5; ++expected) {
    auto block = (*pool)->Allocate();
    ASSERT_TRUE(block.ok());
    EXPECT_EQ(*block, expected);
    EXPECT_EQ((*pool)->ReferenceCount(*block), 1u);
  }
  EXPECT_EQ((*pool)->Allocate().status().code(), StatusCode::kResourceExhausted);
  (*pool)->Release(3);
  auto again = (*pool)->Allocate();
  ASSERT_TRUE(again.ok());
  EXPECT_EQ(*again, 3);
}

TEST(BlockPoolTest, ABlockIsFreeWhenItsLastHolderReleasesIt) {
  auto pool = BlockPool::Create(SmallLayout(), 1);
  ASSERT_TRUE(pool.ok());
  const BlockId block = *(*pool)->Allocate();
  (*pool)->Reference(block);
  (*pool)->Release(block);
  EXPECT_EQ((*pool)->free_count(), 0u);
  EXPECT_EQ((*pool)->ReferenceCount(block), 1u);
  (*pool)->Release(block);
  EXPECT_EQ((*pool)->free_count(), 1u);
  EXPECT_EQ((*pool)->ReferenceCount(block), 0u);
}

TEST(BlockPoolTest, BlocksAreAlignedAndDisjoint) {
  auto pool = BlockPool::Create(SmallLayout(), 3);
  ASSERT_TRUE(pool.ok());
  const size_t block_bytes = SmallLayout().block_bytes();
  EXPECT_EQ(reinterpret_cast<uintptr_t>((*pool)->base()) % 4096, 0u);
  EXPECT_EQ(block_bytes % 4096, 0u);
  for (int block = 0; block < 3; ++block) {
    std::memset((*pool)->base() + block * block_bytes, block + 1, block_bytes);
  }
  for (int block = 0; block < 3; ++block) {
    EXPECT_EQ((*pool)->base()[block * block_bytes], std::byte(block + 1));
    EXPECT_EQ((*pool)->base()[(block + 1) * block_bytes - 1], std::byte(block + 1));
  }
}

// A keeper that keeps everything, and gives up what was released first.
class KeepAll final : public BlockKeeper {
 public:
  bool KeepReleased(BlockId block) override { return kept.push_back(block), true; }
  void TakeBack(BlockId block) override { std::erase(kept, block); }
  BlockId Evict() override {
    const BlockId block = kept.front();
    kept.erase(kept.begin());
    return block;
  }
  std::vector<BlockId> kept;
};

TEST(BlockPoolTest, AGuardedBlockIsGivenToNobody) {
  const auto pool = BlockPool::Create(SmallLayout(), 3).value();
  KeepAll keeper;
  pool->SetKeeper(&keeper);
  for (BlockId block = 0; block < 3; ++block) ASSERT_EQ(pool->Allocate().value(), block);
  pool->Guard(0);  // while it is held
  for (BlockId block = 0; block < 3; ++block) pool->Release(block);
  pool->Guard(1);  // while it is kept
  EXPECT_EQ(pool->guarded_count(), 2u);
  EXPECT_EQ(pool->available_count(), 1u);
  // The keeper gives up 0 and 1 first, which bring nothing.
  EXPECT_EQ(pool->Allocate().value(), 2);
  EXPECT_EQ(pool->Allocate().status().code(), StatusCode::kResourceExhausted);
  pool->Unguard(1);
  EXPECT_EQ(pool->Allocate().value(), 1);
  pool->Unguard(0);
  EXPECT_EQ(pool->Allocate().value(), 0);
  EXPECT_EQ(pool->guarded_count(), 0u);
  pool->SetKeeper(nullptr);
}

TEST(BlockPoolTest, AGuardedBlockMayBeTakenAgain) {
  const auto pool = BlockPool::Create(SmallLayout(), 1).value();
  KeepAll keeper;
  pool->SetKeeper(&keeper);
  ASSERT_EQ(pool->Allocate().value(), 0);
  pool->Release(0);
  pool->Guard(0);
  EXPECT_EQ(pool->kept_count(), 0u);
  pool->Reference(0);
  pool->Unguard(0);
  EXPECT_EQ(pool->available_count(), 0u);
  pool->Release(0);
  EXPECT_EQ(pool->kept_count(), 1u);
  pool->FreeKept(0);
  keeper.kept.clear();
  pool->SetKeeper(nullptr);
}

TEST(BlockPoolDeathTest, ReferenceAndReleaseNeedAHolder) {
  auto pool = BlockPool::Create(SmallLayout(), 1);
  ASSERT_TRUE(pool.ok());
  EXPECT_DEATH((*pool)->Reference(0), "check failed");
  EXPECT_DEATH((*pool)->Release(0), "check failed");
  EXPECT_DEATH((*pool)->ReferenceCount(1), "check failed");
}

}  // namespace
}  // namespace kvasir
