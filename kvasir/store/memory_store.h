// MemoryStore: a BlockStore in the memory of this process, for tests and as the plainest example of
// the contract. It keeps whole records as record_format.h draws them, evicts the least recently
// used when it is full, and ends every item before the call returns. Owned by whoever made it; any
// thread.

#ifndef KVASIR_STORE_MEMORY_STORE_H_
#define KVASIR_STORE_MEMORY_STORE_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <list>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "kvasir/store/block_store.h"
#include "kvasir/store/wall_clock.h"

namespace kvasir {

class MemoryStore final : public BlockStore {
 public:
  // `cap_bytes` bounds the records, with headers and padding; 0 = no bound.
  explicit MemoryStore(uint64_t cap_bytes = 0, UnixClock clock = UnixMilliseconds);

  StoreOperation Get(std::vector<GetItem> items, StoreDeadline deadline, StoreDone done) override;
  StoreOperation Put(std::vector<PutItem> items, StoreDeadline deadline, StoreDone done) override;
  void Cancel(StoreOperation) override {}  // every operation is over when its call returns
  void Lookup(std::vector<Digest> keys, StoreDeadline deadline,
              std::function<void(const Result<size_t>&)> done) override;
  void Erase(std::vector<Digest> keys, EraseDone done) override;
  void EraseTenant(const Digest& tenant, EraseDone done) override;
  bool SetPinned(const Digest& key, bool pinned) override;
  void Touch(std::span<const Digest> keys) override;
  StoreStats stats() const override;
  void ForEach(const std::function<bool(const RecordInfo&)>& visit) const override;
  Status Flush(StoreDeadline) override { return OkStatus(); }

  // Flips the bits of `mask` in one byte of a stored record, for tests. False when there is none.
  bool Corrupt(const Digest& key, size_t offset, std::byte mask);

 private:
  struct Node {
    RecordInfo info;
    std::vector<std::byte> record;
  };
  using Nodes = std::list<Node>;  // in order of use, the latest last

  Status GetOne(const GetItem& item, int64_t now_unix_ms);
  Status PutOne(const PutItem& item, int64_t now_unix_ms);
  bool MakeRoom(uint64_t record_bytes);
  // What is there and has not expired, else nodes_.end().
  Nodes::iterator Find(const Digest& key, int64_t now_unix_ms);
  void Use(Nodes::iterator node, int64_t now_unix_ms);
  void Drop(Nodes::iterator node);

  const uint64_t cap_bytes_;
  const UnixClock clock_;
  mutable std::mutex mutex_;  // guards all below
  Nodes nodes_;
  std::unordered_map<Digest, Nodes::iterator, DigestHash> nodes_by_key_;
  uint64_t sequence_ = 0;
  StoreOperation operation_ = 0;
  StoreStats stats_;
};

}  // namespace kvasir

#endif  // KVASIR_STORE_MEMORY_STORE_H_
