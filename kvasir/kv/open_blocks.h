// OpenBlocks: where the blocks of a quantised layout lie until they are complete and encoded, and
// as long as tokens of their group read them (KvBlockLayout::open_blocks): bf16 slots of all
// layers, one of a whole group for each block table that holds tokens, and staging slots of one
// layer and block for the groups that a single batch leaves behind. Beside the pool, which owns it;
// reserved at creation, so its size is a bound. Engine thread only; the kernels write into the
// slots.

#ifndef KVASIR_KV_OPEN_BLOCKS_H_
#define KVASIR_KV_OPEN_BLOCKS_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "kvasir/base/aligned_buffer.h"
#include "kvasir/base/status.h"
#include "kvasir/formats/kv_block_layout.h"

namespace kvasir {

class BlockTable;

struct OpenBlockCounts {
  size_t slots = 0;    // tables that hold tokens at the same time
  size_t staging = 0;  // blocks that rows of one batch lie in, the last group of each aside

  // For batches of up to `row_count` rows of up to `sequence_count` tables. None for a layout that
  // is not quantised.
  static OpenBlockCounts For(const KvBlockLayout& layout, size_t row_count, size_t sequence_count);
};

class OpenBlocks {
 public:
  OpenBlocks() = default;
  // Slots for blocks of `layout`, which is quantised. kResourceExhausted when the memory cannot be
  // had.
  static Result<OpenBlocks> Create(const KvBlockLayout& layout, OpenBlockCounts counts);
  static size_t ByteCount(const KvBlockLayout& layout, OpenBlockCounts counts);

  // The bf16 layout of a slot's blocks, of all layers.
  const KvBlockLayout& layout() const { return layout_; }
  std::byte* base() const { return memory_.data(); }  // of the slots, one behind another
  std::byte* staging_base() const { return memory_.data() + slot_count_ * SlotBytes(); }
  size_t staging_count() const { return staging_count_; }

  // A slot, with the bytes of its last use. kResourceExhausted when all are taken.
  Result<int32_t> Take();
  void GiveBack(int32_t slot);
  void Copy(int32_t from, int32_t to);

 private:
  size_t SlotBytes() const { return group_blocks_ * layout_.LayerOffset(layout_.layer_count); }

  KvBlockLayout layout_;
  size_t group_blocks_ = 1;
  size_t slot_count_ = 0;
  size_t staging_count_ = 0;
  AlignedBuffer memory_;
  std::vector<int32_t> free_;  // a stack
};

// The blocks that the rows of a batch lie in, as attention wants to know them (OpenKv). Kept for
// its memory.
class OwnBlocks {
 public:
  void Clear();
  // Of the next sequence of the batch, whose table was extended by its last `token_count` tokens.
  void Add(const BlockTable& table, size_t token_count);

  std::span<const int32_t> indptr() const { return indptr_; }
  std::span<const int32_t> slots() const { return slots_; }
  std::span<const int32_t> first_blocks() const { return first_blocks_; }
  size_t staging_count() const { return staging_count_; }

 private:
  std::vector<int32_t> indptr_ = {0};
  std::vector<int32_t> slots_;
  std::vector<int32_t> first_blocks_;
  size_t staging_count_ = 0;
};

}  // namespace kvasir

#endif  // KVASIR_KV_OPEN_BLOCKS_H_
