#include "kvasir/base/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <utility>

namespace kvasir {

namespace {

Status OpenError(const std::string& path) {
  const int error = errno;
  std::string message = "cannot open " + path + ": " + std::strerror(error);
  return error == ENOENT ? NotFound(std::move(message)) : IoError(std::move(message));
}

// Opens `path`, a regular file, and tells its size.
Result<int> OpenRegular(const std::string& path, size_t* byte_count) {
  // Without O_NONBLOCK, opening a pipe would wait for its writer before it could be refused.
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return OpenError(path);
  struct stat info;
  if (fstat(fd, &info) != 0) {
    Status status = OpenError(path);
    close(fd);
    return status;
  }
  if (!S_ISREG(info.st_mode)) {
    close(fd);
    return InvalidArgument("cannot read " + path + ": not a regular file");
  }
  *byte_count = static_cast<size_t>(info.st_size);
  return fd;
}

}  // namespace

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(byte_count_, other.byte_count_);
  std::swap(path_, other.path_);
  return *this;
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) munmap(const_cast<std::byte*>(data_), byte_count_);
}

Result<MappedFile> MappedFile::Open(const std::string& path) {
  MappedFile file;
  KVASIR_ASSIGN_OR_RETURN(const int fd, OpenRegular(path, &file.byte_count_));
  file.path_ = path;
  if (file.byte_count_ > 0) {
    void* memory = mmap(nullptr, file.byte_count_, PROT_READ, MAP_SHARED, fd, 0);
    if (memory == MAP_FAILED) {
      Status status = IoError("cannot map " + path + ": " + std::strerror(errno));
      close(fd);
      return status;
    }
    file.data_ = static_cast<const std::byte*>(memory);
  }
  close(fd);
  return file;
}

void MappedFile::DropPages(std::span<const std::byte> bytes) {
  constexpr uintptr_t kPageBytes = 4096;
  const uintptr_t begin =
      (reinterpret_cast<uintptr_t>(bytes.data()) + kPageBytes - 1) & ~(kPageBytes - 1);
  const uintptr_t end =
      reinterpret_cast<uintptr_t>(bytes.data() + bytes.size()) & ~(kPageBytes - 1);
  if (begin < end) madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
}

Result<std::string> ReadFile(const std::string& path, size_t byte_count_max) {
  size_t byte_count = 0;
  KVASIR_ASSIGN_OR_RETURN(const int fd, OpenRegular(path, &byte_count));
  if (byte_count > byte_count_max) {
    close(fd);
    return ResourceExhausted(path + " has " + std::to_string(byte_count) + " bytes, at most " +
                             std::to_string(byte_count_max) + " are allowed");
  }
  std::string content(byte_count, '\0');
  size_t done = 0;
  while (done < byte_count) {
    const ssize_t n = read(fd, content.data() + done, byte_count - done);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    done += static_cast<size_t>(n);
  }
  close(fd);
  if (done != byte_count) return IoError("cannot read all of " + path);
  return content;
}

}  // namespace kvasir
