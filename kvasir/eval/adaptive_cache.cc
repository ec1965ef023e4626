#include "kvasir/eval/adaptive_cache.h"

#include "kvasir/eval/block_caches.h"

namespace kvasir {

AdaptiveCache::AdaptiveCache(size_t capacity_blocks)
    : policy_(capacity_blocks), blocks_(capacity_blocks) {
  for (size_t item = capacity_blocks; item-- > 0;) free_.push_back(Item(item));
}

bool AdaptiveCache::Use(std::span<const uint32_t> request, size_t index, bool admits) {
  const uint32_t block = request[index];
  if (const auto known = items_.find(block); known != items_.end()) {
    policy_.Use(known->second);
    Hold(known->second);
    return false;
  }
  const auto parent = index == 0 ? items_.end() : items_.find(request[index - 1]);
  const bool follows = index == 0 || parent != items_.end();
  if (admits && follows && Insert(block, index == 0 ? EvictionPolicy::kNone : parent->second)) {
    return true;
  }
  policy_.NoteAbsent(ReplayKey(block));
  return false;
}

void AdaptiveCache::EndRequest() {
  for (const Item item : held_) policy_.Release(item);
  held_.clear();
}

bool AdaptiveCache::Insert(uint32_t block, Item parent) {
  if (free_.empty()) {
    const Item victim = policy_.Victim();
    if (victim == EvictionPolicy::kNone) return false;
    items_.erase(blocks_[victim]);
    policy_.Remove(victim, true);
    free_.push_back(victim);
  }
  const Item item = free_.back();
  free_.pop_back();
  items_.emplace(block, item);
  blocks_[item] = block;
  policy_.Insert(item, ReplayKey(block), parent, 1);
  Hold(item);
  return true;
}

void AdaptiveCache::Hold(Item item) {
  policy_.Hold(item);
  held_.push_back(item);
}

}  // namespace kvasir
