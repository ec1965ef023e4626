#include "kvasir/kv/store_mailbox.h"

#include <algorithm>
#include <utility>

namespace kvasir {

void StoreMailbox::Post(StoreReply reply) {
  reply.time = std::chrono::steady_clock::now();
  {
    const std::lock_guard lock(mutex_);
    replies_.push_back(std::move(reply));
    changed_.notify_one();
  }
  CallWaker();
}

std::vector<StoreReply> StoreMailbox::Take() {
  const std::lock_guard lock(mutex_);
  return std::exchange(replies_, {});
}

std::optional<StoreReply> StoreMailbox::TakeFound(uint64_t ticket) {
  const std::lock_guard lock(mutex_);
  const auto found = std::find_if(replies_.begin(), replies_.end(), [&](const StoreReply& reply) {
    return reply.kind == StoreReply::Kind::kFound && reply.ticket == ticket;
  });
  if (found == replies_.end()) return std::nullopt;
  StoreReply reply = std::move(*found);
  replies_.erase(found);
  return reply;
}

void StoreMailbox::Wake() {
  {
    const std::lock_guard lock(mutex_);
    woken_ = true;
    changed_.notify_one();
  }
  CallWaker();
}

void StoreMailbox::SetWaker(std::function<void()> waker) {
  const std::lock_guard lock(waker_mutex_);
  waker_ = std::move(waker);
}

bool StoreMailbox::has_waker() const {
  const std::lock_guard lock(waker_mutex_);
  return waker_ != nullptr;
}

void StoreMailbox::CallWaker() {
  const std::lock_guard lock(waker_mutex_);
  if (waker_) waker_();
}

void StoreMailbox::WaitUntil(Time deadline) {
  std::unique_lock lock(mutex_);
  const auto ready = [this] { return woken_ || !replies_.empty(); };
  if (deadline == Time::max()) {
    changed_.wait(lock, ready);
  } else if (deadline > Time::clock::now()) {
    changed_.wait_until(lock, deadline, ready);
  }
  woken_ = false;
}

}  // namespace kvasir
