// kill -9 in the middle of storing: what had been said to be stored is there after a restart, and
// whatever is there is right. The expected keys leave the child through a pipe.

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <thread>

#include "kvasir/store/disk_test_util.h"

namespace kvasir {
namespace {

constexpr size_t kPayloadBytes = 40000;
constexpr uint64_t kBlocksMax = 5000;

DiskStoreOptions CrashOptions(const TestDirectory& directory) {
  DiskStoreOptions options = TestOptions(directory.path());
  // Small enough that segments are evicted and snapshots written while it dies.
  options.cap_bytes = 24 << 20;
  // The oldest go first, whatever this test has looked at: what is missing then was lost, not
  // evicted. Blocks are numbered in the order of storing.
  options.ranking = [](const RecordUse& use) { return static_cast<double>(1 + use.token_start); };
  return options;
}

// Stores blocks from `first` on and writes the number of each that is stored to `fd`, until killed.
[[noreturn]] void StoreUntilKilled(const TestDirectory& directory, uint64_t first, int fd) {
  Result<std::unique_ptr<DiskStore>> store = DiskStore::Open(CrashOptions(directory));
  if (!store.ok()) _exit(1);
  for (uint64_t i = first; i < first + kBlocksMax; ++i) {
    const TestBlock block(i, kPayloadBytes);
    if (!PutBlock(**store, block).ok()) _exit(2);
    if (write(fd, &i, sizeof(i)) != sizeof(i)) _exit(3);
    if (i % 50 == 0 && !(*store)->Flush(kNoDeadline).ok()) _exit(4);
  }
  _exit(0);
}

// One life of a child that ends by SIGKILL; returns what it said to have stored.
std::vector<uint64_t> LiveAndDie(const TestDirectory& directory, uint64_t first,
                                 std::chrono::milliseconds lifetime) {
  int pipe_fds[2];
  EXPECT_EQ(pipe(pipe_fds), 0);
  const pid_t child = fork();
  if (child == 0) StoreUntilKilled(directory, first, pipe_fds[1]);
  close(pipe_fds[1]);
  std::this_thread::sleep_for(lifetime);
  kill(child, SIGKILL);
  std::vector<uint64_t> stored;
  for (uint64_t i; read(pipe_fds[0], &i, sizeof(i)) == sizeof(i);) stored.push_back(i);
  close(pipe_fds[0]);
  int status = 0;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFSIGNALED(status)) << "the child ended by itself with " << WEXITSTATUS(status);
  return stored;
}

TEST(DiskCrash, KilledWhileStoringNothingIsLostOrWrong) {
  // scripts/soak: 200 kills.
  const char* const soak = getenv("KVASIR_STORE_SOAK");
  const int kill_count = soak != nullptr ? 200 : 10;
  TestRandom random{7};
  const TestDirectory directory;
  uint64_t first = 0, stored_count = 0, reused_count = 0;
  for (int round = 0; round < kill_count; ++round) {
    const auto lifetime = std::chrono::milliseconds(20 + random.Below(180));
    const std::vector<uint64_t> stored = LiveAndDie(directory, first, lifetime);
    const auto store = OpenStore(CrashOptions(directory));
    ASSERT_NE(store, nullptr) << round;
    EXPECT_LE(directory.PhysicalBytes(), (24u << 20) + (1 << 20)) << round;
    // What the cap lets survive: the last 300 of 16 MB.
    const size_t begin = stored.size() > 300 ? stored.size() - 300 : 0;
    for (size_t i = begin; i < stored.size(); ++i) {
      const Status status = GetBlock(*store, TestBlock(stored[i], kPayloadBytes));
      EXPECT_TRUE(status.ok() || status.code() == StatusCode::kNotFound) << status.message();
      ++stored_count;
      reused_count += status.ok() ? 1 : 0;
    }
    if (!stored.empty()) first = stored.back() + 1;
    // The one that was being written when the child died is whole or absent.
    const Status torn = GetBlock(*store, TestBlock(first, kPayloadBytes));
    EXPECT_TRUE(torn.ok() || torn.code() == StatusCode::kNotFound) << torn.message();
    ++first;
  }
  EXPECT_GT(stored_count, 100u);
  EXPECT_GE(static_cast<double>(reused_count), 0.99 * static_cast<double>(stored_count));
}

TEST(DiskCrash, TwoProcessesShareADirectory) {
  const TestDirectory directory;
  const TestBlock block(0);
  const auto store = OpenStore(TestOptions(directory.path()));
  ASSERT_TRUE(PutBlock(*store, block).ok());
  const pid_t child = fork();
  if (child == 0) {
    const Result<std::unique_ptr<DiskStore>> other = DiskStore::Open(TestOptions(directory.path()));
    if (!other.ok()) _exit(1);
    if ((*other)->stats().state != StoreState::kReadOnly) _exit(2);
    if (!GetBlock(**other, block).ok()) _exit(3);
    if (PutBlock(**other, TestBlock(1)).code() != StatusCode::kUnavailable) _exit(4);
    _exit(0);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0);
  EXPECT_TRUE(PutBlock(*store, TestBlock(1)).ok());
}

}  // namespace
}  // namespace kvasir
