// Directories, file systems that fail and measures of disk use for tests of the disk store. One
// test at a time; FaultFileOps may be called by all threads of a store.

#ifndef KVASIR_STORE_DISK_TEST_UTIL_H_
#define KVASIR_STORE_DISK_TEST_UTIL_H_

#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "kvasir/store/disk_store.h"
#include "kvasir/store/store_test_util.h"

namespace kvasir {

// A directory that is gone with the object; in memory where many lives of a store are wanted and
// the system has a place for that.
class TestDirectory {
 public:
  enum class Place { kDisk, kMemory };
  explicit TestDirectory(Place place = Place::kDisk) {
    const bool in_memory = place == Place::kMemory && access("/dev/shm", W_OK) == 0;
    std::string name =
        (in_memory ? "/dev/shm/" : testing::TempDir()) + std::string("kvasir_store_XXXXXX");
    path_ = mkdtemp(name.data()) + std::string("/store");
  }
  ~TestDirectory() {
    std::error_code error;
    std::filesystem::remove_all(std::filesystem::path(path_).parent_path(), error);
  }
  const std::string& path() const { return path_; }

  // What `du` counts.
  uint64_t PhysicalBytes() const {
    uint64_t bytes = 0;
    const auto add = [&](const std::string& path) {
      struct stat info;
      if (lstat(path.c_str(), &info) == 0) bytes += static_cast<uint64_t>(info.st_blocks) * 512;
    };
    add(path_);
    std::error_code error;
    for (std::filesystem::directory_iterator it(path_, error), end; !error && it != end;
         it.increment(error)) {
      add(it->path().string());
    }
    return bytes;
  }

  std::vector<std::string> Segments() const {
    std::vector<std::string> paths;
    for (const auto& entry : std::filesystem::directory_iterator(path_)) {
      if (entry.path().filename().string().starts_with("segment-")) {
        paths.push_back(entry.path().string());
      }
    }
    std::sort(paths.begin(), paths.end());
    return paths;
  }

 private:
  std::string path_;
};

// Makes calls fail that a test chooses.
class FaultFileOps final : public FileOps {
 public:
  enum class Kind { kOpen, kRead, kWrite, kTruncate, kPunch, kSync, kRename, kUnlink };
  // Called for every call with its number from 0 on; gives 0 or the -errno to fail with. Set while
  // no store is open.
  std::function<int(Kind, uint64_t number)> fault;
  // Reads and writes end after so many bytes, if not 0.
  std::atomic<uint64_t> short_bytes = 0;
  uint64_t call_count() const { return call_count_; }

  int Open(const std::string& path, int flags) override {
    const int error = Next(Kind::kOpen);
    return error != 0 ? error : FileOps::Open(path, flags);
  }
  int64_t Read(int fd, std::span<const iovec> pieces, uint64_t offset) override {
    const int error = Next(Kind::kRead);
    return error != 0 ? error : FileOps::Read(fd, Shortened(pieces), offset);
  }
  int64_t Write(int fd, std::span<const iovec> pieces, uint64_t offset) override {
    const int error = Next(Kind::kWrite);
    return error != 0 ? error : FileOps::Write(fd, Shortened(pieces), offset);
  }
  int Truncate(int fd, uint64_t byte_count) override {
    const int error = Next(Kind::kTruncate);
    return error != 0 ? error : FileOps::Truncate(fd, byte_count);
  }
  int PunchHole(int fd, uint64_t offset, uint64_t byte_count) override {
    const int error = Next(Kind::kPunch);
    return error != 0 ? error : FileOps::PunchHole(fd, offset, byte_count);
  }
  int Sync(int fd) override {
    const int error = Next(Kind::kSync);
    return error != 0 ? error : FileOps::Sync(fd);
  }
  int Rename(const std::string& from, const std::string& to) override {
    const int error = Next(Kind::kRename);
    return error != 0 ? error : FileOps::Rename(from, to);
  }
  int Unlink(const std::string& path) override {
    const int error = Next(Kind::kUnlink);
    return error != 0 ? error : FileOps::Unlink(path);
  }

 private:
  int Next(Kind kind) {
    const uint64_t number = call_count_++;
    return fault ? fault(kind, number) : 0;
  }
  // The first piece, and of that whole pages only, as a short transfer around the page cache is.
  std::vector<iovec> Shortened(std::span<const iovec> pieces) const {
    std::vector<iovec> result(pieces.begin(), pieces.end());
    if (short_bytes == 0 || result.empty()) return result;
    result.resize(1);
    result[0].iov_len = std::min<size_t>(result[0].iov_len, short_bytes);
    return result;
  }
  std::atomic<uint64_t> call_count_ = 0;
};

inline DiskStoreOptions TestOptions(const std::string& directory) {
  DiskStoreOptions options;
  options.directory = directory;
  options.cap_bytes = uint64_t{16} << 20;
  options.segment_bytes = uint64_t{1} << 20;
  options.retry_first = std::chrono::milliseconds(5);
  options.retry_longest = std::chrono::milliseconds(20);
  options.tick = std::chrono::milliseconds(5);
  return options;
}

inline std::unique_ptr<DiskStore> OpenStore(DiskStoreOptions options) {
  Result<std::unique_ptr<DiskStore>> store = DiskStore::Open(std::move(options));
  EXPECT_TRUE(store.ok()) << store.status().message();
  return store.ok() ? std::move(*store) : nullptr;
}

// Blocks 0 to count - 1 of one chain.
inline std::vector<TestBlock> TestChain(uint64_t count, size_t payload_bytes = 65536,
                                        const std::string& tenant = "t") {
  std::vector<TestBlock> blocks;
  for (uint64_t i = 0; i < count; ++i) blocks.emplace_back(i, payload_bytes, tenant);
  return blocks;
}

// Waits until `condition` holds; false after ten seconds.
inline bool Eventually(const std::function<bool()>& condition) {
  for (int i = 0; i < 2000; ++i) {
    if (condition()) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return false;
}

}  // namespace kvasir

#endif  // KVASIR_STORE_DISK_TEST_UTIL_H_
