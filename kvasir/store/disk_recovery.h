// RecoverDisk: from the files of a disk store to its index: the index file is replayed, segments
// that it does not know, or not to their end, are scanned, and what lies behind the last whole
// record of a segment is cut off. With the directory locked it repairs; without, it only reads.
// Used by the disk store at its start, and by a reader when the writer has gone on. One thread.

#ifndef KVASIR_STORE_DISK_RECOVERY_H_
#define KVASIR_STORE_DISK_RECOVERY_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "kvasir/base/status.h"
#include "kvasir/store/disk_directory.h"
#include "kvasir/store/file_ops.h"
#include "kvasir/store/record_format.h"
#include "kvasir/store/record_index.h"

namespace kvasir {

// A segment file that is open.
struct SegmentFile {
  uint32_t id = 0;
  std::shared_ptr<OpenFile> file;
  bool direct = false;          // around the page cache
  uint64_t end_bytes = 0;       // where the next record goes
  uint64_t physical_bytes = 0;  // on the device
};

struct RecoveredDisk {
  std::vector<SegmentFile> segments;  // rising ids
  uint32_t next_segment = 1;
  uint64_t next_sequence = 1;
  uint64_t generation = 0;
  uint64_t scanned_count = 0;  // records that the index file did not know
  uint64_t dropped_count = 0;  // records of the index that cannot be where it says
  uint64_t foreign_count = 0;  // files with a segment's name that are none
  bool index_whole = false;    // the index file was there and undamaged
};

// Fills `index`, which is empty.
Result<RecoveredDisk> RecoverDisk(DiskDirectory& directory, FileOps& ops, RecordIndex& index);

// Calls `found` for each whole record of a segment from `begin` on; returns where the last ends.
// Payloads are not read. kIoError when the device fails.
Result<uint64_t> ScanSegment(
    FileOps& ops, int fd, uint64_t begin, uint64_t file_bytes,
    const std::function<void(const RecordHeader&, uint64_t offset)>& found);

// What the index keeps of a record.
IndexEntry IndexEntryOf(const RecordHeader& header, uint32_t segment, uint64_t offset);

}  // namespace kvasir

#endif  // KVASIR_STORE_DISK_RECOVERY_H_
