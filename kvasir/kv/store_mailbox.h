// StoreMailbox: where the threads of a store leave what has ended, and the engine thread collects
// it. Shared by the engine and by every callback that a store still holds, so that a store may
// answer late, even when the engine is gone. Any thread.

#ifndef KVASIR_KV_STORE_MAILBOX_H_
#define KVASIR_KV_STORE_MAILBOX_H_

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <vector>

#include "kvasir/base/status.h"

namespace kvasir {

struct StoreReply {
  enum class Kind { kFound, kLoaded, kStored };
  Kind kind = Kind::kFound;
  uint64_t ticket = 0;  // of the load or batch
  size_t number = 0;    // of kFound: how many keys; otherwise the index of the item
  Status status;
  std::chrono::steady_clock::time_point time = {};  // when it came
};

class StoreMailbox {
 public:
  using Time = std::chrono::steady_clock::time_point;

  // Leaves a reply, with the present time, and wakes the engine.
  void Post(StoreReply reply);
  // All that has come, in order.
  std::vector<StoreReply> Take();
  // The reply of kind kFound to `ticket`, out of turn.
  std::optional<StoreReply> TakeFound(uint64_t ticket);

  // Called after each Post and Wake from whatever thread that is; it must not block, nor call the
  // mailbox. Without one only WaitUntil hears of it. The last one is not called any more when this
  // returns.
  void SetWaker(std::function<void()> waker);
  bool has_waker() const;
  // Ends a WaitUntil, the present one or the next.
  void Wake();
  // Waits for a reply, a Wake or the end of `deadline`.
  void WaitUntil(Time deadline);

 private:
  void CallWaker();

  mutable std::mutex waker_mutex_;  // never taken under mutex_
  std::function<void()> waker_;     // guarded and called under waker_mutex_
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<StoreReply> replies_;  // guarded by mutex_
  bool woken_ = false;               // guarded by mutex_
};

}  // namespace kvasir

#endif  // KVASIR_KV_STORE_MAILBOX_H_
