// WriteAdmission: which records are worth writing to a cache on a disk, whose writes wear it out.
// While the disk has room, all. Then a record is written when it is expected to be used, beyond the
// uses that the records which give way for it would see, often enough to be worth a write. On a
// disk that is small beside what passes, that leaves records that were asked for before; on a large
// one, nearly all. It keeps a directory of its own of what the disk would hold by its rules (keys
// alone, about 200 bytes a record), so that it needs nothing from the disk and can be replayed.
// Deterministic; not synchronised: the engine thread asks.

#ifndef KVASIR_BASE_WRITE_ADMISSION_H_
#define KVASIR_BASE_WRITE_ADMISSION_H_

#include <cstddef>
#include <cstdint>
#include <unordered_map>
#include <vector>

#include "kvasir/base/eviction_policy.h"

namespace kvasir {

class WriteAdmission {
 public:
  // A write must bring this many uses that there would not be without it.
  static constexpr double kUsesPerWriteMin = 0.1;
  // A record that was never asked for before must bring more, and that though what gives way is
  // counted several times over: of such records most come only once, and which of them do is not
  // known, so that what is written for the many is worn out for the few. Measured on Mooncake's
  // conversation trace (docs/replay.md): 1 and 0.1 write 2.0 times as much at 10,000 blocks, for
  // 0.7 % of the blocks more found; 8 and 0.2 lose 0.5 % at 30,000 blocks, where there is room.
  static constexpr double kFirstUsesPerWriteMin = 0.15;
  static constexpr double kFirstPriceFactor = 6;

  // `capacity_bytes` of the disk, which will hold about `record_count_expected` records.
  WriteAdmission(uint64_t capacity_bytes, size_t record_count_expected);

  // A record is at hand: it was made, or used from any tier. True: write it, unless it is on the
  // disk already. `key` and `parent`: 64 bits of the record's hash and of the one that it follows,
  // 0 when it follows none. A record whose parent is not written is not worth writing: it would not
  // be found. REQUIRES bytes >= 1. Call once for each use, parents first.
  bool ShouldWrite(uint64_t key, uint64_t parent, uint64_t bytes);
  // The disk holds this record since before the start: call for each, parents first.
  void Restore(uint64_t key, uint64_t parent, uint64_t bytes);
  // The record was deleted on purpose, or could not be written.
  void Forget(uint64_t key);

  uint64_t used_bytes() const { return used_bytes_; }

 private:
  struct Record {
    uint64_t key = 0;
    uint64_t bytes = 0;
  };
  using Item = EvictionPolicy::Item;

  bool IsWorthAWrite(uint64_t key, uint64_t bytes) const;
  bool MakeRoom(uint64_t bytes, Item parent);
  void Add(uint64_t key, Item parent, uint64_t bytes);
  void Remove(Item item, bool remember);

  const uint64_t capacity_bytes_;
  uint64_t used_bytes_ = 0;
  EvictionPolicy policy_;
  std::unordered_map<uint64_t, Item> items_;  // by key
  std::vector<Record> records_;               // by item
  std::vector<Item> free_;
};

}  // namespace kvasir

#endif  // KVASIR_BASE_WRITE_ADMISSION_H_
