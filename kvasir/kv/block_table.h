// BlockTable: the blocks of one sequence, in order, and how many tokens they hold. Owns one
// reference to each block and releases them when it dies. Complete blocks may be shared with other
// tables; what is appended goes to blocks of its own. In a pool of quantised blocks it also holds
// an open slot (open_blocks.h) from its first tokens on, where its last group of blocks lies until
// that is complete. Engine thread only.

#ifndef KVASIR_KV_BLOCK_TABLE_H_
#define KVASIR_KV_BLOCK_TABLE_H_

#include <cstddef>
#include <span>
#include <vector>

#include "kvasir/base/status.h"
#include "kvasir/kv/block_pool.h"

namespace kvasir {

class BlockTable {
 public:
  // `pool` must outlive the table.
  explicit BlockTable(BlockPool& pool) : pool_(&pool) {}
  ~BlockTable() { Clear(); }
  BlockTable(BlockTable&& other) noexcept;
  BlockTable& operator=(BlockTable&& other) noexcept;

  size_t token_count() const { return token_count_; }
  size_t complete_block_count() const { return token_count_ / kKvBlockTokens; }
  std::span<const BlockId> blocks() const { return blocks_; }
  // Tokens in the last block: 1..32, or 0 for an empty table.
  size_t last_block_token_count() const;

  // The slot of the last group of blocks, or -1: the table is empty or its blocks are not
  // quantised.
  int32_t open_slot() const { return open_slot_; }
  // Blocks of a group.
  size_t open_block_count() const { return pool_->layout().open_blocks; }

  // Blocks that Extend(count) would allocate.
  size_t BlocksNeeded(size_t token_count) const;
  // Makes room for `count` more tokens, which the model is about to append. All or nothing:
  // kResourceExhausted leaves the table as it was. A shared open block is copied first, so that it
  // may be written.
  Status Extend(size_t count);
  // Goes on with `shared` complete blocks that somebody else computed. Tokens of an incomplete last
  // block are forgotten first: the shared blocks stand in their place. REQUIRES that a whole
  // number of groups (KvBlockLayout::open_blocks) is held then: of a part of one nobody has the
  // unencoded numbers.
  void AppendShared(std::span<const BlockId> shared);
  // Puts a block with the same contents in the place of the complete block `index`.
  void Replace(size_t index, BlockId same);
  // Forgets tokens from the end, releasing blocks that hold none. Where blocks are quantised, what
  // is left of a group of blocks that is cut before the last one is lost, too: the unencoded
  // numbers that its tokens read were not kept. REQUIRES token_count <= token_count().
  void Truncate(size_t token_count);
  // A second table over the same blocks (n > 1, beams): costs references only, and a copy of the
  // open slot. REQUIRES a free one.
  BlockTable Fork() const;
  void Clear();

 private:
  // Whether the last block is incomplete and has other holders: it is copied before it is written.
  bool OpenBlockIsShared() const;

  BlockPool* pool_;
  std::vector<BlockId> blocks_;
  size_t token_count_ = 0;
  int32_t open_slot_ = -1;
};

}  // namespace kvasir

#endif  // KVASIR_KV_BLOCK_TABLE_H_
