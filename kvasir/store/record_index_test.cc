// RecordIndex and the entries that it is written down in: sums, replacement, pins and names.

#include "kvasir/store/record_index.h"

#include <gtest/gtest.h>

#include "kvasir/store/store_test_util.h"

namespace kvasir {
namespace {

IndexEntry Entry(uint64_t number, uint64_t sequence) {
  IndexEntry entry;
  entry.sequence = sequence;
  entry.key = DigestOf(std::to_string(number));
  entry.tenant = DigestOf("tenant");
  entry.parent_head = KeyHead(DigestOf(std::to_string(number - 1)));
  entry.segment = 7;
  entry.page = 9;
  entry.payload_bytes = entry.stored_bytes = 1000;
  entry.token_start = 64;
  entry.token_count = 32;
  entry.use_count = 5;
  entry.expires_unix_ms = -3;
  entry.written_unix_s = 1;
  entry.used_unix_s = 4'000'000'000;
  return entry;
}

TEST(RecordIndex, InsertsReplacesAndRemoves) {
  RecordIndex index;
  for (uint64_t i = 1; i <= 100; ++i) index.Insert(Entry(i, i));
  EXPECT_EQ(index.record_count(), 100u);
  EXPECT_EQ(index.payload_bytes(), 100'000u);
  index.SetPinned(*index.Find(DigestOf("3")), true);
  EXPECT_EQ(index.pinned_count(), 1u);
  IndexEntry again = Entry(3, 200);
  again.payload_bytes = again.stored_bytes = 10;
  index.Insert(again);
  EXPECT_EQ(index.record_count(), 100u);
  EXPECT_EQ(index.pinned_count(), 0u);
  EXPECT_EQ(index.payload_bytes(), 99'010u);
  EXPECT_EQ(index.Find(DigestOf("3"))->sequence, 200u);
  EXPECT_TRUE(index.HasKeyHead(index.Find(DigestOf("4"))->parent_head));
  index.Remove(DigestOf("3"));
  index.Remove(DigestOf("3"));
  EXPECT_EQ(index.Find(DigestOf("3")), nullptr);
  EXPECT_FALSE(index.HasKeyHead(index.Find(DigestOf("4"))->parent_head));
  index.Insert(Entry(1000, 1));
  EXPECT_EQ(index.record_count(), 100u);
  EXPECT_EQ(index.EntriesIf([](const IndexedRecord& r) { return r.sequence == 1; }).size(), 2u);
  index.Clear();
  EXPECT_EQ(index.record_count(), 0u);
  EXPECT_EQ(index.payload_bytes(), 0u);
}

TEST(IndexEntry, IsReadBackAndEveryBitCounts) {
  const IndexEntry entry = Entry(3, 12345678901234);
  std::vector<std::byte> bytes(kIndexEntryBytes);
  WriteIndexEntry(entry, bytes);
  const auto read = ReadIndexEntry(bytes);
  ASSERT_TRUE(read.has_value());
  EXPECT_EQ(read->key, entry.key);
  EXPECT_EQ(read->tenant, entry.tenant);
  EXPECT_EQ(read->sequence, entry.sequence);
  EXPECT_EQ(read->parent_head, entry.parent_head);
  EXPECT_EQ(read->expires_unix_ms, -3);
  EXPECT_EQ(read->used_unix_s, 4'000'000'000u);
  for (size_t bit = 0; bit < 8 * bytes.size(); ++bit) {
    bytes[bit / 8] ^= std::byte{1} << (bit % 8);
    EXPECT_FALSE(ReadIndexEntry(bytes).has_value()) << bit;
    bytes[bit / 8] ^= std::byte{1} << (bit % 8);
  }
}

TEST(SegmentFileName, IsParsedStrictly) {
  EXPECT_EQ(SegmentFileName(0x7F), "segment-0000007f");
  EXPECT_EQ(ParseSegmentFileName("segment-0000007f"), 0x7Fu);
  for (const char* name : {"segment-7f", "segment-0000007F", "segment-0000007g", "index",
                           "segment-0000007f0", "xsegment-0000007f"}) {
    EXPECT_FALSE(ParseSegmentFileName(name).has_value()) << name;
  }
}

}  // namespace
}  // namespace kvasir
