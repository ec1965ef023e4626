// PrefixIndex: which sealed blocks hold which tokens: a forest of blocks, a root for each salt, a
// child for each block that was seen to follow another. Finds the longest known beginning of a
// sequence, and keeps blocks that nobody holds any more until the pool needs their memory: those
// first that are least likely to be used again (EvictionPolicy), children before their parents.
// Token ids are compared on every hit: equal keys alone are not believed. Engine thread only.
//
// Every ancestor of a block that is held or pinned is held or pinned too: who takes a block takes
// all before it. So the blocks with no holder can all be evicted, leaves first.

#ifndef KVASIR_KV_PREFIX_INDEX_H_
#define KVASIR_KV_PREFIX_INDEX_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "kvasir/base/eviction_policy.h"
#include "kvasir/formats/kv_block_layout.h"
#include "kvasir/formats/token_id.h"
#include "kvasir/kv/block_key.h"
#include "kvasir/kv/block_pool.h"

namespace kvasir {

inline constexpr BlockId kNoBlock = -1;

class PrefixIndex final : public BlockKeeper {
 public:
  // Becomes the keeper of `pool`, which must outlive the index.
  explicit PrefixIndex(BlockPool& pool);
  ~PrefixIndex() override;
  PrefixIndex(const PrefixIndex&) = delete;
  PrefixIndex& operator=(const PrefixIndex&) = delete;

  // Appends to *blocks the longest known chain behind `parent` (kNoBlock: from the start): at most
  // keys.size() blocks, the i-th with keys[i] and the i-th kKvBlockTokens of `tokens`. They may be
  // evicted by the next Allocate unless they are referenced before. REQUIRES tokens for all keys.
  void Match(BlockId parent, std::span<const BlockKey> keys, std::span<const TokenId> tokens,
             std::vector<BlockId>* blocks) const;

  // Says that somebody takes these blocks of Match: those that others hold count as used once more.
  // Of blocks that nobody holds, being referenced says so. Call it before they are referenced.
  void CountUse(std::span<const BlockId> blocks);

  enum class Published { kStored, kKnown, kOrphan };
  // Makes `block` findable as the child of `parent`, or, when that is kNoBlock, as the first block
  // under `salt`. kKnown: another block has the same key and tokens, *known says which. kOrphan:
  // the parent is not (or no longer) findable, or the key belongs to other tokens; nothing happens.
  // REQUIRES a sealed block that is held.
  Published Publish(std::string_view salt, BlockId parent, const BlockKey& key,
                    std::span<const TokenId> tokens, BlockId block, BlockId* known);

  // The block with this key, kNoBlock when there is none.
  BlockId Find(const BlockKey& key) const;
  // Pins a block and all before it: a pin holds a reference. Pins count.
  void Pin(BlockId block);
  // REQUIRES a pin of this very block.
  void Unpin(BlockId block);
  // Forgets a block and all that follow it, pins of them too; blocks that are held stay with their
  // holders. Returns how many.
  size_t Drop(BlockId block);
  // The same for all blocks under a salt, and for all.
  size_t DropSalt(std::string_view salt);
  size_t DropAll();

  // What is known of a block that is findable.
  struct Entry {
    BlockId parent = kNoBlock;
    BlockKey key;
    std::array<TokenId, kKvBlockTokens> tokens = {};
    uint32_t depth = 0;          // blocks before it
    uint32_t pin_count = 0;      // pins of it or of blocks behind it
    uint32_t own_pin_count = 0;  // of these, pins of this very block
    uint64_t last_release = 0;   // rises with time; 0 = never released
    std::string_view salt;       // valid as long as the entry
  };
  bool Knows(BlockId block) const { return nodes_[size_t(block)].known; }
  // Whether it is findable and pinned, itself or by a block behind it.
  bool IsPinned(BlockId block) const { return nodes_[size_t(block)].entry.pin_count > 0; }
  // REQUIRES Knows(block); valid until the next call that is not const.
  const Entry& entry(BlockId block) const;
  // The blocks that nothing follows and those pinned themselves, the ones in use first, then the
  // most recently released.
  std::vector<BlockId> Ends() const;

  size_t block_count() const { return blocks_by_key_.size(); }
  size_t pinned_block_count() const { return pinned_block_count_; }
  uint64_t stored_count() const { return stored_count_; }    // Publish said kStored
  uint64_t evicted_count() const { return evicted_count_; }  // to make room

  // BlockKeeper: called by the pool.
  bool KeepReleased(BlockId block) override;
  void TakeBack(BlockId block) override;
  BlockId Evict() override;

 private:
  struct KeyHash {
    size_t operator()(const BlockKey& key) const {
      size_t hash;  // any bytes of a cryptographic hash are a hash
      std::memcpy(&hash, key.bytes.data(), sizeof(hash));
      return hash;
    }
  };
  struct Node {
    Entry entry = {};
    bool known = false;
    bool idle = false;  // nobody holds it
    // The tree: children as a doubly linked list.
    BlockId first_child = kNoBlock;
    BlockId next_sibling = kNoBlock;
    BlockId previous_sibling = kNoBlock;
  };
  struct Root {
    std::string salt;
    BlockId first_child = kNoBlock;
  };

  Node& node(BlockId block) { return nodes_[size_t(block)]; }
  BlockId& FirstChildOf(const Entry& entry);
  void Link(BlockId block);
  // Takes a leaf out of tree and map; `remember` its key when it may well come back. The memory
  // stays whose it is.
  void Remove(BlockId block, bool remember);

  BlockPool& pool_;
  std::vector<Node> nodes_;  // by block
  std::unordered_map<BlockKey, BlockId, KeyHash> blocks_by_key_;
  std::unordered_map<std::string, Root> roots_;  // by salt
  // Its items are the known blocks, each held as long as somebody holds the block.
  EvictionPolicy policy_;
  uint64_t release_count_ = 0;
  size_t pinned_block_count_ = 0;
  uint64_t stored_count_ = 0;
  uint64_t evicted_count_ = 0;
};

}  // namespace kvasir

#endif  // KVASIR_KV_PREFIX_INDEX_H_
