// The tools on a disk store: verify finds each kind of damage, export and import carry records
// unchanged, keys are found by their beginning.

#include "kvasir/store/store_tools.h"

#include <gtest/gtest.h>

#include "kvasir/store/disk_test_util.h"

namespace kvasir {
namespace {

DiskStoreOptions ReadOnly(const TestDirectory& directory) {
  DiskStoreOptions options = TestOptions(directory.path());
  options.read_only = true;
  return options;
}

void FlipByte(const std::string& path, std::streamoff offset) {
  std::fstream file(path, std::ios::binary | std::ios::in | std::ios::out);
  file.seekg(offset);
  const char byte = static_cast<char>(file.get() ^ 1);
  file.seekp(offset);
  file.put(byte);
}

TEST(StoreTools, VerifyFindsDamageAndTouchesNothing) {
  const TestDirectory directory;
  const std::vector<TestBlock> blocks = TestChain(10);
  {
    const auto store = OpenStore(TestOptions(directory.path()));
    for (const TestBlock& block : blocks) ASSERT_TRUE(PutBlock(*store, block).ok());
  }
  {
    const auto store = OpenStore(ReadOnly(directory));
    const Result<VerifyReport> report = VerifyStore(*store);
    ASSERT_TRUE(report.ok());
    EXPECT_TRUE(report->clean());
    EXPECT_EQ(report->good_count, 10u);
    EXPECT_EQ(report->byte_count, 10u * 73728);
  }
  const std::string path = directory.Segments()[0];
  FlipByte(path, 4096 + 3 * 73728 + 10000);
  std::filesystem::resize_file(path, 4096 + 9 * 73728 + 500);
  for (int i = 0; i < 2; ++i) {
    const auto store = OpenStore(ReadOnly(directory));
    const Result<VerifyReport> report = VerifyStore(*store);
    ASSERT_TRUE(report.ok());
    EXPECT_FALSE(report->clean());
    EXPECT_EQ(report->good_count, 8u);
    ASSERT_EQ(report->bad.size(), 1u);
    EXPECT_EQ(report->bad[0].key, blocks[3].key());
    EXPECT_EQ(report->bad[0].reason, "the checksum of section 0 is wrong");
    EXPECT_EQ(report->recovery.dropped_count, 1u);
  }
}

TEST(StoreTools, ExportedRecordsComeBackThroughImport) {
  const TestDirectory from, to;
  const std::string file = to.path() + "_records";
  const std::vector<TestBlock> mine = TestChain(5, 20000, "mine");
  const TestBlock other(0, 20000, "other");
  {
    const auto store = OpenStore(TestOptions(from.path()));
    for (const TestBlock& block : mine) ASSERT_TRUE(PutBlock(*store, block).ok());
    ASSERT_TRUE(PutBlock(*store, other).ok());
    const Result<uint64_t> count = ExportRecords(*store, &mine[0].identity().tenant, file);
    ASSERT_TRUE(count.ok()) << count.status().message();
    EXPECT_EQ(*count, 5u);
    EXPECT_FALSE(ExportRecords(*store, nullptr, file).ok());  // not over an existing file
  }
  const auto store = OpenStore(TestOptions(to.path()));
  const Result<ImportReport> report = ImportRecords(*store, file, UnixMilliseconds());
  ASSERT_TRUE(report.ok()) << report.status().message();
  EXPECT_EQ(report->stored_count, 5u);
  for (const TestBlock& block : mine) EXPECT_TRUE(GetBlock(*store, block).ok());
  EXPECT_EQ(GetBlock(*store, other).code(), StatusCode::kNotFound);

  FlipByte(file, 2 * 28672 + 9000);
  const auto again = OpenStore(TestOptions(to.path() + "2"));
  EXPECT_EQ(ImportRecords(*again, file, UnixMilliseconds()).status().code(), StatusCode::kDataLoss);
  EXPECT_EQ(again->stats().record_count, 2u);
}

TEST(StoreTools, KeysAreFoundByTheirBeginning) {
  const TestDirectory directory;
  const auto store = OpenStore(TestOptions(directory.path()));
  const TestBlock block(0);
  ASSERT_TRUE(PutBlock(*store, block).ok());
  const std::string hex = ToHex(block.key());
  EXPECT_EQ(FindKey(*store, hex.substr(0, 8)).value(), block.key());
  EXPECT_EQ(FindKey(*store, "abc").status().code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(FindKey(*store, "wxyz").status().code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(FindKey(*store, std::string(64, '0')).status().code(), StatusCode::kNotFound);
  EXPECT_EQ(ParseDigest(hex).value(), block.key());
  EXPECT_FALSE(ParseDigest(hex.substr(1)).ok());
}

}  // namespace
}  // namespace kvasir
