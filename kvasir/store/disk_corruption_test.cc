// Random damage to the files of a disk store: bit flips, zeroed pages, pages from elsewhere,
// truncation, in records, segment headers and the index. Whatever is read back must be what was
// stored or a miss; the store always opens.

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "kvasir/store/disk_test_util.h"

namespace kvasir {
namespace {

// One piece of damage to one file.
void Damage(const std::string& path, TestRandom& random) {
  const uint64_t file_bytes = std::filesystem::file_size(path);
  if (file_bytes == 0) return;
  const int fd = open(path.c_str(), O_RDWR);
  ASSERT_GE(fd, 0);
  const uint64_t offset = random.Below(file_bytes);
  const uint64_t page = offset / 4096 * 4096;
  std::vector<char> bytes(4096);
  switch (random.Below(8)) {
    case 0:
      EXPECT_EQ(ftruncate(fd, static_cast<off_t>(offset)), 0);
      break;
    case 1:  // as after a power loss
      EXPECT_GE(pwrite(fd, bytes.data(), bytes.size(), static_cast<off_t>(page)), 0);
      break;
    case 2: {
      const uint64_t other = random.Below(file_bytes) / 4096 * 4096;
      const ssize_t count = pread(fd, bytes.data(), bytes.size(), static_cast<off_t>(other));
      EXPECT_GE(pwrite(fd, bytes.data(), static_cast<size_t>(count), static_cast<off_t>(page)), 0);
      break;
    }
    default: {
      char byte = 0;
      EXPECT_EQ(pread(fd, &byte, 1, static_cast<off_t>(offset)), 1);
      byte = static_cast<char>(byte ^ (1 << random.Below(8)));
      EXPECT_EQ(pwrite(fd, &byte, 1, static_cast<off_t>(offset)), 1);
      break;
    }
  }
  close(fd);
}

TEST(DiskCorruption, RandomDamageBecomesMisses) {
  // scripts/soak: 10,000.
  const char* const soak = getenv("KVASIR_STORE_SOAK");
  const int damage_count = soak != nullptr ? 10000 : 300;
  constexpr int kDamagesAtOnce = 5;
  const std::vector<TestBlock> blocks = TestChain(24, 12000);
  TestRandom random{42};
  uint64_t hit_count = 0, miss_count = 0, bad_count = 0;
  for (int damaged = 0; damaged < damage_count; damaged += kDamagesAtOnce) {
    const TestDirectory directory(TestDirectory::Place::kMemory);
    DiskStoreOptions options = TestOptions(directory.path());
    options.segment_bytes = 128 << 10;
    auto store = OpenStore(options);
    for (const TestBlock& block : blocks) ASSERT_TRUE(PutBlock(*store, block).ok());
    // Half of the damage happens to a store that is open, half to one that is closed.
    if (damaged % 2 == 0) store.reset();
    std::vector<std::string> files = directory.Segments();
    files.push_back(directory.path() + "/index");
    for (int i = 0; i < kDamagesAtOnce; ++i) Damage(files[random.Below(files.size())], random);
    if (store == nullptr) store = OpenStore(options);
    ASSERT_NE(store, nullptr);
    for (const TestBlock& block : blocks) {
      const Status status = GetBlock(*store, block);
      hit_count += status.ok() ? 1 : 0;
      miss_count += status.code() == StatusCode::kNotFound ? 1 : 0;
      bad_count += status.code() == StatusCode::kDataLoss ? 1 : 0;
      ASSERT_NE(status.code(), StatusCode::kInvalidArgument) << damaged << status.message();
      // And it can be stored again.
      ASSERT_TRUE(PutBlock(*store, block).ok()) << damaged;
      ASSERT_TRUE(GetBlock(*store, block).ok()) << damaged;
    }
  }
  EXPECT_GT(hit_count, 0u);
  EXPECT_GT(miss_count + bad_count, 0u);
}

}  // namespace
}  // namespace kvasir
