// TierManager: the tier below the pool: a store that keeps blocks longer than memory lasts, beside
// a prefix cache. Complete blocks are written behind the engine's back; chains that are not in the
// pool are loaded into it, where sequences find them. It never touches a sequence, and whatever the
// store does, the worst that happens to a request is that it computes. The engine owns it; engine
// thread only, except Wake.

#ifndef KVASIR_KV_TIER_MANAGER_H_
#define KVASIR_KV_TIER_MANAGER_H_

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string_view>

#include "kvasir/base/status.h"
#include "kvasir/base/write_admission.h"
#include "kvasir/kv/block_loader.h"
#include "kvasir/kv/block_writer.h"
#include "kvasir/kv/prefix_cache.h"
#include "kvasir/kv/store_mailbox.h"
#include "kvasir/kv/tier_stats.h"
#include "kvasir/store/block_store.h"

namespace kvasir {

// Blocks of the pool that a store may have at once, to fill and to read.
struct TierWindows {
  size_t load_block_count = 0;
  size_t store_block_count = 0;
};

class TierManager {
 public:
  using Time = std::chrono::steady_clock::time_point;

  // `cache` must outlive the manager; the pool lives until the store has done with it.
  TierManager(PrefixCache& cache, std::shared_ptr<BlockPool> pool,
              std::shared_ptr<BlockStore> store, const TierWindows& windows);
  // Cancels what is under way and waits for it, but not for a device that hangs.
  ~TierManager();
  TierManager(const TierManager&) = delete;
  TierManager& operator=(const TierManager&) = delete;

  // BlockLoader's.
  BlockLoader::Ticket Load(const WantedBlocks& wanted, BlockLoader::ComputeSeconds compute_seconds,
                           Time now) {
    return loader_.Load(wanted, std::move(compute_seconds), now);
  }
  size_t Warm(const WantedBlocks& wanted, Time now) { return loader_.Warm(wanted, now); }
  bool IsLoading(LoadId id) const { return loader_.IsLoading(id); }
  void Abandon(LoadId id, Time now) { loader_.Abandon(id, now); }

  // A block was computed and is findable now.
  void Published(BlockId block) { writer_.Touch(block); }
  // A sequence has taken over blocks that are findable. Returns how many of them the store gave:
  // those that were loaded and not used since.
  size_t Adopted(std::span<const BlockId> blocks);

  // Takes what the store has answered and publishes what has come: sequences take it over before
  // anybody allocates.
  void Collect(Time now);
  // BlockLoader::Ask.
  void AdvanceLoads(Time now, size_t reserved_block_count) {
    loader_.Ask(now, reserved_block_count);
  }
  void AdvanceStores(Time now) { writer_.Advance(now); }
  // When all three have to be called at the latest, though no reply comes; absent: not at all.
  std::optional<Time> NextAdvance(Time now) const;

  // For who owns the engine thread: what to call when a reply has come (any thread, must not
  // block); without one, WaitUntil sleeps until then.
  void SetWaker(std::function<void()> waker) { mailbox_->SetWaker(std::move(waker)); }
  bool has_waker() const { return mailbox_->has_waker(); }
  void WaitUntil(Time deadline) { mailbox_->WaitUntil(deadline); }
  void Wake() { mailbox_->Wake(); }

  // Waits until all that was to be stored is stored and the store has written down what it needs
  // for a quick start, or until `deadline`.
  void Flush(Time deadline);

  BlockStore& store() { return *store_; }
  // Records were erased: blocks in the pool may be stored anew.
  void ForgetStored() { writer_.ForgetStored(); }
  TierStats stats() const;

 private:
  void TakeReplies();
  // What the store holds from earlier is known to the admission, too.
  void RestoreAdmission();

  PrefixCache& cache_;
  const std::shared_ptr<BlockPool> pool_;
  const std::shared_ptr<BlockStore> store_;
  const std::shared_ptr<StoreMailbox> mailbox_;
  const uint64_t record_bytes_;
  std::optional<WriteAdmission> admission_;  // absent: everything is written
  BlockLoader loader_;
  BlockWriter writer_;
};

}  // namespace kvasir

#endif  // KVASIR_KV_TIER_MANAGER_H_
