#include "kvasir/store/fault_store.h"

#include <algorithm>
#include <utility>

namespace kvasir {

FaultStore::FaultStore(BlockStore& behind) : behind_(behind), thread_([this] { Run(); }) {}

FaultStore::~FaultStore() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void FaultStore::SetFault(std::function<Status(Call, const Digest&)> fault) {
  const std::lock_guard lock(mutex_);
  fault_ = std::move(fault);
}

void FaultStore::SetHeld(bool held) {
  const std::lock_guard lock(mutex_);
  held_ = held;
}

void FaultStore::Release() {
  {
    const std::lock_guard lock(mutex_);
    for (Waiting& waiting : waiting_) waiting.held = false;
  }
  changed_.notify_all();
}

size_t FaultStore::held_count() const {
  const std::lock_guard lock(mutex_);
  return static_cast<size_t>(
      std::count_if(waiting_.begin(), waiting_.end(), [](const Waiting& w) { return w.held; }));
}

void FaultStore::SetSpeed(double latency_seconds, double bytes_per_second) {
  const std::lock_guard lock(mutex_);
  latency_seconds_ = latency_seconds;
  bytes_per_second_ = bytes_per_second;
}

void FaultStore::Add(Call call, const Digest& key, size_t payload_bytes, Waiting waiting) {
  std::unique_lock lock(mutex_);
  const Status fault = fault_ ? fault_(call, key) : OkStatus();
  if (!fault.ok()) {
    lock.unlock();
    waiting.end(fault);
    return;
  }
  const bool delayed = latency_seconds_ > 0 || bytes_per_second_ > 0;
  if (!held_ && !delayed && waiting_.empty()) {
    lock.unlock();
    waiting.pass_on();
    return;
  }
  // Bytes queue for the device, latencies overlap.
  const auto seconds = [](double s) {
    return std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(s));
  };
  const double transfer =
      bytes_per_second_ > 0 ? static_cast<double>(payload_bytes) / bytes_per_second_ : 0;
  device_free_ = std::max(device_free_, Clock::now()) + seconds(transfer);
  waiting.due = device_free_ + seconds(latency_seconds_);
  waiting.held = held_;
  waiting_.push_back(std::move(waiting));
  lock.unlock();
  changed_.notify_all();
}

void FaultStore::Run() {
  std::unique_lock lock(mutex_);
  while (true) {
    const Clock::time_point now = Clock::now();
    Clock::time_point next = now + std::chrono::hours(1);
    const auto ready = std::find_if(waiting_.begin(), waiting_.end(), [&](const Waiting& waiting) {
      if (stop_ || waiting.deadline < now || (!waiting.held && waiting.due <= now)) return true;
      next =
          std::min(next, waiting.held ? waiting.deadline : std::min(waiting.due, waiting.deadline));
      return false;
    });
    if (ready == waiting_.end()) {
      if (stop_) return;
      changed_.wait_until(lock, next);
      continue;
    }
    const Waiting waiting = std::move(*ready);
    waiting_.erase(ready);
    const bool stop = stop_;
    lock.unlock();
    if (stop) {
      waiting.end(Cancelled("the store is being closed"));
    } else if (waiting.deadline < now) {
      waiting.end(DeadlineExceeded("the deadline passed before the item began"));
    } else {
      waiting.pass_on();
    }
    lock.lock();
  }
}

template <typename Item, typename PassOn>
StoreOperation FaultStore::AddAll(Call call, const std::vector<Item>& items, StoreDeadline deadline,
                                  const StoreDone& done, const PassOn& pass_on) {
  StoreOperation operation;
  {
    const std::lock_guard lock(mutex_);
    operation = ++operation_;
  }
  for (size_t i = 0; i < items.size(); ++i) {
    const auto end = [i, done](const Status& status) { done(i, status); };
    const auto pass_one_on = [item = items[i], end, pass_on] {
      pass_on(item, [end](size_t, const Status& status) { end(status); });
    };
    Add(call, items[i].identity.key, items[i].payload.size(),
        {.operation = operation,
         .deadline = deadline,
         .held = false,
         .due = {},
         .pass_on = pass_one_on,
         .end = end});
  }
  return operation;
}

StoreOperation FaultStore::Get(std::vector<GetItem> items, StoreDeadline deadline, StoreDone done) {
  return AddAll(Call::kGet, items, deadline, done,
                [this, deadline](const GetItem& item, StoreDone one_done) {
                  behind_.Get({item}, deadline, std::move(one_done));
                });
}

StoreOperation FaultStore::Put(std::vector<PutItem> items, StoreDeadline deadline, StoreDone done) {
  return AddAll(Call::kPut, items, deadline, done,
                [this, deadline](const PutItem& item, StoreDone one_done) {
                  behind_.Put({item}, deadline, std::move(one_done));
                });
}

void FaultStore::Cancel(StoreOperation operation) {
  std::list<Waiting> cancelled;
  {
    const std::lock_guard lock(mutex_);
    for (auto it = waiting_.begin(); it != waiting_.end();) {
      const auto waiting = it++;
      if (waiting->operation == operation) cancelled.splice(cancelled.end(), waiting_, waiting);
    }
  }
  for (const Waiting& waiting : cancelled) waiting.end(Cancelled("the caller withdrew it"));
}

void FaultStore::Lookup(std::vector<Digest> keys, StoreDeadline deadline,
                        std::function<void(const Result<size_t>&)> done) {
  behind_.Lookup(std::move(keys), deadline, std::move(done));
}

void FaultStore::Erase(std::vector<Digest> keys, EraseDone done) {
  behind_.Erase(std::move(keys), std::move(done));
}

void FaultStore::EraseTenant(const Digest& tenant, EraseDone done) {
  behind_.EraseTenant(tenant, std::move(done));
}

bool FaultStore::SetPinned(const Digest& key, bool pinned) {
  return behind_.SetPinned(key, pinned);
}

void FaultStore::Touch(std::span<const Digest> keys) { behind_.Touch(keys); }
StoreStats FaultStore::stats() const { return behind_.stats(); }

void FaultStore::ForEach(const std::function<bool(const RecordInfo&)>& visit) const {
  behind_.ForEach(visit);
}

Status FaultStore::Flush(StoreDeadline deadline) { return behind_.Flush(deadline); }

}  // namespace kvasir
