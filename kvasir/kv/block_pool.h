// BlockPool: the memory of all KV blocks, one arena of equal slots with reference counts. The
// attention kernels read and write the slots in place. A block is held by one or more block tables
// (count >= 1), kept (nobody holds it, but the keeper wants its contents) or free. Only a block
// with count 1 that was not published may be written. The whole arena is reserved at creation: its
// size is a bound. Engine thread only.
//
// A store that reads a block's bytes on another thread guards it meanwhile: its memory is given to
// nobody. A guard is not a hold: it says nothing of the blocks before it, and the keeper may give
// the block up as if there were none.

#ifndef KVASIR_KV_BLOCK_POOL_H_
#define KVASIR_KV_BLOCK_POOL_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "kvasir/base/aligned_buffer.h"
#include "kvasir/base/status.h"
#include "kvasir/formats/kv_block_layout.h"
#include "kvasir/kv/open_blocks.h"

namespace kvasir {

using BlockId = int32_t;

// Decides which blocks outlive their last holder, and which of them goes first when memory is
// needed: the prefix index. Called by the pool, on the engine thread.
class BlockKeeper {
 public:
  virtual ~BlockKeeper() = default;
  // The last holder has let go of `block`: true keeps it.
  virtual bool KeepReleased(BlockId block) = 0;
  // A kept block has a holder again.
  virtual void TakeBack(BlockId block) = 0;
  // Gives up one of the kept blocks and says which. REQUIRES one.
  virtual BlockId Evict() = 0;
};

class BlockPool {
 public:
  // kResourceExhausted when the memory cannot be had; kInvalidArgument for a layout or count of 0.
  // `open_counts` are of the blocks that are not encoded yet, for a layout that is quantised.
  static Result<std::unique_ptr<BlockPool>> Create(const KvBlockLayout& layout, size_t block_count,
                                                   OpenBlockCounts open_counts = {});

  const KvBlockLayout& layout() const { return layout_; }
  std::byte* base() const { return arena_.data(); }
  // Where blocks lie until they are encoded; empty when the layout is not quantised.
  OpenBlocks& open_blocks() { return open_blocks_; }
  const OpenBlocks& open_blocks() const { return open_blocks_; }
  size_t block_count() const { return references_.size(); }
  size_t free_count() const { return free_.size(); }
  size_t kept_count() const { return kept_count_; }  // those with a guard are not counted
  // Blocks that Allocate can give out: free and kept ones, without guards.
  size_t available_count() const { return free_.size() + kept_count_; }
  size_t guarded_count() const { return guarded_count_; }

  // Who decides from now on; null (as at first): every block is free when its last holder lets go.
  // REQUIRES that no block is kept.
  void SetKeeper(BlockKeeper* keeper);

  // A block with count 1; its bytes are those of its last use (zero at first). Free blocks first,
  // then the keeper evicts. kResourceExhausted when none is available.
  Result<BlockId> Allocate();
  // One more holder. REQUIRES a block that is held or kept.
  void Reference(BlockId block);
  // One holder less; without one the block is kept or free. REQUIRES count >= 1.
  void Release(BlockId block);
  // The keeper gives up `block` by itself. REQUIRES a kept block.
  void FreeKept(BlockId block);
  uint32_t ReferenceCount(BlockId block) const;
  // Until Unguard the block's bytes stay as they are, whoever lets go of it. REQUIRES a complete
  // block that is held or kept, and no guard yet.
  void Guard(BlockId block);
  void Unguard(BlockId block);
  bool IsGuarded(BlockId block) const { return guarded_[size_t(block)]; }
  // How often each block was handed out by Allocate, [block_count()]: what somebody knows of a
  // block's bytes beside the blocks holds no longer than its number stays. Valid as long as the
  // pool.
  std::span<const uint64_t> allocation_counts() const { return allocation_counts_; }

 private:
  BlockPool() = default;

  // A block without holders and guards joins the kept or the free ones.
  void MakeAvailable(BlockId block);

  KvBlockLayout layout_;
  AlignedBuffer arena_;
  OpenBlocks open_blocks_;
  BlockKeeper* keeper_ = nullptr;
  std::vector<uint32_t> references_;         // by block
  std::vector<uint64_t> allocation_counts_;  // by block
  std::vector<bool> kept_;                   // by block
  std::vector<bool> guarded_;                // by block
  size_t kept_count_ = 0;                    // of the kept ones without a guard
  size_t guarded_count_ = 0;
  std::vector<BlockId> free_;  // a stack: the block used last is the warmest
};

}  // namespace kvasir

#endif  // KVASIR_KV_BLOCK_POOL_H_
