// CancelFlags: the one piece of an engine that other threads touch: which requests live, and which
// of them are to be cancelled. Ids that do not live are forgotten at once, so that it stays as
// small as the queue. Any thread.

#ifndef KVASIR_ENGINE_CANCEL_FLAGS_H_
#define KVASIR_ENGINE_CANCEL_FLAGS_H_

#include <atomic>
#include <mutex>
#include <unordered_map>

#include "kvasir/engine/request.h"

namespace kvasir {

class CancelFlags {
 public:
  void Add(RequestId id) {
    std::lock_guard lock(mutex_);
    cancelled_.emplace(id, false);
  }
  void Remove(RequestId id) {
    std::lock_guard lock(mutex_);
    cancelled_.erase(id);
  }
  void Cancel(RequestId id) {
    std::lock_guard lock(mutex_);
    const auto found = cancelled_.find(id);
    if (found == cancelled_.end()) return;
    found->second = true;
    pending_.store(true, std::memory_order_release);
  }
  bool pending() const { return pending_.load(std::memory_order_acquire); }
  // True once after a Cancel of a living request.
  bool TakePending() {
    return pending_.load(std::memory_order_acquire) &&
           pending_.exchange(false, std::memory_order_acq_rel);
  }
  bool IsCancelled(RequestId id) const {
    std::lock_guard lock(mutex_);
    const auto found = cancelled_.find(id);
    return found != cancelled_.end() && found->second;
  }

 private:
  mutable std::mutex mutex_;
  std::unordered_map<RequestId, bool> cancelled_;  // by living request
  std::atomic<bool> pending_{false};
};

}  // namespace kvasir

#endif  // KVASIR_ENGINE_CANCEL_FLAGS_H_
