// Records: the bytes are those that tests/oracle/record_golden.py writes, every flipped bit shows,
// and headers that lie with a right CRC are refused.

#include <gtest/gtest.h>

#include <cstring>

#include "kvasir/store/byte_order.h"
#include "kvasir/store/checksum.h"
#include "kvasir/store/record_reader.h"
#include "kvasir/store/record_writer.h"
#include "kvasir/store/store_test_util.h"

namespace kvasir {
namespace {

struct Golden {
  std::vector<std::byte> payload;
  std::vector<int32_t> tokens;
  RecordHeader header;

  Golden() {
    for (int i = 0; i < 5000; ++i) payload.push_back(static_cast<std::byte>(7 * i + i / 251));
    for (int i = 0; i < 32; ++i) tokens.push_back(3 * i - 1);
    PutItem item = {.identity = {.fingerprint = DigestOf("fingerprint"),
                                 .key = DigestOf("key"),
                                 .parent = DigestOf("parent"),
                                 .tenant = DigestOf("tenant"),
                                 .token_start = 64,
                                 .tokens = tokens},
                    .payload = payload,
                    .section_bytes = {1000, 0, 4000},
                    .expires_unix_ms = 1800000000456};
    EXPECT_TRUE(CheckPutItem(item).ok());
    header = RawRecordHeader(item);
    header.sequence = 77;
    header.written_unix_ms = 1700000000123;
  }
};

TEST(Record, HasTheBytesThatTheOracleWrites) {
  const Golden golden;
  Sha256 hash;
  hash.Update(WriteRecord(golden.header, golden.payload));
  EXPECT_EQ(ToHex(hash.Finish()),
            "b90b53af3d6a1f125817933b8b7e24d5cb2783f122aff5aedba3099168e0d90a");
}

TEST(Record, IsReadBack) {
  const Golden golden;
  const std::vector<std::byte> record = WriteRecord(golden.header, golden.payload);
  std::span<const std::byte> stored;
  const Result<RecordHeader> header = ReadRecord(record, &stored);
  ASSERT_TRUE(header.ok()) << header.status().message();
  EXPECT_TRUE(
      std::equal(stored.begin(), stored.end(), golden.payload.begin(), golden.payload.end()));
  EXPECT_EQ(header->tokens, golden.tokens);
  EXPECT_EQ(header->expires_unix_ms, 1800000000456);
  EXPECT_TRUE(CompareRecordIdentity(*header, IdentityOf(golden.header), 5000).ok());
}

TEST(Record, EveryFlippedByteShows) {
  const Golden golden;
  std::vector<std::byte> record = WriteRecord(golden.header, golden.payload);
  std::span<const std::byte> stored;
  for (size_t i = 0; i < record.size(); ++i) {
    const std::byte mask = std::byte{1} << (i % 8);
    record[i] ^= mask;
    EXPECT_FALSE(ReadRecord(record, &stored).ok()) << i;
    record[i] ^= mask;
  }
  EXPECT_TRUE(ReadRecord(record, &stored).ok());
  for (const size_t size : {size_t{0}, size_t{4095}, size_t{4096}, record.size() - 4096}) {
    EXPECT_FALSE(ReadRecord(std::span(record).first(size), &stored).ok()) << size;
  }
}

// A field of the header set to a value, with a CRC that fits.
Status ReadForged(size_t offset, uint32_t value) {
  const Golden golden;
  std::vector<std::byte> record = WriteRecord(golden.header, golden.payload);
  const std::span<std::byte> page = std::span(record).first(kRecordHeaderBytes);
  StoreNumber<uint32_t>(page, offset, value);
  StoreNumber<uint32_t>(page, record_offset::kCrc, 0);
  StoreNumber<uint32_t>(page, record_offset::kCrc, Crc32c(page));
  return ReadRecordHeader(page).status();
}

TEST(Record, LyingHeadersAreRefused) {
  EXPECT_EQ(ReadForged(record_offset::kVersion, 2).code(), StatusCode::kUnimplemented);
  EXPECT_EQ(ReadForged(record_offset::kFlags, 1).code(), StatusCode::kUnimplemented);
  EXPECT_EQ(ReadForged(record_offset::kCodec, 9).code(), StatusCode::kUnimplemented);
  for (const size_t offset : {record_offset::kTokenCount, record_offset::kSectionCount,
                              record_offset::kPayloadBytes, record_offset::kStoredBytes,
                              record_offset::kPayloadBytes + 4, record_offset::kStoredBytes + 4,
                              record_offset::kSections + 8, record_offset::kSections + 12}) {
    EXPECT_EQ(ReadForged(offset, 0xFFFFFFFF).code(), StatusCode::kDataLoss) << offset;
  }
  EXPECT_EQ(ReadForged(record_offset::kTokenCount, 0).code(), StatusCode::kDataLoss);
}

TEST(Record, LimitsAreChecked) {
  const TestBlock block(0);
  const std::vector<int32_t> tokens(kRecordTokensMax + 1);
  PutItem item = block.Put();
  item.identity.tokens = tokens;
  EXPECT_EQ(CheckPutItem(item).message(), "a record has 257 tokens, from 1 to 256 are allowed");
  item = block.Put();
  item.section_bytes.assign(kRecordSectionsMax + 1, 0);
  EXPECT_EQ(CheckPutItem(item).message(), "a record has 177 sections, from 1 to 176 are allowed");
  item = block.Put();
  item.payload = {};
  EXPECT_EQ(CheckPutItem(item).code(), StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace kvasir
