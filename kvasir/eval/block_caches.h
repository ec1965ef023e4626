// BlockCache: caches of a fixed number of blocks, simulated: which blocks they would hold, without
// any contents. The textbook policies, ours, and Belady's, which knows the future. For replaying
// traces. Deterministic; one thread at a time.

#ifndef KVASIR_EVAL_BLOCK_CACHES_H_
#define KVASIR_EVAL_BLOCK_CACHES_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace kvasir {

// Requests, each a chain of blocks. Equal numbers are equal blocks behind equal blocks.
struct ReplayTrace {
  std::vector<uint32_t> blocks;       // of all requests, one behind the other; below block_count
  std::vector<size_t> request_sizes;  // sum = blocks.size()
  uint32_t block_count = 0;           // different ones
};

// Numbers the blocks in the order in which they appear.
ReplayTrace MakeReplayTrace(std::span<const std::vector<uint64_t>> requests);

class BlockCache {
 public:
  virtual ~BlockCache() = default;
  virtual bool Contains(uint32_t block) const = 0;
  // The next request of the trace has used its blocks; afterwards the cache holds what its policy
  // keeps. REQUIRES a request that is not empty.
  virtual void Use(std::span<const uint32_t> request) = 0;
};

enum class CachePolicy { kFifo, kLru, kLfu, k2Q, kArc, kS3Fifo, kAdaptive, kBelady };
struct CachePolicyName {
  CachePolicy policy;
  const char* name;
};
// All of them, as users name them, in the order in which tables show them.
std::span<const CachePolicyName> CachePolicyNames();

// A cache with room for `capacity_blocks` >= 1, to be given the requests of `trace`, which it may
// refer to as long as it lives.
std::unique_ptr<BlockCache> MakeBlockCache(CachePolicy policy, size_t capacity_blocks,
                                           const ReplayTrace& trace);

// 64 bits that stand for a hash of a block; never 0.
uint64_t ReplayKey(uint32_t block);

}  // namespace kvasir

#endif  // KVASIR_EVAL_BLOCK_CACHES_H_
