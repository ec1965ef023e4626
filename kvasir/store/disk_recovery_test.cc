// Recovery: with a damaged or absent index the same records are found as with a whole one, what is
// no record is cut off or removed, and a large store opens fast and in little memory.

#include "kvasir/store/disk_recovery.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <malloc.h>

#include "kvasir/store/disk_test_util.h"

namespace kvasir {
namespace {

std::vector<TestBlock> FillStore(const TestDirectory& directory) {
  const std::unique_ptr<DiskStore> store = OpenStore(TestOptions(directory.path()));
  std::vector<TestBlock> blocks = TestChain(40);
  for (const TestBlock& block : blocks) EXPECT_TRUE(PutBlock(*store, block).ok());
  return blocks;
}

void ExpectAll(DiskStore& store, const std::vector<TestBlock>& blocks) {
  for (const TestBlock& block : blocks) EXPECT_TRUE(GetBlock(store, block).ok());
}

TEST(DiskRecovery, FindsAllRecordsWithoutAnIndex) {
  const TestDirectory directory;
  const std::vector<TestBlock> blocks = FillStore(directory);
  std::filesystem::remove(directory.path() + "/index");
  const auto store = OpenStore(TestOptions(directory.path()));
  EXPECT_EQ(store->recovery().scanned_count, 40u);
  EXPECT_FALSE(store->recovery().index_whole);
  ExpectAll(*store, blocks);
}

TEST(DiskRecovery, UsesADamagedIndexAsFarAsItGoes) {
  const TestDirectory directory;
  const std::vector<TestBlock> blocks = FillStore(directory);
  const std::string index = directory.path() + "/index";
  std::filesystem::resize_file(index, std::filesystem::file_size(index) - 10 * 128 - 5);
  const auto store = OpenStore(TestOptions(directory.path()));
  EXPECT_FALSE(store->recovery().index_whole);
  EXPECT_EQ(store->recovery().scanned_count, 11u);
  ExpectAll(*store, blocks);
}

TEST(DiskRecovery, CutsOffATornRecordAndRemovesWhatIsNoSegment) {
  const TestDirectory directory;
  const std::vector<TestBlock> blocks = FillStore(directory);
  const std::string last = directory.Segments().back();
  const uint64_t whole_bytes = std::filesystem::file_size(last);
  std::filesystem::resize_file(last, whole_bytes + 20480);
  std::ofstream(directory.path() + "/segment-0000abcd") << std::string(9000, 'x');
  std::ofstream(directory.path() + "/note") << "not ours";
  const auto store = OpenStore(TestOptions(directory.path()));
  EXPECT_EQ(std::filesystem::file_size(last), whole_bytes);
  EXPECT_EQ(store->recovery().foreign_count, 1u);
  EXPECT_FALSE(std::filesystem::exists(directory.path() + "/segment-0000abcd"));
  EXPECT_TRUE(std::filesystem::exists(directory.path() + "/note"));
  ExpectAll(*store, blocks);
}

// 5 GB of records of 160 KiB: the segments are holes behind their headers, the index is real.
TEST(DiskRecovery, ALargeStoreOpensWithinASecond) {
  constexpr uint32_t kSegments = 80, kRecordsPerSegment = 400;
  constexpr uint32_t kRecordPages = 40;
  const TestDirectory directory;
  FileOps& ops = FileOps::System();
  DiskDirectory files(directory.path(), ops);
  ASSERT_TRUE(files.Lock().ok());
  std::vector<IndexEntry> entries;
  for (uint32_t segment = 1; segment <= kSegments; ++segment) {
    bool direct = false;
    const auto file = files.OpenSegment(segment, true, &direct);
    ASSERT_TRUE(file.ok());
    const PageBuffer page(kSegmentHeaderBytes);
    WriteSegmentHeader(segment, page.bytes());
    ASSERT_EQ(WritePieces(ops, (*file)->fd(), {Piece(page.bytes())}, 0), 0);
    const uint64_t pages = 1 + uint64_t{kRecordsPerSegment} * kRecordPages;
    ASSERT_EQ(ops.Truncate((*file)->fd(), pages * kStorePageBytes), 0);
    IndexEntry mark;
    mark.kind = IndexEntryKind::kSegmentMark;
    mark.segment = segment;
    mark.page = static_cast<uint32_t>(pages);
    entries.push_back(mark);
    for (uint32_t i = 0; i < kRecordsPerSegment; ++i) {
      IndexEntry entry;
      entry.sequence = entries.size();
      entry.key = DigestOf(std::to_string(entries.size()));
      entry.segment = segment;
      entry.page = 1 + i * kRecordPages;
      entry.payload_bytes = entry.stored_bytes = (kRecordPages - 2) * kStorePageBytes;
      entries.push_back(entry);
    }
  }
  IndexFile index(ops);
  ASSERT_TRUE(index.WriteSnapshot(files, {.next_segment = kSegments + 1}, entries).ok());
  files.Unlock();

  DiskStoreOptions options;
  options.directory = directory.path();
  options.cap_bytes = uint64_t{20} << 30;
  const size_t before_bytes = mallinfo2().uordblks;
  const auto begin = std::chrono::steady_clock::now();
  const auto store = OpenStore(options);
  const auto elapsed = std::chrono::steady_clock::now() - begin;
  ASSERT_NE(store, nullptr);
  EXPECT_EQ(store->stats().record_count, size_t{kSegments} * kRecordsPerSegment);
  EXPECT_EQ(store->recovery().dropped_count, 0u);
  EXPECT_LE(elapsed, std::chrono::seconds(1));
  const size_t index_bytes = mallinfo2().uordblks - before_bytes;
  EXPECT_LE(index_bytes / (kSegments * kRecordsPerSegment), 150u);
}

}  // namespace
}  // namespace kvasir
