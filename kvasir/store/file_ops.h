// FileOps: the system calls through which the disk store touches files, so that tests can make any
// of them fail. Results are as the system's, with -errno in place of -1. Any thread.

#ifndef KVASIR_STORE_FILE_OPS_H_
#define KVASIR_STORE_FILE_OPS_H_

#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "kvasir/base/status.h"

namespace kvasir {

class FileOps {
 public:
  virtual ~FileOps() = default;
  // A descriptor; files are made with mode 0600.
  virtual int Open(const std::string& path, int flags);
  virtual int64_t Read(int fd, std::span<const iovec> pieces, uint64_t offset);
  virtual int64_t Write(int fd, std::span<const iovec> pieces, uint64_t offset);
  virtual int Truncate(int fd, uint64_t byte_count);
  // Gives the bytes back to the file system: they read as zeros from then on.
  virtual int PunchHole(int fd, uint64_t offset, uint64_t byte_count);
  virtual int Sync(int fd);
  virtual int Rename(const std::string& from, const std::string& to);
  virtual int Unlink(const std::string& path);

  // Those of the system; lives for ever.
  static FileOps& System();
};

// A file descriptor that is closed with its last owner: readers may outlive the file's name.
class OpenFile {
 public:
  explicit OpenFile(int fd) : fd_(fd) {}
  ~OpenFile();
  OpenFile(const OpenFile&) = delete;
  OpenFile& operator=(const OpenFile&) = delete;
  int fd() const { return fd_; }

 private:
  int fd_;
};

// IoError: "cannot WHAT: REASON".
Status ErrnoStatus(const std::string& what, int64_t negative_errno);

// All the bytes of all pieces, in as many calls as it takes. 0, -errno, or for a read 1 when the
// file ends before. Pieces are used up.
int64_t ReadPieces(FileOps& ops, int fd, std::vector<iovec> pieces, uint64_t offset);
int64_t WritePieces(FileOps& ops, int fd, std::vector<iovec> pieces, uint64_t offset);

inline iovec Piece(std::span<const std::byte> bytes) {
  return {const_cast<std::byte*>(bytes.data()), bytes.size()};
}

// Bytes at a page, for what goes around the page cache.
class PageBuffer {
 public:
  explicit PageBuffer(size_t byte_count);
  std::span<std::byte> bytes() const { return {data_.get(), byte_count_}; }

 private:
  struct Free {
    void operator()(std::byte* data) const;
  };
  std::unique_ptr<std::byte, Free> data_;
  size_t byte_count_;
};

}  // namespace kvasir

#endif  // KVASIR_STORE_FILE_OPS_H_
