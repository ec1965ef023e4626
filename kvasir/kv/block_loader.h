// BlockLoader: brings blocks from a store into slots of the pool and makes them findable, from
// where sequences take them over as they take over any other. Whoever wants a chain of blocks asks
// once and waits as long as IsLoading says; nothing that goes wrong is more than the end of that
// wait. What a store is doing is known from its replies alone; deciding is in load_cost.h and
// circuit_breaker.h. Engine thread only.
//
// A load asks for its blocks in order, a few at a time within the window, and publishes them in
// order. It ends when all have come, when one does not, when it is too slow for those who wait,
// when nobody waits any more, or when the pool has no slot. Slots that the store still fills belong
// to the load until it says that it has done.

#ifndef KVASIR_KV_BLOCK_LOADER_H_
#define KVASIR_KV_BLOCK_LOADER_H_

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "kvasir/kv/block_key.h"
#include "kvasir/kv/block_pool.h"
#include "kvasir/kv/circuit_breaker.h"
#include "kvasir/kv/load_cost.h"
#include "kvasir/kv/prefix_cache.h"
#include "kvasir/kv/store_mailbox.h"
#include "kvasir/kv/tier_stats.h"
#include "kvasir/store/block_store.h"

namespace kvasir {

using LoadId = uint64_t;
inline constexpr LoadId kNoLoad = 0;

// Blocks that a sequence lacks, behind those that it has or could take over.
struct WantedBlocks {
  std::string_view salt;
  BlockId parent = kNoBlock;  // the block before them, findable; kNoBlock: from the start
  uint64_t token_start = 0;   // tokens before them
  std::span<const BlockKey> keys = {};
  std::span<const TokenId> tokens = {};  // at least kKvBlockTokens for each key
};

// The tag under which a store finds the records of a salt.
Digest TenantTag(std::string_view salt);

class BlockLoader {
 public:
  using Time = std::chrono::steady_clock::time_point;
  // Seconds that computing the first so many of the wanted blocks would take; 0 = not known.
  using ComputeSeconds = std::function<double(size_t block_count)>;

  // All must outlive the loader. `window_block_count` bounds the slots that a store fills.
  BlockLoader(PrefixCache& cache, std::shared_ptr<BlockPool> pool, BlockStore& store,
              std::shared_ptr<StoreMailbox> mailbox, size_t window_block_count);

  // Begins to load what the store has of it, or joins who loads it already. kNoLoad when there is
  // nothing to wait for: not stored, quicker to compute, or the store is out of order.
  struct Ticket {
    LoadId id = kNoLoad;
    bool joined = false;  // the load was begun for another chain, which may go on otherwise
  };
  Ticket Load(const WantedBlocks& wanted, ComputeSeconds compute_seconds, Time now);
  // The same whatever it takes and without anybody who waits; how many blocks the store has of it
  // and will be loaded as far as there is memory. Only from a store that answers lookups at once.
  size_t Warm(const WantedBlocks& wanted, Time now);
  // Whether it is worth waiting still.
  bool IsLoading(LoadId id) const;
  // One who waited does not wait any more.
  void Abandon(LoadId id, Time now);

  // A reply of kind kFound or kLoaded.
  void Take(const StoreReply& reply);
  // Publishes what has come and judges what is slow. What was published may be evicted from the
  // next allocation on: who waits takes it over before Ask.
  void Collect(Time now);
  // Asks for more. Loads leave `reserved_block_count` of the pool's available blocks to others.
  void Ask(Time now, size_t reserved_block_count);
  // When Collect has to be called though no reply comes.
  std::optional<Time> NextJudgement() const;

  // True once for each block that was loaded: its first user has it from the store.
  bool TakeFresh(BlockId block);
  // Ends all loads; what the store still fills comes back with its replies.
  void CancelAll(Time now);
  bool idle() const { return loads_.empty(); }
  void FillStats(TierStats* stats) const;

 private:
  struct Slot {
    enum class State { kAsked, kArrived, kGone };
    BlockId block = kNoBlock;
    State state = State::kAsked;
  };
  struct ActiveLoad;
  using LoadMap = std::map<LoadId, std::shared_ptr<ActiveLoad>>;

  std::shared_ptr<ActiveLoad> NewLoad(const WantedBlocks& wanted, Time now);
  // Asks the store what it has, and takes the answer if it comes at once.
  void LookUp(ActiveLoad& load, Time now);
  void Found(ActiveLoad& load, const Result<size_t>& count, Time now);
  void AskFor(const std::shared_ptr<ActiveLoad>& load, Time now);
  void Publish(ActiveLoad& load);
  void Judge(ActiveLoad& load, Time now);
  void CountReply(const StoreReply& reply);
  void TakeFailure(ActiveLoad& load, const Status& status, Time now);
  // No more is asked for, and nobody waits any more.
  void End(ActiveLoad& load, Time now);
  // What an ended load still has, once the store has done with it.
  void LetGo(ActiveLoad& load);
  void CloseBurst();

  PrefixCache& cache_;
  const std::shared_ptr<BlockPool> pool_;
  BlockStore& store_;
  const std::shared_ptr<StoreMailbox> mailbox_;
  const size_t window_block_count_;
  const size_t block_bytes_;

  LoadMap loads_;  // in order of their beginning
  LoadId next_id_ = 1;
  std::unordered_map<BlockKey, LoadId, DigestHash> loading_keys_;  // of loads that have not ended
  size_t slot_count_ = 0;                                          // that loads have
  size_t in_flight_count_ = 0;                                     // of these, the store fills
  size_t reserved_block_count_ = 0;
  std::vector<uint64_t> fresh_;  // by block: the allocation in which it came from the store

  LoadCost cost_;
  CircuitBreaker breaker_;
  Time last_observed_ = {};  // when the store was last asked
  // The burst under way.
  Time burst_start_ = {}, burst_first_ = {}, burst_last_ = {};
  size_t burst_block_count_ = 0;
  TierStats counts_;
};

}  // namespace kvasir

#endif  // KVASIR_KV_BLOCK_LOADER_H_
