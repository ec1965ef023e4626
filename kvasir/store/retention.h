// What a record on disk is worth: the default ranking by which a disk store evicts. Pure functions
// of what is known of a record's use.

#ifndef KVASIR_STORE_RETENTION_H_
#define KVASIR_STORE_RETENTION_H_

#include <cstdint>
#include <functional>

namespace kvasir {

struct RecordUse {
  double idle_seconds = 0;   // since it was written, read or touched
  uint64_t use_count = 0;    // reads and touches
  uint64_t token_start = 0;  // tokens before the block
  bool reachable = true;     // the block before it is in the store, or it is a first one
};

// The larger, the longer it stays; 0 is worth nothing. The same for all bytes of a record.
using RecordRanking = std::function<double(const RecordUse&)>;

// The rate of uses that recency and frequency suggest: each use counts, and a minute without any
// halves what is left of a fresh record. A block whose parent is gone cannot be reached. Of blocks
// of equal use the later in a sequence goes first: it is of no use without those before it.
inline double RecordWorth(const RecordUse& use) {
  if (!use.reachable) return 0;
  const double rate = static_cast<double>(1 + use.use_count) / (60 + use.idle_seconds);
  return rate / (1 + 1e-9 * static_cast<double>(use.token_start));
}

}  // namespace kvasir

#endif  // KVASIR_STORE_RETENTION_H_
