// MappedFile: a whole file, read-only, mapped and therefore shared between all processes that map
// it. Reading bytes of a file that somebody truncates meanwhile raises SIGBUS, as with every mmap:
// model files are not to be edited in place. Movable; the bytes live as long as the object; any
// thread may read them.

#ifndef KVASIR_BASE_MAPPED_FILE_H_
#define KVASIR_BASE_MAPPED_FILE_H_

#include <cstddef>
#include <span>
#include <string>

#include "kvasir/base/status.h"

namespace kvasir {

class MappedFile {
 public:
  MappedFile() = default;
  MappedFile(MappedFile&& other) noexcept { *this = std::move(other); }
  MappedFile& operator=(MappedFile&& other) noexcept;
  ~MappedFile();

  // kNotFound or kIoError names the path and the reason. Directories and other non-regular files
  // are refused. An empty file gives empty bytes.
  static Result<MappedFile> Open(const std::string& path);

  std::span<const std::byte> bytes() const { return {data_, byte_count_}; }
  const std::string& path() const { return path_; }

  // Tells the kernel that [bytes] has been read for the last time, so that its pages need not stay
  // resident.
  static void DropPages(std::span<const std::byte> bytes);

 private:
  const std::byte* data_ = nullptr;
  size_t byte_count_ = 0;
  std::string path_;
};

// The whole of a (small) file. kResourceExhausted when it is larger than `byte_count_max`.
Result<std::string> ReadFile(const std::string& path, size_t byte_count_max);

}  // namespace kvasir

#endif  // KVASIR_BASE_MAPPED_FILE_H_
