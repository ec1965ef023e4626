#include "kvasir/store/record_writer.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <string>

#include "kvasir/base/check.h"
#include "kvasir/store/byte_order.h"
#include "kvasir/store/checksum.h"

namespace kvasir {

namespace {

std::string Limit(const char* what, uint64_t value, uint64_t max) {
  return std::string("a record has ") + std::to_string(value) + " " + what + ", from 1 to " +
         std::to_string(max) + " are allowed";
}

}  // namespace

Status CheckPutItem(const PutItem& item) {
  const size_t token_count = item.identity.tokens.size();
  if (token_count == 0 || token_count > kRecordTokensMax) {
    return InvalidArgument(Limit("tokens", token_count, kRecordTokensMax));
  }
  // The index counts tokens in 32 bits; no context comes near.
  if (item.identity.token_start > std::numeric_limits<uint32_t>::max()) {
    return InvalidArgument("a record starts at token " + std::to_string(item.identity.token_start) +
                           ", at most 4294967295 is allowed");
  }
  if (item.payload.empty() || item.payload.size() > kRecordPayloadBytesMax) {
    return InvalidArgument(Limit("payload bytes", item.payload.size(), kRecordPayloadBytesMax));
  }
  const size_t section_count = item.section_bytes.size();
  if (section_count == 0 || section_count > kRecordSectionsMax) {
    return InvalidArgument(Limit("sections", section_count, kRecordSectionsMax));
  }
  uint64_t sum = 0;
  for (const uint64_t bytes : item.section_bytes) {
    if (bytes > kRecordPayloadBytesMax) {
      return InvalidArgument(Limit("bytes in a section", bytes, kRecordPayloadBytesMax));
    }
    sum += bytes;
  }
  if (sum != item.payload.size()) {
    return InvalidArgument("the sections of a record have " + std::to_string(sum) +
                           " bytes together, its payload has " +
                           std::to_string(item.payload.size()));
  }
  if (item.expires_unix_ms < 0) {
    return InvalidArgument("a record expires at " + std::to_string(item.expires_unix_ms) +
                           " ms, from 0 (never) is allowed");
  }
  return OkStatus();
}

RecordHeader RawRecordHeader(const PutItem& item) {
  const RecordIdentity& identity = item.identity;
  RecordHeader header;
  header.fingerprint = identity.fingerprint;
  header.key = identity.key;
  header.parent = identity.parent;
  header.tenant = identity.tenant;
  header.token_start = identity.token_start;
  header.tokens.assign(identity.tokens.begin(), identity.tokens.end());
  header.payload_bytes = item.payload.size();
  header.stored_bytes = item.payload.size();
  header.expires_unix_ms = item.expires_unix_ms;
  std::span<const std::byte> rest = item.payload;
  for (const uint64_t bytes : item.section_bytes) {
    header.sections.push_back({Xxh3(rest.first(bytes)), bytes, bytes});
    rest = rest.subspan(bytes);
  }
  return header;
}

void WriteRecordHeader(RecordHeader& header, std::span<std::byte> page) {
  using namespace record_offset;  // NOLINT: the offsets of this very file format
  KVASIR_CHECK(page.size() == kRecordHeaderBytes);
  KVASIR_CHECK(header.tokens.size() <= kRecordTokensMax);
  KVASIR_CHECK(header.sections.size() <= kRecordSectionsMax);
  std::fill(page.begin(), page.end(), std::byte{0});
  std::memcpy(page.data(), kRecordMagic.data(), kRecordMagic.size());
  StoreNumber<uint32_t>(page, kVersion, kRecordVersion);
  StoreNumber<uint32_t>(page, kHeaderBytes, kRecordHeaderBytes);
  StoreNumber<uint64_t>(page, kSequence, header.sequence);
  StoreDigest(page, kFingerprint, header.fingerprint);
  StoreDigest(page, kKey, header.key);
  StoreDigest(page, kParent, header.parent);
  StoreDigest(page, kTenant, header.tenant);
  StoreNumber<uint64_t>(page, kTokenStart, header.token_start);
  StoreNumber<uint32_t>(page, kTokenCount, static_cast<uint32_t>(header.tokens.size()));
  StoreNumber<uint32_t>(page, kSectionCount, static_cast<uint32_t>(header.sections.size()));
  StoreNumber<uint64_t>(page, kPayloadBytes, header.payload_bytes);
  StoreNumber<uint64_t>(page, kStoredBytes, header.stored_bytes);
  StoreNumber<uint32_t>(page, kCodec, static_cast<uint32_t>(header.codec));
  StoreNumber<int64_t>(page, kWritten, header.written_unix_ms);
  StoreNumber<int64_t>(page, kExpires, header.expires_unix_ms);
  for (size_t i = 0; i < header.tokens.size(); ++i) {
    StoreNumber<int32_t>(page, kTokens + 4 * i, header.tokens[i]);
  }
  for (size_t i = 0; i < header.sections.size(); ++i) {
    const RecordSection& section = header.sections[i];
    const size_t offset = kSections + kSectionStride * i;
    StoreNumber<uint64_t>(page, offset, section.checksum);
    StoreNumber<uint32_t>(page, offset + 8, static_cast<uint32_t>(section.stored_bytes));
    StoreNumber<uint32_t>(page, offset + 12, static_cast<uint32_t>(section.payload_bytes));
  }
  header.crc = Crc32c(page);
  StoreNumber<uint32_t>(page, kCrc, header.crc);
}

void WriteRecordTail(const RecordHeader& header, std::span<const std::byte> stored,
                     std::span<std::byte> tail) {
  using namespace record_offset;  // NOLINT: the offsets of this very file format
  KVASIR_CHECK(stored.size() == header.stored_bytes);
  KVASIR_CHECK(tail.size() == RecordTailBytes(stored.size()));
  const std::span<const std::byte> rest = stored.subspan(RecordBodyBytes(stored.size()));
  std::fill(tail.begin(), tail.end(), std::byte{0});
  std::copy(rest.begin(), rest.end(), tail.begin());
  const std::span<std::byte> footer = tail.last(kRecordFooterBytes);
  std::memcpy(footer.data(), kRecordFooterMagic.data(), kRecordFooterMagic.size());
  StoreNumber<uint64_t>(footer, kFooterSequence, header.sequence);
  StoreNumber<uint64_t>(footer, kFooterRecordBytes, RecordBytes(stored.size()));
  StoreNumber<uint32_t>(footer, kFooterHeaderCrc, header.crc);
  StoreNumber<uint32_t>(footer, kFooterCrc, Crc32c(footer.first(kFooterCrc)));
}

std::vector<std::byte> WriteRecord(RecordHeader header, std::span<const std::byte> stored) {
  std::vector<std::byte> record(RecordBytes(stored.size()));
  const std::span<std::byte> bytes = record;
  const size_t body_bytes = RecordBodyBytes(stored.size());
  WriteRecordHeader(header, bytes.first(kRecordHeaderBytes));
  std::copy_n(stored.begin(), body_bytes, bytes.begin() + kRecordHeaderBytes);
  WriteRecordTail(header, stored, bytes.subspan(kRecordHeaderBytes + body_bytes));
  return record;
}

}  // namespace kvasir
