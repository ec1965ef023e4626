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
  // q rows that begin in the last place of a block reach (q + 30) / 32 blocks further; one row
  // never does, two may.
  const size_t crossing = std::min(sequence_count, row_count / 2);
  return {sequence_count, (row_count + 30 * crossing) / kKvBlockTokens};
}

size_t OpenBlocks::ByteCount(const KvBlockLayout& layout, OpenBlockCounts counts) {
  if (!layout.quantized()) return 0;
  const KvBlockLayout open = layout.OpenLayout();
  return counts.slots * open.LayerOffset(open.layer_count) + counts.staging * open.layer_bytes(0);
}

Result<OpenBlocks> OpenBlocks::Create(const KvBlockLayout& layout, OpenBlockCounts counts) {
  OpenBlocks open;
  open.layout_ = layout.OpenLayout();
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
  const size_t first = (table.token_count() - token_count) / kKvBlockTokens;
  const size_t last = (table.token_count() - 1) / kKvBlockTokens;
  for (size_t block = first; block < last; ++block) {
    slots_.push_back(-1 - int32_t(staging_count_++));
  }
  slots_.push_back(table.open_slot());
  indptr_.push_back(int32_t(slots_.size()));
  first_blocks_.push_back(int32_t(first));
}

}  // namespace kvasir
