// GhostTable: a memory of keys whose records are gone: how often each was used, and when last. It
// is a set-associative table of fixed size, 8 bytes a key: a line of 8 keys is one cache line, and
// the key that was used longest ago gives way in its line. A key is 64 bits of a hash; two keys are
// taken for one another about once in 2^30 questions, which costs a wrong guess and nothing else. A
// value, deterministic; not synchronised.

#ifndef KVASIR_BASE_GHOST_TABLE_H_
#define KVASIR_BASE_GHOST_TABLE_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

namespace kvasir {

class GhostTable {
 public:
  struct Ghost {
    size_t use_class = 0;  // below 15
    uint64_t last_use = 0;
  };

  // Room for at least `count` keys.
  explicit GhostTable(size_t count);

  size_t slot_count() const { return slots_.size(); }
  // nullopt when the key is not remembered. Times are known modulo 2^32: an age is exact when it is
  // below that.
  std::optional<Ghost> Find(uint64_t key, uint64_t now) const;
  // Remembers a key, in place of what was known of it. REQUIRES ghost.last_use <= now.
  void Put(uint64_t key, const Ghost& ghost, uint64_t now);
  void Erase(uint64_t key);
  // What is in a slot, nullopt when it is empty. REQUIRES slot < slot_count().
  std::optional<Ghost> At(size_t slot, uint64_t now) const;

 private:
  struct Slot {
    uint32_t tag_and_class = 0;  // 28 bits of the key, 4 bits: class + 1; 0 is an empty slot
    uint32_t last_use = 0;       // its low 32 bits
  };
  // The first slot of the key's line.
  size_t Line(uint64_t key) const;
  // The key's slot, slot_count() when there is none.
  size_t SlotOf(uint64_t key) const;

  std::vector<Slot> slots_;
};

}  // namespace kvasir

#endif  // KVASIR_BASE_GHOST_TABLE_H_
