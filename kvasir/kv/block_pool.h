// BlockPool: the memory of all KV blocks, one arena of equal slots with reference counts. The
// attention kernels read and write the slots in place. A block is free (count 0) or held by one or
// more block tables; only a block with count 1 may be written. The whole arena is reserved at
// creation: its size is a bound. Engine thread only.

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

namespace kvasir {

using BlockId = int32_t;

class BlockPool {
 public:
  // kResourceExhausted when the memory cannot be had; kInvalidArgument for a layout or count of 0.
  static Result<std::unique_ptr<BlockPool>> Create(const KvBlockLayout& layout, size_t block_count);

  const KvBlockLayout& layout() const { return layout_; }
  std::byte* base() const { return arena_.data(); }
  size_t block_count() const { return references_.size(); }
  size_t free_count() const { return free_.size(); }

  // A block with count 1; its bytes are those of its last use (zero at first). kResourceExhausted
  // when none is free.
  Result<BlockId> Allocate();
  // One more holder. REQUIRES count >= 1.
  void Reference(BlockId block);
  // One holder less; at 0 the block is free. REQUIRES count >= 1.
  void Release(BlockId block);
  uint32_t ReferenceCount(BlockId block) const;
  // How often each block was handed out by Allocate, [block_count()]: what somebody knows of a
  // block's bytes beside the blocks holds no longer than its number stays. Valid as long as the
  // pool.
  std::span<const uint64_t> allocation_counts() const { return allocation_counts_; }

 private:
  BlockPool() = default;

  KvBlockLayout layout_;
  AlignedBuffer arena_;
  std::vector<uint32_t> references_;         // by block
  std::vector<uint64_t> allocation_counts_;  // by block
  std::vector<BlockId> free_;                // a stack: the block used last is the warmest
};

}  // namespace kvasir

#endif  // KVASIR_KV_BLOCK_POOL_H_
