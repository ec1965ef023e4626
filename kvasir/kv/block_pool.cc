#include "kvasir/kv/block_pool.h"

#include <algorithm>
#include <limits>
#include <string>
#include <utility>

#include "kvasir/base/check.h"

namespace kvasir {

Result<std::unique_ptr<BlockPool>> BlockPool::Create(const KvBlockLayout& layout,
                                                     size_t block_count,
                                                     OpenBlockCounts open_counts) {
  if (layout.layer_count == 0 || layout.kv_head_count == 0 || layout.head_dim == 0) {
    return InvalidArgument("a KV block layout needs at least one layer, KV head and dimension");
  }
  constexpr size_t kBlockCountMax = std::numeric_limits<BlockId>::max();
  if (block_count == 0 || block_count > kBlockCountMax) {
    return InvalidArgument("block_count is " + std::to_string(block_count) + ", allowed is 1 to " +
                           std::to_string(kBlockCountMax));
  }
  size_t arena_bytes = 0;
  if (__builtin_mul_overflow(layout.block_bytes(), block_count, &arena_bytes)) {
    return ResourceExhausted(std::to_string(block_count) + " KV blocks of " +
                             std::to_string(layout.block_bytes()) +
                             " bytes exceed the address space");
  }
  std::unique_ptr<BlockPool> pool(new BlockPool);
  pool->layout_ = layout;
  KVASIR_ASSIGN_OR_RETURN(pool->arena_, AlignedBuffer::Allocate(arena_bytes));
  if (layout.quantized()) {
    KVASIR_ASSIGN_OR_RETURN(pool->open_blocks_, OpenBlocks::Create(layout, open_counts));
  }
  pool->references_.assign(block_count, 0);
  pool->kept_.assign(block_count, false);
  pool->guarded_.assign(block_count, false);
  pool->allocation_counts_.assign(block_count, 0);
  // Filled backwards, so that a fresh pool hands out its blocks in rising order.
  pool->free_.reserve(block_count);
  for (size_t block = block_count; block-- > 0;) pool->free_.push_back(BlockId(block));
  return pool;
}

void BlockPool::SetKeeper(BlockKeeper* keeper) {
  KVASIR_CHECK(std::find(kept_.begin(), kept_.end(), true) == kept_.end());
  keeper_ = keeper;
}

Result<BlockId> BlockPool::Allocate() {
  if (available_count() == 0) {
    return ResourceExhausted("all " + std::to_string(block_count()) + " KV blocks are in use");
  }
  // What has a guard frees no memory when it is given up. The others can all be given up in turn.
  while (free_.empty()) FreeKept(keeper_->Evict());
  const BlockId block = free_.back();
  free_.pop_back();
  references_[size_t(block)] = 1;
  ++allocation_counts_[size_t(block)];
  return block;
}

void BlockPool::Reference(BlockId block) {
  if (ReferenceCount(block) == 0) {
    KVASIR_CHECK(kept_[size_t(block)]);
    kept_[size_t(block)] = false;
    kept_count_ -= !IsGuarded(block);
    keeper_->TakeBack(block);
  }
  ++references_[size_t(block)];
}

void BlockPool::Release(BlockId block) {
  KVASIR_CHECK(ReferenceCount(block) >= 1);
  if (--references_[size_t(block)] > 0) return;
  kept_[size_t(block)] = keeper_ != nullptr && keeper_->KeepReleased(block);
  if (!IsGuarded(block)) MakeAvailable(block);
}

void BlockPool::FreeKept(BlockId block) {
  KVASIR_CHECK(ReferenceCount(block) == 0 && kept_[size_t(block)]);
  kept_[size_t(block)] = false;
  if (IsGuarded(block)) return;
  --kept_count_;
  free_.push_back(block);
}

void BlockPool::Guard(BlockId block) {
  KVASIR_CHECK((ReferenceCount(block) > 0 || kept_[size_t(block)]) && !IsGuarded(block));
  kept_count_ -= kept_[size_t(block)];
  guarded_[size_t(block)] = true;
  ++guarded_count_;
}

void BlockPool::Unguard(BlockId block) {
  KVASIR_CHECK(IsGuarded(block));
  guarded_[size_t(block)] = false;
  --guarded_count_;
  if (ReferenceCount(block) == 0) MakeAvailable(block);
}

void BlockPool::MakeAvailable(BlockId block) {
  if (kept_[size_t(block)]) {
    ++kept_count_;
  } else {
    free_.push_back(block);
  }
}

uint32_t BlockPool::ReferenceCount(BlockId block) const {
  KVASIR_CHECK(block >= 0 && size_t(block) < references_.size());
  return references_[size_t(block)];
}

}  // namespace kvasir
