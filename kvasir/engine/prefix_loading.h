// PrefixLoading: which sequences wait for blocks from the store below the pool. Each asks once when
// it comes, and once more when it has lost its blocks; what is loaded for it comes to it through
// PrefixSharing. The engine owns it; engine thread only.

#ifndef KVASIR_ENGINE_PREFIX_LOADING_H_
#define KVASIR_ENGINE_PREFIX_LOADING_H_

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <span>
#include <utility>

#include "kvasir/engine/prefix_sharing.h"
#include "kvasir/engine/sequence.h"
#include "kvasir/kv/tier_manager.h"

namespace kvasir {

class PrefixLoading {
 public:
  // Seconds that computing so many tokens behind the first `token_start` takes; 0 = not known.
  using ComputeSeconds = std::function<double(size_t token_start, size_t token_count)>;

  // Both must outlive the object.
  PrefixLoading(TierManager& tiers, PrefixSharing& sharing, ComputeSeconds compute_seconds)
      : tiers_(tiers), sharing_(sharing), compute_seconds_(std::move(compute_seconds)) {}

  // Begins the loads of those that have not asked yet, ends the waits of those whose load is over,
  // and has the store go on. The first `running_count` hold blocks and have adopted what they can;
  // of those behind them up to `candidate_count` may ask.
  void Advance(std::span<const std::unique_ptr<Sequence>> sequences, size_t running_count,
               size_t candidate_count, TierManager::Time now);

  // The sequence gives up its blocks or ends: it waits no more, and may ask again.
  void Release(Sequence& sequence, TierManager::Time now);

 private:
  void AdvanceOne(Sequence& sequence, bool let_in, TierManager::Time now);

  TierManager& tiers_;
  PrefixSharing& sharing_;
  const ComputeSeconds compute_seconds_;
};

}  // namespace kvasir

#endif  // KVASIR_ENGINE_PREFIX_LOADING_H_
