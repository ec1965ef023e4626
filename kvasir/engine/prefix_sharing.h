// PrefixSharing: how sequences come to share blocks: what the scheduler is told of it, taking over
// blocks that are known, publishing blocks that are complete. Without a cache nothing is shared.
// The engine owns it; engine thread only.
//
// Only complete blocks before a sequence's last token are taken over: the last one is always
// computed, for its logits. A block is taken over only behind blocks that the index knows as the
// sequence's own, so that whoever holds a block holds all before it.

#ifndef KVASIR_ENGINE_PREFIX_SHARING_H_
#define KVASIR_ENGINE_PREFIX_SHARING_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <unordered_map>
#include <vector>

#include "kvasir/engine/scheduler.h"
#include "kvasir/engine/sequence.h"
#include "kvasir/kv/block_pool.h"
#include "kvasir/kv/prefix_cache.h"
#include "kvasir/kv/tier_manager.h"

namespace kvasir {

class PrefixSharing {
 public:
  // `cache` and `tiers` may be null; all must outlive the object. `prompts_only`: blocks that hold
  // generated tokens are not published, because reading the same tokens as a prompt would give
  // other keys and values (block selection is for decode rows alone).
  PrefixSharing(PrefixCache* cache, TierManager* tiers, const BlockPool& pool,
                bool prompts_only = false);

  // Takes over what is known behind the complete blocks that the sequence holds.
  struct Adopted {
    size_t block_count = 0;
    size_t loaded_block_count = 0;  // of these, from the store
  };
  Adopted Adopt(Sequence& sequence);

  // What the sequence could take over if the cache had it, behind what it holds or, while it is not
  // let in, could hold. Valid until the next change of the sequence.
  WantedBlocks Missing(Sequence& sequence, bool let_in);

  // Publishes the complete blocks of the sequence, whose keys and values are computed. Where
  // another block is known with the same contents, the sequence holds that one from now on.
  void Publish(Sequence& sequence);

  // The sequence gives all its blocks back; they stay in the cache.
  void Release(Sequence& sequence);

  // What the scheduler needs to know: of the first `running_count` sequences, which have adopted
  // what they can, and of up to `candidate_count` behind them, as if they were let in.
  void Describe(std::span<const std::unique_ptr<Sequence>> sequences, size_t running_count,
                size_t candidate_count, std::vector<SchedulerSequence>* view);

 private:
  struct KeyHash {
    size_t operator()(const BlockKey& key) const;
  };

  bool Reads(const Sequence& sequence) const;
  // Computes the keys of complete blocks that have come since.
  void UpdateKeys(Sequence& sequence) const;
  // Keys of the blocks that may be taken over: complete and before the last token.
  std::span<const BlockKey> SharableKeys(const Sequence& sequence) const;
  void DescribeCandidate(const Sequence& sequence, SchedulerSequence* view);
  // Whether somebody older computes the next block of `view`, sequence `index` of the line; if not,
  // and it is to be published, the others may wait for this one.
  void FindLeader(std::span<const std::unique_ptr<Sequence>> sequences, size_t index,
                  SchedulerSequence* view);

  PrefixCache* cache_;
  TierManager* tiers_;
  const BlockPool& pool_;
  const bool prompts_only_;
  const size_t group_blocks_;  // KvBlockLayout::open_blocks
  // Scratch of Describe and Adopt.
  std::vector<BlockId> matched_;
  std::vector<uint64_t> counted_;  // by block: the Describe that has counted it
  uint64_t describe_count_ = 0;
  std::unordered_map<BlockKey, size_t, KeyHash> leaders_;  // by the block that they compute next
};

}  // namespace kvasir

#endif  // KVASIR_ENGINE_PREFIX_SHARING_H_
