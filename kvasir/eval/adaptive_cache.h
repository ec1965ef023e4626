// AdaptiveCache: a simulated cache of blocks under EvictionPolicy, as the tiers of the engine use
// it: a block comes only behind the one that it follows, and the blocks of the request that is at
// work are held until its end. For replaying traces. Deterministic; one thread at a time.

#ifndef KVASIR_EVAL_ADAPTIVE_CACHE_H_
#define KVASIR_EVAL_ADAPTIVE_CACHE_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

#include "kvasir/base/eviction_policy.h"

namespace kvasir {

class AdaptiveCache {
 public:
  explicit AdaptiveCache(size_t capacity_blocks);

  bool Contains(uint32_t block) const { return items_.contains(block); }
  // The request uses its block of this index. One that is not here comes when `admits` and there is
  // room or can be made: true then.
  bool Use(std::span<const uint32_t> request, size_t index, bool admits);
  // Nobody holds the blocks of the request any more.
  void EndRequest();

 private:
  using Item = EvictionPolicy::Item;

  bool Insert(uint32_t block, Item parent);
  void Hold(Item item);

  EvictionPolicy policy_;
  std::unordered_map<uint32_t, Item> items_;  // by block
  std::vector<uint32_t> blocks_;              // by item
  std::vector<Item> free_;
  std::vector<Item> held_;
};

}  // namespace kvasir

#endif  // KVASIR_EVAL_ADAPTIVE_CACHE_H_
