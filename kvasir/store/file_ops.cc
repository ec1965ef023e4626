#include "kvasir/store/file_ops.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "kvasir/base/check.h"
#include "kvasir/store/record_format.h"

namespace kvasir {

namespace {

template <typename Call>
auto OrErrno(const Call& call) -> decltype(call()) {
  while (true) {
    const auto result = call();
    if (result >= 0) return result;
    if (errno != EINTR) return -errno;
  }
}

// Takes `done_bytes` off the front of the pieces that are left.
void Advance(std::span<iovec>& pieces, size_t done_bytes) {
  while (!pieces.empty() && done_bytes >= pieces[0].iov_len) {
    done_bytes -= pieces[0].iov_len;
    pieces = pieces.subspan(1);
  }
  if (pieces.empty()) return;
  pieces[0].iov_base = static_cast<std::byte*>(pieces[0].iov_base) + done_bytes;
  pieces[0].iov_len -= done_bytes;
}

template <typename Call>
int64_t AllPieces(std::vector<iovec> pieces, uint64_t offset, const Call& call) {
  std::span<iovec> rest = pieces;
  Advance(rest, 0);
  while (!rest.empty()) {
    const int64_t done = call(rest, offset);
    if (done < 0) return done;
    if (done == 0) return 1;
    Advance(rest, static_cast<size_t>(done));
    offset += static_cast<uint64_t>(done);
  }
  return 0;
}

}  // namespace

int FileOps::Open(const std::string& path, int flags) {
  return OrErrno([&] { return open(path.c_str(), flags | O_CLOEXEC, 0600); });
}

int64_t FileOps::Read(int fd, std::span<const iovec> pieces, uint64_t offset) {
  return OrErrno([&]() -> int64_t {
    return preadv(fd, pieces.data(), static_cast<int>(pieces.size()), static_cast<off_t>(offset));
  });
}

int64_t FileOps::Write(int fd, std::span<const iovec> pieces, uint64_t offset) {
  return OrErrno([&]() -> int64_t {
    return pwritev(fd, pieces.data(), static_cast<int>(pieces.size()), static_cast<off_t>(offset));
  });
}

int FileOps::Truncate(int fd, uint64_t byte_count) {
  return OrErrno([&] { return ftruncate(fd, static_cast<off_t>(byte_count)); });
}

int FileOps::PunchHole(int fd, uint64_t offset, uint64_t byte_count) {
  return OrErrno([&] {
    return fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(offset),
                     static_cast<off_t>(byte_count));
  });
}

int FileOps::Sync(int fd) {
  return OrErrno([&] { return fdatasync(fd); });
}

int FileOps::Rename(const std::string& from, const std::string& to) {
  return OrErrno([&] { return rename(from.c_str(), to.c_str()); });
}

int FileOps::Unlink(const std::string& path) {
  return OrErrno([&] { return unlink(path.c_str()); });
}

FileOps& FileOps::System() {
  static FileOps* const system = new FileOps();
  return *system;
}

OpenFile::~OpenFile() {
  if (fd_ >= 0) close(fd_);
}

Status ErrnoStatus(const std::string& what, int64_t negative_errno) {
  return IoError("cannot " + what + ": " + std::strerror(static_cast<int>(-negative_errno)));
}

int64_t ReadPieces(FileOps& ops, int fd, std::vector<iovec> pieces, uint64_t offset) {
  return AllPieces(std::move(pieces), offset, [&](std::span<const iovec> rest, uint64_t at) {
    return ops.Read(fd, rest, at);
  });
}

int64_t WritePieces(FileOps& ops, int fd, std::vector<iovec> pieces, uint64_t offset) {
  const int64_t result =
      AllPieces(std::move(pieces), offset,
                [&](std::span<const iovec> rest, uint64_t at) { return ops.Write(fd, rest, at); });
  return result == 1 ? -ENOSPC : result;  // a device that takes nothing is full
}

PageBuffer::PageBuffer(size_t byte_count)
    : data_(static_cast<std::byte*>(std::aligned_alloc(
          kStorePageBytes,
          (byte_count + kStorePageBytes - 1) / kStorePageBytes * kStorePageBytes))),
      byte_count_(byte_count) {
  KVASIR_CHECK(data_ != nullptr || byte_count == 0);
}

void PageBuffer::Free::operator()(std::byte* data) const { std::free(data); }

}  // namespace kvasir
