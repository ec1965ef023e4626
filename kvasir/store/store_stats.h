// StoreStats: what a BlockStore counts of itself, for metrics pages and tools. A value: a snapshot
// of the moment at which stats() was called. Counters begin at 0 when the store is opened.

#ifndef KVASIR_STORE_STORE_STATS_H_
#define KVASIR_STORE_STORE_STATS_H_

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "kvasir/base/histogram.h"

namespace kvasir {

enum class StoreState {
  kReady,
  kReadOnly,    // another process writes, or the store was opened so
  kNotStoring,  // writing failed: Put is refused until the next try
  kOutOfOrder,  // reading failed: everything is refused until the next try
};

// "ready", "read-only", "not storing", "out of order".
std::string_view StoreStateName(StoreState state);

// Seconds from the call to the end of an item: 100 us (a page cache) to 10 s (a device in trouble).
std::span<const double> StoreSecondsBounds();
// Bytes of a record: 64 KiB to 64 MiB.
std::span<const double> StoreBytesBounds();

struct StoreStats {
  StoreState state = StoreState::kReady;
  std::string state_reason;  // the last error, empty when ready
  std::string backend;       // e.g. "io_uring, O_DIRECT"

  uint64_t record_count = 0;
  uint64_t pinned_count = 0;
  uint64_t payload_bytes = 0;   // of the blocks
  uint64_t physical_bytes = 0;  // that they take, with everything around them
  uint64_t cap_bytes = 0;       // of physical_bytes; 0 = none
  uint64_t segment_count = 0;   // files of records
  uint64_t segment_bytes = 0;   // of a full one

  // Ends of items of Get.
  uint64_t hit_count = 0;
  uint64_t miss_count = 0;           // not there
  uint64_t mismatch_count = 0;       // there under the key, but of another identity
  uint64_t corrupt_count = 0;        // there, but bad
  uint64_t get_failed_count = 0;     // the device failed or was known to fail
  uint64_t get_abandoned_count = 0;  // cancelled or late
  // Ends of items of Put.
  uint64_t stored_count = 0;
  uint64_t known_count = 0;
  uint64_t put_failed_count = 0;
  uint64_t put_abandoned_count = 0;

  uint64_t evicted_count = 0;  // records
  uint64_t expired_count = 0;
  uint64_t erased_count = 0;
  uint64_t moved_count = 0;  // written again to outlive their segment

  uint64_t read_bytes = 0;     // of records, from the device
  uint64_t written_bytes = 0;  // of records, to the device, moved ones too
  uint64_t io_error_count = 0;

  Histogram get_seconds{StoreSecondsBounds()};  // hits
  Histogram put_seconds{StoreSecondsBounds()};  // stored
  Histogram get_bytes{StoreBytesBounds()};
  Histogram put_bytes{StoreBytesBounds()};
};

}  // namespace kvasir

#endif  // KVASIR_STORE_STORE_STATS_H_
