#include "kvasir/kv/open_blocks.h"

#include <algorithm>
#include <cstring>
#include <string>

#include "kvasir/base/check.h"
#include "kvasir/kv/block_table.h"

namespace kvasir {

OpenBlockCounts OpenBlockCounts::For(const KvBlockLayout& layout, size_t row_count,
                                     size_t sequence_count) {
  if (!layout.quantized()) return {};
  // q rows that begin in the last place of a group of n tokens reach (q + n - 2) / n groups
  // further; one row never does, two may.
  const size_t group_tokens = size_t{kKvBlockTokens} * layout.open_blocks;
  const size_t crossing = std::min(sequence_count, row_count / 2);
  const size_t groups = (row_count + (group_tokens - 2) * crossing) / group_tokens;
  return {sequence_count, groups * layout.open_blocks};
}

size_t OpenBlocks::ByteCount(const KvBlockLayout& layout, OpenBlockCounts counts) {
  if (!layout.quantized()) return 0;
  const KvBlockLayout open = layout.OpenLayout();
  return counts.slots * layout.open_blocks * open.LayerOffset(open.layer_count) +
         counts.staging * open.layer_bytes(0);
}

Result<OpenBlocks> OpenBlocks::Create(const KvBlockLayout& layout, OpenBlockCounts counts) {
  OpenBlocks open;
  open.layout_ = layout.OpenLayout();
  open.group_blocks_ = layout.open_blocks;
  open.slot_count_ = counts.slots;
  open.staging_count_ = counts.staging;
  KVASIR_ASSIGN_OR_RETURN(open.memory_, AlignedBuffer::Allocate(ByteCount(layout, counts)));
  for (size_t slot = counts.slots; slot-- > 0;) open.free_.push_back(int32_t(slot));
  return open;
}

Result<int32_t> OpenBlocks::Take() {
  if (free_.empty()) {
    return ResourceExhausted("all " + std::to_string(slot_count_) + " open KV blocks are in use");
  }
  const int32_t slot = free_.back();
  free_.pop_back();
  return slot;
}

void OpenBlocks::GiveBack(int32_t slot) {
  KVASIR_CHECK(slot >= 0 && size_t(slot) < slot_count_ && free_.size() < slot_count_);
  free_.push_back(slot);
}

void OpenBlocks::Copy(int32_t from, int32_t to) {
  std::memcpy(base() + size_t(to) * SlotBytes(), base() + size_t(from) * SlotBytes(), SlotBytes());
}

void OwnBlocks::Clear() {
  indptr_.assign(1, 0);
  slots_.clear();
  first_blocks_.clear();
  staging_count_ = 0;
}

void OwnBlocks::Add(const BlockTable& table, size_t token_count) {
  if (table.open_slot() < 0) return;  // not a quantised layout
  KVASIR_CHECK(token_count >= 1 && token_count <= table.token_count());
  const size_t group_blocks = table.open_block_count();
  const auto group_of = [&](size_t token) {
    return token / kKvBlockTokens / group_blocks * group_blocks;  // its first block
  };
  const size_t first = group_of(table.token_count() - token_count);
  const size_t last_group = group_of(table.token_count() - 1);
  for (size_t block = first; block < last_group; ++block) {
    slots_.push_back(-1 - int32_t(staging_count_++));
  }
  const size_t open_slot = size_t(table.open_slot()) * group_blocks;
  for (size_t block = last_group; block * kKvBlockTokens < table.token_count(); ++block) {
    slots_.push_back(int32_t(open_slot + block - last_group));
  }
  indptr_.push_back(int32_t(slots_.size()));
  first_blocks_.push_back(int32_t(first));
}

}  // namespace kvasir
