#include "kvasir/kv/block_pool.h"

#include <gtest/gtest.h>

#include <cstring>
#include <set>

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

TEST(BlockPoolDeathTest, ReferenceAndReleaseNeedAHolder) {
  auto pool = BlockPool::Create(SmallLayout(), 1);
  ASSERT_TRUE(pool.ok());
  EXPECT_DEATH((*pool)->Reference(0), "check failed");
  EXPECT_DEATH((*pool)->Release(0), "check failed");
  EXPECT_DEATH((*pool)->ReferenceCount(1), "check failed");
}

}  // namespace
}  // namespace kvasir
