// RecordIndex: which records a disk store has and where they lie, in at most 150 bytes of memory
// each. It believes what it is told; whoever reads a record checks it. A plain data structure
// without I/O, clock or lock: owned by the disk store, used under its mutex.

#ifndef KVASIR_STORE_RECORD_INDEX_H_
#define KVASIR_STORE_RECORD_INDEX_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "kvasir/base/hash.h"
#include "kvasir/store/disk_format.h"
#include "kvasir/store/record_format.h"

namespace kvasir {

// A record in the index. Tenants are few and kept once, beside it.
struct IndexedRecord {
  Digest key;
  uint64_t parent_head = 0;
  uint64_t sequence = 0;  // 0 = the slot is free
  int64_t expires_unix_ms = 0;
  uint32_t segment = 0;
  uint32_t page = 0;
  uint32_t payload_bytes = 0;
  uint32_t stored_bytes = 0;
  uint32_t token_start = 0;
  uint32_t use_count = 0;
  uint32_t written_unix_s = 0;
  uint32_t used_unix_s = 0;
  uint32_t tenant_index = 0;
  uint16_t token_count = 0;
  bool pinned = false;
  bool read_failed = false;  // the device refused to read it once

  uint64_t offset() const { return uint64_t{page} * kStorePageBytes; }
  uint64_t record_bytes() const { return RecordBytes(stored_bytes); }
  bool HasExpired(int64_t now_unix_ms) const {
    return expires_unix_ms != 0 && expires_unix_ms <= now_unix_ms;
  }
};

class RecordIndex {
 public:
  RecordIndex() : slots_(0, SlotHash{&records_}, SlotEqual{&records_}) {}
  RecordIndex(const RecordIndex&) = delete;
  RecordIndex& operator=(const RecordIndex&) = delete;

  // nullptr when there is none. Valid until that record is removed.
  IndexedRecord* Find(const Digest& key);
  const IndexedRecord* Find(const Digest& key) const;
  // Whether some record's key begins like that: a guess, for ranking.
  bool HasKeyHead(uint64_t head) const { return slots_.contains(Head{head}); }
  // Adds what an entry of kind kRecord says, in place of what was there under the key.
  IndexedRecord& Insert(const IndexEntry& entry);
  // Does nothing when there is none.
  void Remove(const Digest& key);
  void Clear();

  IndexEntry EntryOf(const IndexedRecord& record) const;
  const Digest& TenantOf(const IndexedRecord& record) const {
    return tenants_[record.tenant_index];
  }
  void SetPinned(IndexedRecord& record, bool pinned);

  // In the order of slots.
  void ForEach(const std::function<void(const IndexedRecord&)>& visit) const;
  std::vector<IndexEntry> EntriesIf(
      const std::function<bool(const IndexedRecord&)>& predicate) const;

  size_t record_count() const { return slots_.size(); }
  uint64_t payload_bytes() const { return payload_bytes_; }
  size_t pinned_count() const { return pinned_count_; }

 private:
  struct Head {
    uint64_t value;
  };
  // Slots hash and compare by the keys that they hold, so that a key is in memory once.
  struct SlotHash {
    using is_transparent = void;
    const std::deque<IndexedRecord>* records;
    size_t operator()(uint32_t slot) const noexcept { return (*this)((*records)[slot].key); }
    size_t operator()(const Digest& key) const noexcept { return KeyHead(key); }
    size_t operator()(Head head) const noexcept { return head.value; }
  };
  struct SlotEqual {
    using is_transparent = void;
    const std::deque<IndexedRecord>* records;
    bool operator()(uint32_t a, uint32_t b) const { return (*records)[a].key == (*records)[b].key; }
    bool operator()(uint32_t a, const Digest& key) const { return (*records)[a].key == key; }
    bool operator()(const Digest& key, uint32_t a) const { return (*records)[a].key == key; }
    bool operator()(uint32_t a, Head head) const {
      return KeyHead((*records)[a].key) == head.value;
    }
    bool operator()(Head head, uint32_t a) const { return (*this)(a, head); }
  };
  uint32_t TenantIndex(const Digest& tenant);

  std::deque<IndexedRecord> records_;
  std::vector<uint32_t> free_slots_;
  std::unordered_set<uint32_t, SlotHash, SlotEqual> slots_;
  std::vector<Digest> tenants_;
  std::unordered_map<Digest, uint32_t, DigestHash> tenant_indices_;
  uint64_t payload_bytes_ = 0;
  size_t pinned_count_ = 0;
};

}  // namespace kvasir

#endif  // KVASIR_STORE_RECORD_INDEX_H_
