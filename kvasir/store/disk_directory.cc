#include "kvasir/store/disk_directory.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>

#include "kvasir/store/disk_format.h"

namespace kvasir {

namespace {

// The process id that the holder of the lock wrote into it.
std::string HolderOf(int fd) {
  char text[32] = {};
  const ssize_t count = pread(fd, text, sizeof(text) - 1, 0);
  return count > 0 ? std::string(text, strnlen(text, size_t(count))) : "unknown";
}

}  // namespace

Status DiskDirectory::Lock() {
  std::error_code error;
  std::filesystem::create_directories(std::filesystem::path(path_).parent_path(), error);
  if (mkdir(path_.c_str(), 0700) != 0 && errno != EEXIST) {
    return ErrnoStatus("make the directory " + path_, -errno);
  }
  struct stat info;
  if (stat(path_.c_str(), &info) != 0) return ErrnoStatus("look into " + path_, -errno);
  if (!S_ISDIR(info.st_mode)) return InvalidArgument(path_ + " is not a directory");
  const int fd = ops_.Open(FilePath(kLockFileName), O_RDWR | O_CREAT);
  if (fd < 0) return ErrnoStatus("write into the directory " + path_, fd);
  auto lock = std::make_unique<OpenFile>(fd);
  if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) return ErrnoStatus("lock " + path_, -errno);
    return Unavailable(path_ + " is in use by process " + HolderOf(fd));
  }
  const std::string holder = std::to_string(getpid());
  if (ftruncate(fd, 0) != 0 ||
      pwrite(fd, holder.data(), holder.size(), 0) != static_cast<ssize_t>(holder.size())) {
    // The lock holds without the number, which is for messages.
  }
  lock_ = std::move(lock);
  return OkStatus();
}

bool DiskDirectory::IsStillThere() const {
  struct stat locked, named;
  return lock_ != nullptr && fstat(lock_->fd(), &locked) == 0 &&
         stat(FilePath(kLockFileName).c_str(), &named) == 0 && locked.st_dev == named.st_dev &&
         locked.st_ino == named.st_ino;
}

Result<std::vector<uint32_t>> DiskDirectory::ListSegments() const {
  std::vector<uint32_t> segments;
  std::error_code error;
  std::filesystem::directory_iterator entries(path_, error);
  if (error) return NotFound("cannot look into " + path_ + ": " + error.message());
  for (; entries != std::filesystem::directory_iterator(); entries.increment(error)) {
    if (error) return IoError("cannot look into " + path_ + ": " + error.message());
    const auto segment = ParseSegmentFileName(entries->path().filename().string());
    if (segment) segments.push_back(*segment);
  }
  std::sort(segments.begin(), segments.end());
  return segments;
}

Result<std::shared_ptr<OpenFile>> DiskDirectory::OpenSegment(uint32_t segment, bool make,
                                                             bool* direct) {
  const std::string path = FilePath(SegmentFileName(segment));
  const int flags = !locked() ? O_RDONLY : make ? O_RDWR | O_CREAT | O_EXCL : O_RDWR;
  int fd = ops_.Open(path, flags | O_DIRECT);
  *direct = fd >= 0;
  if (fd == -EINVAL) {
    // The file system refuses O_DIRECT, perhaps after it has made the file.
    fd = ops_.Open(path, flags & ~O_EXCL);
  }
  if (fd < 0) return ErrnoStatus(std::string(make ? "make " : "open ") + path, fd);
  return std::make_shared<OpenFile>(fd);
}

Status DiskDirectory::RemoveSegment(uint32_t segment) {
  const std::string path = FilePath(SegmentFileName(segment));
  const int result = ops_.Unlink(path);
  return result == 0 || result == -ENOENT ? OkStatus() : ErrnoStatus("remove " + path, result);
}

void DiskDirectory::SyncNames() {
  const int fd = ops_.Open(path_, O_RDONLY | O_DIRECTORY);
  if (fd < 0) return;
  const OpenFile directory(fd);
  ops_.Sync(directory.fd());
}

uint64_t PhysicalFileBytes(int fd) {
  struct stat info;
  return fstat(fd, &info) == 0 ? static_cast<uint64_t>(info.st_blocks) * 512 : 0;
}

}  // namespace kvasir
