// IndexFile: what a disk store writes down of its index, so that a start need not look into every
// record: a snapshot, replaced as a whole, and the changes since, appended. It is a help, never the
// truth: what it lacks is found by scanning segments, and what it says too much fails the check of
// the record. One thread at a time.

#ifndef KVASIR_STORE_INDEX_FILE_H_
#define KVASIR_STORE_INDEX_FILE_H_

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "kvasir/base/status.h"
#include "kvasir/store/disk_directory.h"
#include "kvasir/store/disk_format.h"
#include "kvasir/store/file_ops.h"

namespace kvasir {

struct IndexContents {
  IndexHeader header;
  std::vector<IndexEntry> entries;  // up to the first damaged one
  bool whole = false;               // none was damaged
};

// kNotFound when there is no index, kDataLoss when its header is none.
Result<IndexContents> ReadIndexFile(const DiskDirectory& directory, FileOps& ops);

class IndexFile {
 public:
  explicit IndexFile(FileOps& ops) : ops_(ops) {}

  // Replaces the index by a snapshot; later entries go behind it. When it fails the old file stays
  // and nothing is appended until a snapshot succeeds.
  Status WriteSnapshot(DiskDirectory& directory, IndexHeader header,
                       std::span<const IndexEntry> entries);
  // kUnavailable without a snapshot to go behind.
  Status Append(std::span<const IndexEntry> entries);

  uint64_t byte_count() const { return byte_count_; }
  // Entries behind the snapshot.
  uint64_t appended_count() const { return appended_count_; }
  uint64_t generation() const { return generation_; }

 private:
  FileOps& ops_;
  std::unique_ptr<OpenFile> file_;
  uint64_t byte_count_ = 0;
  uint64_t appended_count_ = 0;
  uint64_t generation_ = 0;
};

}  // namespace kvasir

#endif  // KVASIR_STORE_INDEX_FILE_H_
