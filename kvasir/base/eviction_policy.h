// EvictionPolicy: which of the records of a cache goes when room is needed: the one that is
// expected to be used least for each byte and unit of time that it would stay (ReuseModel), of
// those that nobody holds and no other record follows: children go before their parents. It learns
// from all records that it sees and from the keys of those that are gone (GhostTable), and is no
// worse than LRU while it has seen little. The owner numbers the records, keeps them, and asks.
// Nothing here knows what a record is. Deterministic; not synchronised.
//
// A record costs 32 bytes, one that can go another 48 (a node of its queue), and 64 for ghosts: 144
// bytes. Each call takes O(log n), one in a hundred or so (Learn) a fixed 30 microseconds more.

#ifndef KVASIR_BASE_EVICTION_POLICY_H_
#define KVASIR_BASE_EVICTION_POLICY_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <set>
#include <vector>

#include "kvasir/base/ghost_table.h"
#include "kvasir/base/reuse_model.h"

namespace kvasir {

class EvictionPolicy {
 public:
  // The owner's number of a record, small and used again: records are an array inside.
  using Item = uint32_t;
  static constexpr Item kNone = UINT32_MAX;

  // For a cache of about `item_count_expected` records: sets how many keys are remembered, and how
  // soon what is seen is believed. More records than that are welcome.
  explicit EvictionPolicy(size_t item_count_expected);
  ~EvictionPolicy();
  EvictionPolicy(const EvictionPolicy&) = delete;
  EvictionPolicy& operator=(const EvictionPolicy&) = delete;

  // A record comes, used once (or once more than when its key left). `key`: 64 bits of a hash.
  // `parent`: the record that it follows, kNone when there is none. REQUIRES a number that is free,
  // a parent that is there, and bytes >= 1.
  void Insert(Item item, uint64_t key, Item parent, uint64_t bytes);
  // A record was asked for again. REQUIRES Contains(item), as do all that follow.
  void Use(Item item);
  // The record cannot go until Release was called as often. The last Release counts as the end of
  // its last use.
  void Hold(Item item);
  void Release(Item item);
  // The record is gone. Its key is remembered when it may be asked for again; not when it was
  // deleted on purpose. REQUIRES that no record follows it.
  void Remove(Item item, bool remember);

  // A record was asked for that is not here and will not come: remembers the key as used once more.
  void NoteAbsent(uint64_t key);

  // The record to give up next, kNone when all are held. It stays until it is removed.
  Item Victim() const;
  // Uses expected for each byte and unit of time (calls of Insert, Use and NoteAbsent): what is
  // kept instead should have more.
  double Value(Item item) const;
  // Uses that a record of `bytes` with this key would see if it came now, beyond those that its
  // bytes would bring at `price` uses a byte and unit of time.
  double GainOf(uint64_t key, uint64_t bytes, double price) const;

  // Whether a key was asked for before, as far as that is remembered.
  bool Remembers(uint64_t key) const { return ghosts_.Find(key, now_).has_value(); }
  // Whether no record follows it.
  bool CanRemove(Item item) const { return records_[item].child_count == 0; }
  bool Contains(Item item) const { return item < records_.size() && records_[item].is_present; }
  size_t item_count() const { return item_count_; }

 private:
  struct Record {
    uint64_t key = 0;
    uint64_t last_use : 48 = 0;
    uint64_t use_class : 4 = 0;
    uint64_t is_present : 1 = 0;
    uint64_t size_class : 8 = 0;
    Item parent = kNone;
    uint32_t child_count = 0;
    uint32_t hold_count = 0;
  };
  // The records that can go, of one use class and about one size, by last use.
  struct ByLastUse {
    using is_transparent = void;
    const std::vector<Record>* records;
    bool operator()(Item a, Item b) const {
      const Record &x = (*records)[a], &y = (*records)[b];
      return x.last_use != y.last_use ? x.last_use < y.last_use : a < b;
    }
    bool operator()(Item a, uint64_t time) const { return (*records)[a].last_use < time; }
    bool operator()(uint64_t time, Item a) const { return time < (*records)[a].last_use; }
  };
  using Queue = std::set<Item, ByLastUse>;
  // Records of one queue and age, which are worth the same.
  struct Cell {
    double value;
    uint32_t queue;
    uint32_t age_bin;
  };

  bool CanGo(const Record& r) const {
    return r.is_present && r.hold_count == 0 && r.child_count == 0;
  }
  Queue& QueueOf(const Record& r);
  void Enqueue(Item item);
  void Dequeue(Item item);
  // One unit of time: looks at how long some record and some ghost have waited, and learns.
  void Tick();
  void Learn();
  void Rank();

  ReuseModel model_;
  GhostTable ghosts_;
  std::vector<Record> records_;  // by item
  size_t item_count_ = 0;
  uint64_t now_ = 0;
  uint64_t ticks_to_learn_;
  const uint64_t learn_interval_;
  size_t record_cursor_ = 0;
  size_t ghost_cursor_ = 0;

  static constexpr size_t kSizeClassCountMax = 128;
  std::array<int16_t, kSizeClassCountMax> first_queue_;  // by size class, -1: no such record yet
  std::vector<double> queue_bytes_;                      // by queue: of a record
  std::vector<Queue> queues_;                            // [size classes seen, kUseClassCount]
  std::vector<Cell> ranking_;                            // rising value
};

}  // namespace kvasir

#endif  // KVASIR_BASE_EVICTION_POLICY_H_
