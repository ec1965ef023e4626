#include "kvasir/kv/prefix_index.h"

#include <algorithm>

#include "kvasir/base/check.h"

namespace kvasir {

PrefixIndex::PrefixIndex(BlockPool& pool)
    : pool_(pool), nodes_(pool.block_count()), policy_(pool.block_count()) {
  pool_.SetKeeper(this);
}

PrefixIndex::~PrefixIndex() {
  DropAll();
  pool_.SetKeeper(nullptr);
}

void PrefixIndex::Match(BlockId parent, std::span<const BlockKey> keys,
                        std::span<const TokenId> tokens, std::vector<BlockId>* blocks) const {
  KVASIR_CHECK(tokens.size() >= keys.size() * kKvBlockTokens);
  for (size_t i = 0; i < keys.size(); ++i) {
    const auto found = blocks_by_key_.find(keys[i]);
    if (found == blocks_by_key_.end()) return;
    const Entry& entry = nodes_[size_t(found->second)].entry;
    if (entry.parent != parent || !std::equal(entry.tokens.begin(), entry.tokens.end(),
                                              tokens.begin() + ptrdiff_t(i * kKvBlockTokens))) {
      return;
    }
    parent = found->second;
    blocks->push_back(parent);
  }
}

void PrefixIndex::CountUse(std::span<const BlockId> blocks) {
  for (const BlockId block : blocks) {
    KVASIR_CHECK(Knows(block));
    if (!node(block).idle) policy_.Use(EvictionPolicy::Item(block));
  }
}

PrefixIndex::Published PrefixIndex::Publish(std::string_view salt, BlockId parent,
                                            const BlockKey& key, std::span<const TokenId> tokens,
                                            BlockId block, BlockId* known) {
  KVASIR_CHECK(tokens.size() == kKvBlockTokens && pool_.ReferenceCount(block) >= 1);
  KVASIR_CHECK(!Knows(block));
  if (parent != kNoBlock && !Knows(parent)) return Published::kOrphan;
  if (const auto found = blocks_by_key_.find(key); found != blocks_by_key_.end()) {
    const Entry& other = nodes_[size_t(found->second)].entry;
    if (other.parent != parent || !std::equal(tokens.begin(), tokens.end(), other.tokens.begin())) {
      return Published::kOrphan;
    }
    *known = found->second;
    return Published::kKnown;
  }
  const auto root = roots_.try_emplace(std::string(salt), Root{std::string(salt)}).first;
  Node& n = node(block);
  n = Node{.known = true};
  n.entry.parent = parent;
  n.entry.key = key;
  std::copy(tokens.begin(), tokens.end(), n.entry.tokens.begin());
  n.entry.depth = parent == kNoBlock ? 0 : node(parent).entry.depth + 1;
  n.entry.salt = root->second.salt;
  blocks_by_key_.emplace(key, block);
  Link(block);
  const auto item = EvictionPolicy::Item(block);
  policy_.Insert(item, KeyHash()(key),
                 parent == kNoBlock ? EvictionPolicy::kNone : EvictionPolicy::Item(parent), 1);
  policy_.Hold(item);
  ++stored_count_;
  return Published::kStored;
}

BlockId PrefixIndex::Find(const BlockKey& key) const {
  const auto found = blocks_by_key_.find(key);
  return found == blocks_by_key_.end() ? kNoBlock : found->second;
}

void PrefixIndex::Pin(BlockId block) {
  KVASIR_CHECK(Knows(block));
  ++node(block).entry.own_pin_count;
  for (BlockId b = block; b != kNoBlock; b = node(b).entry.parent) {
    if (node(b).entry.pin_count++ == 0) ++pinned_block_count_;
    pool_.Reference(b);
  }
}

void PrefixIndex::Unpin(BlockId block) {
  KVASIR_CHECK(Knows(block) && node(block).entry.own_pin_count > 0);
  --node(block).entry.own_pin_count;
  for (BlockId b = block; b != kNoBlock; b = node(b).entry.parent) {
    if (--node(b).entry.pin_count == 0) --pinned_block_count_;
    pool_.Release(b);
  }
}

size_t PrefixIndex::Drop(BlockId block) {
  KVASIR_CHECK(Knows(block));
  // Depth first without recursion: prefixes are as long as contexts.
  size_t count = 0;
  BlockId b = block;
  for (;;) {
    while (node(b).first_child != kNoBlock) b = node(b).first_child;
    const BlockId parent = node(b).entry.parent;
    while (node(b).entry.own_pin_count > 0) Unpin(b);
    const bool idle = node(b).idle;
    Remove(b, false);
    if (idle) pool_.FreeKept(b);
    ++count;
    if (b == block) return count;
    b = parent;
  }
}

size_t PrefixIndex::DropSalt(std::string_view salt) {
  size_t count = 0;
  for (auto root = roots_.find(std::string(salt)); root != roots_.end();
       root = roots_.find(std::string(salt))) {
    count += Drop(root->second.first_child);
  }
  return count;
}

size_t PrefixIndex::DropAll() {
  size_t count = 0;
  while (!roots_.empty()) count += Drop(roots_.begin()->second.first_child);
  return count;
}

const PrefixIndex::Entry& PrefixIndex::entry(BlockId block) const {
  KVASIR_CHECK(Knows(block));
  return nodes_[size_t(block)].entry;
}

std::vector<BlockId> PrefixIndex::Ends() const {
  std::vector<BlockId> ends;
  for (size_t block = 0; block < nodes_.size(); ++block) {
    const Node& n = nodes_[block];
    if (n.known && (n.first_child == kNoBlock || n.entry.own_pin_count > 0)) {
      ends.push_back(BlockId(block));
    }
  }
  const auto time = [&](BlockId block) {
    const Node& n = nodes_[size_t(block)];
    return n.idle ? n.entry.last_release : release_count_ + 1;
  };
  std::stable_sort(ends.begin(), ends.end(),
                   [&](BlockId a, BlockId b) { return time(a) > time(b); });
  return ends;
}

bool PrefixIndex::KeepReleased(BlockId block) {
  Node& n = node(block);
  if (!n.known) return false;
  n.idle = true;
  n.entry.last_release = ++release_count_;
  policy_.Release(EvictionPolicy::Item(block));
  return true;
}

void PrefixIndex::TakeBack(BlockId block) {
  policy_.Use(EvictionPolicy::Item(block));
  policy_.Hold(EvictionPolicy::Item(block));
  node(block).idle = false;
}

BlockId PrefixIndex::Evict() {
  const EvictionPolicy::Item victim = policy_.Victim();
  KVASIR_CHECK(victim != EvictionPolicy::kNone);
  const BlockId block = BlockId(victim);
  Remove(block, true);
  ++evicted_count_;
  return block;
}

BlockId& PrefixIndex::FirstChildOf(const Entry& entry) {
  if (entry.parent != kNoBlock) return node(entry.parent).first_child;
  return roots_.find(std::string(entry.salt))->second.first_child;
}

void PrefixIndex::Link(BlockId block) {
  Node& n = node(block);
  BlockId& first = FirstChildOf(n.entry);
  n.next_sibling = first;
  if (first != kNoBlock) node(first).previous_sibling = block;
  first = block;
}

void PrefixIndex::Remove(BlockId block, bool remember) {
  Node& n = node(block);
  KVASIR_CHECK(n.known && n.first_child == kNoBlock && n.entry.pin_count == 0);
  policy_.Remove(EvictionPolicy::Item(block), remember);
  blocks_by_key_.erase(n.entry.key);
  if (n.next_sibling != kNoBlock) node(n.next_sibling).previous_sibling = n.previous_sibling;
  BlockId& first = FirstChildOf(n.entry);
  if (first == block) {
    first = n.next_sibling;
  } else {
    node(n.previous_sibling).next_sibling = n.next_sibling;
  }
  const BlockId parent = n.entry.parent;
  if (parent == kNoBlock && first == kNoBlock) roots_.erase(std::string(n.entry.salt));
  n = Node();
}

}  // namespace kvasir
