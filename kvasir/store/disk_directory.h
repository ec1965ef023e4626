// DiskDirectory: the directory of a disk store: its lock, and the opening and making of its files.
// One process at a time holds the lock and writes; others may read. Owned by the disk store; its
// writer thread alone uses it after opening.

#ifndef KVASIR_STORE_DISK_DIRECTORY_H_
#define KVASIR_STORE_DISK_DIRECTORY_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "kvasir/base/status.h"
#include "kvasir/store/file_ops.h"

namespace kvasir {

class DiskDirectory {
 public:
  DiskDirectory(std::string path, FileOps& ops) : path_(std::move(path)), ops_(ops) {}

  // Makes the directory (0700) where it is absent and takes the lock. kIoError or kInvalidArgument
  // when it cannot be written; kUnavailable when another process has the lock, and names it.
  Status Lock();
  bool locked() const { return lock_ != nullptr; }
  void Unlock() { lock_.reset(); }
  // Whether the directory that was locked still has its name and is still a directory.
  bool IsStillThere() const;

  std::string FilePath(const std::string& name) const { return path_ + "/" + name; }
  const std::string& path() const { return path_; }

  // Ids of segment files, rising. kNotFound when the directory is absent.
  Result<std::vector<uint32_t>> ListSegments() const;
  // A segment, around the page cache where the file system can. *direct tells.
  Result<std::shared_ptr<OpenFile>> OpenSegment(uint32_t segment, bool make, bool* direct);
  Status RemoveSegment(uint32_t segment);
  // So that names survive a power loss.
  void SyncNames();

 private:
  const std::string path_;
  FileOps& ops_;
  std::unique_ptr<OpenFile> lock_;
};

// Bytes that a file takes on the device.
uint64_t PhysicalFileBytes(int fd);

}  // namespace kvasir

#endif  // KVASIR_STORE_DISK_DIRECTORY_H_
