// FaultStore: a BlockStore in front of another one that fails on demand, for tests of what is built
// on stores: calls can be refused, held back until the test lets them go, and slowed to the latency
// and bandwidth of a device. It owns nothing of the store behind it, which must outlive it. Any
// thread.

#ifndef KVASIR_STORE_FAULT_STORE_H_
#define KVASIR_STORE_FAULT_STORE_H_

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <list>
#include <mutex>
#include <thread>
#include <vector>

#include "kvasir/store/block_store.h"

namespace kvasir {

class FaultStore final : public BlockStore {
 public:
  enum class Call { kGet, kPut };

  explicit FaultStore(BlockStore& behind);
  ~FaultStore() override;

  // Asked for each item before the store behind is; anything but ok is the item's end. Called on
  // the caller's thread.
  void SetFault(std::function<Status(Call, const Digest& key)> fault);
  // While true, items wait here: for Release, for Cancel or for their deadline.
  void SetHeld(bool held);
  // Passes on what is held, in the order of the calls.
  void Release();
  size_t held_count() const;
  // From now on each item takes this long, one after the other as on one device: a latency and its
  // payload at a bandwidth. 0 and 0 = no delay.
  void SetSpeed(double latency_seconds, double bytes_per_second);

  StoreOperation Get(std::vector<GetItem> items, StoreDeadline deadline, StoreDone done) override;
  StoreOperation Put(std::vector<PutItem> items, StoreDeadline deadline, StoreDone done) override;
  void Cancel(StoreOperation operation) override;
  void Lookup(std::vector<Digest> keys, StoreDeadline deadline,
              std::function<void(const Result<size_t>&)> done) override;
  void Erase(std::vector<Digest> keys, EraseDone done) override;
  void EraseTenant(const Digest& tenant, EraseDone done) override;
  bool SetPinned(const Digest& key, bool pinned) override;
  void Touch(std::span<const Digest> keys) override;
  StoreStats stats() const override;
  void ForEach(const std::function<bool(const RecordInfo&)>& visit) const override;
  Status Flush(StoreDeadline deadline) override;

 private:
  using Clock = std::chrono::steady_clock;
  struct Waiting {
    StoreOperation operation = 0;
    StoreDeadline deadline = kNoDeadline;
    bool held = false;
    Clock::time_point due;
    std::function<void()> pass_on;
    std::function<void(const Status&)> end;
  };

  // The items of a Get or Put, each of which `pass_on` gives to the store behind when its time
  // comes.
  template <typename Item, typename PassOn>
  StoreOperation AddAll(Call call, const std::vector<Item>& items, StoreDeadline deadline,
                        const StoreDone& done, const PassOn& pass_on);
  void Add(Call call, const Digest& key, size_t payload_bytes, Waiting waiting);
  void Run();

  BlockStore& behind_;
  mutable std::mutex mutex_;  // guards all below
  std::condition_variable changed_;
  std::function<Status(Call, const Digest&)> fault_;
  bool held_ = false;
  bool stop_ = false;
  double latency_seconds_ = 0;
  double bytes_per_second_ = 0;
  Clock::time_point device_free_;
  StoreOperation operation_ = 0;
  std::list<Waiting> waiting_;  // in the order of the calls
  std::thread thread_;
};

}  // namespace kvasir

#endif  // KVASIR_STORE_FAULT_STORE_H_
