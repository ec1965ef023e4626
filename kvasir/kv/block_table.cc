#include "kvasir/kv/block_table.h"

#include <cstring>
#include <string>
#include <utility>

#include "kvasir/base/check.h"

namespace kvasir {

namespace {

size_t BlocksFor(size_t token_count) { return (token_count + kKvBlockTokens - 1) / kKvBlockTokens; }

}  // namespace

BlockTable::BlockTable(BlockTable&& other) noexcept
    : pool_(other.pool_),
      blocks_(std::move(other.blocks_)),
      token_count_(std::exchange(other.token_count_, 0)),
      open_slot_(std::exchange(other.open_slot_, -1)) {
  other.blocks_.clear();
}

BlockTable& BlockTable::operator=(BlockTable&& other) noexcept {
  if (this == &other) return *this;
  Clear();
  pool_ = other.pool_;
  blocks_.swap(other.blocks_);
  token_count_ = std::exchange(other.token_count_, 0);
  open_slot_ = std::exchange(other.open_slot_, -1);
  return *this;
}

size_t BlockTable::last_block_token_count() const {
  return token_count_ == 0 ? 0 : (token_count_ - 1) % kKvBlockTokens + 1;
}

bool BlockTable::OpenBlockIsShared() const {
  return token_count_ % kKvBlockTokens != 0 && pool_->ReferenceCount(blocks_.back()) > 1;
}

size_t BlockTable::BlocksNeeded(size_t token_count) const {
  if (token_count == 0) return 0;
  return BlocksFor(token_count_ + token_count) - blocks_.size() + (OpenBlockIsShared() ? 1 : 0);
}

Status BlockTable::Extend(size_t count) {
  const size_t needed = BlocksNeeded(count);
  if (needed > pool_->available_count()) {
    return ResourceExhausted(std::to_string(count) + " more tokens need " + std::to_string(needed) +
                             " KV blocks, " + std::to_string(pool_->available_count()) + " of " +
                             std::to_string(pool_->block_count()) + " are free");
  }
  if (count == 0) return OkStatus();
  const bool quantized = pool_->layout().quantized();
  if (quantized && open_slot_ < 0) {
    KVASIR_ASSIGN_OR_RETURN(open_slot_, pool_->open_blocks().Take());
  }
  if (OpenBlockIsShared()) {
    KVASIR_ASSIGN_OR_RETURN(const BlockId copy, pool_->Allocate());
    const size_t block_bytes = pool_->layout().block_bytes();
    if (!quantized) {  // of a quantised block nothing is written before it is complete
      std::memcpy(pool_->base() + size_t(copy) * block_bytes,
                  pool_->base() + size_t(blocks_.back()) * block_bytes, block_bytes);
    }
    pool_->Release(blocks_.back());
    blocks_.back() = copy;
  }
  const size_t block_count = BlocksFor(token_count_ + count);
  while (blocks_.size() < block_count) {
    KVASIR_ASSIGN_OR_RETURN(const BlockId block, pool_->Allocate());
    blocks_.push_back(block);
  }
  token_count_ += count;
  return OkStatus();
}

void BlockTable::AppendShared(std::span<const BlockId> shared) {
  if (shared.empty()) return;
  Truncate(complete_block_count() * kKvBlockTokens);
  for (const BlockId block : shared) {
    pool_->Reference(block);
    blocks_.push_back(block);
  }
  token_count_ += shared.size() * kKvBlockTokens;
  KVASIR_CHECK(blocks_.size() % open_block_count() == 0);
}

void BlockTable::Replace(size_t index, BlockId same) {
  KVASIR_CHECK(index < complete_block_count());
  pool_->Reference(same);
  pool_->Release(blocks_[index]);
  blocks_[index] = same;
}

void BlockTable::Truncate(size_t token_count) {
  KVASIR_CHECK(token_count <= token_count_);
  const size_t block_count = BlocksFor(token_count);
  // From the end, so that the pool hands the blocks out again in the order they had here.
  while (blocks_.size() > block_count) {
    pool_->Release(blocks_.back());
    blocks_.pop_back();
  }
  token_count_ = token_count;
}

BlockTable BlockTable::Fork() const {
  BlockTable fork(*pool_);
  fork.blocks_ = blocks_;
  fork.token_count_ = token_count_;
  for (const BlockId block : blocks_) pool_->Reference(block);
  if (open_slot_ >= 0) {
    auto slot = pool_->open_blocks().Take();
    KVASIR_CHECK(slot.ok());
    fork.open_slot_ = slot.value();
    pool_->open_blocks().Copy(open_slot_, fork.open_slot_);
  }
  return fork;
}

void BlockTable::Clear() {
  Truncate(0);
  if (open_slot_ >= 0) pool_->open_blocks().GiveBack(std::exchange(open_slot_, -1));
}

}  // namespace kvasir
