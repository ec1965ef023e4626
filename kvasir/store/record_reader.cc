#include "kvasir/store/record_reader.h"

#include <algorithm>
#include <cstring>

#include "kvasir/base/check.h"
#include "kvasir/store/byte_order.h"
#include "kvasir/store/checksum.h"

namespace kvasir {

namespace {

using namespace record_offset;  // NOLINT: the offsets of this very file format

bool HasMagic(std::span<const std::byte> bytes, std::string_view magic) {
  return bytes.size() >= magic.size() && std::memcmp(bytes.data(), magic.data(), magic.size()) == 0;
}

// The CRC with the field that holds it read as 0.
uint32_t HeaderCrc(std::span<const std::byte> page) {
  constexpr std::byte kNoCrc[4] = {};
  uint32_t crc = Crc32c(page.first(kCrc));
  crc = Crc32c(kNoCrc, crc);
  return Crc32c(page.subspan(kCrc + sizeof(kNoCrc)), crc);
}

Status ReadSections(std::span<const std::byte> page, RecordHeader& header) {
  const uint32_t section_count = LoadNumber<uint32_t>(page, kSectionCount);
  if (section_count == 0 || section_count > kRecordSectionsMax) {
    return DataLoss("the header has " + std::to_string(section_count) + " sections");
  }
  uint64_t stored_bytes = 0;
  uint64_t payload_bytes = 0;
  for (size_t i = 0; i < section_count; ++i) {
    const size_t offset = kSections + kSectionStride * i;
    const RecordSection section = {.checksum = LoadNumber<uint64_t>(page, offset),
                                   .stored_bytes = LoadNumber<uint32_t>(page, offset + 8),
                                   .payload_bytes = LoadNumber<uint32_t>(page, offset + 12)};
    stored_bytes += section.stored_bytes;
    payload_bytes += section.payload_bytes;
    header.sections.push_back(section);
  }
  if (header.payload_bytes > kRecordPayloadBytesMax || header.payload_bytes != payload_bytes) {
    return DataLoss("the header has " + std::to_string(header.payload_bytes) +
                    " payload bytes, its sections " + std::to_string(payload_bytes));
  }
  if (header.stored_bytes > kRecordPayloadBytesMax || header.stored_bytes != stored_bytes) {
    return DataLoss("the header has " + std::to_string(header.stored_bytes) +
                    " stored bytes, its sections " + std::to_string(stored_bytes));
  }
  if (stored_bytes != payload_bytes) {
    return DataLoss("a raw record stores " + std::to_string(stored_bytes) + " of " +
                    std::to_string(payload_bytes) + " bytes");
  }
  return OkStatus();
}

Status Differs(const std::string& what) { return NotFound("the record is of " + what); }

}  // namespace

Result<RecordHeader> ReadRecordHeader(std::span<const std::byte> page) {
  KVASIR_CHECK(page.size() == kRecordHeaderBytes);
  if (!HasMagic(page, kRecordMagic)) return DataLoss("there is no record header");
  RecordHeader header;
  header.crc = LoadNumber<uint32_t>(page, kCrc);
  if (header.crc != HeaderCrc(page)) return DataLoss("the header's CRC is wrong");
  const uint32_t version = LoadNumber<uint32_t>(page, kVersion);
  const uint32_t flags = LoadNumber<uint32_t>(page, kFlags);
  const uint32_t codec = LoadNumber<uint32_t>(page, kCodec);
  if (version != kRecordVersion || LoadNumber<uint32_t>(page, kHeaderBytes) != kRecordHeaderBytes) {
    return Unimplemented("the record has version " + std::to_string(version));
  }
  if (flags != 0) return Unimplemented("the record has flags " + std::to_string(flags));
  if (codec > static_cast<uint32_t>(RecordCodec::kRaw)) {
    return Unimplemented("the record has codec " + std::to_string(codec));
  }
  header.sequence = LoadNumber<uint64_t>(page, kSequence);
  header.fingerprint = LoadDigest(page, kFingerprint);
  header.key = LoadDigest(page, kKey);
  header.parent = LoadDigest(page, kParent);
  header.tenant = LoadDigest(page, kTenant);
  header.token_start = LoadNumber<uint64_t>(page, kTokenStart);
  header.payload_bytes = LoadNumber<uint64_t>(page, kPayloadBytes);
  header.stored_bytes = LoadNumber<uint64_t>(page, kStoredBytes);
  header.codec = static_cast<RecordCodec>(codec);
  header.written_unix_ms = LoadNumber<int64_t>(page, kWritten);
  header.expires_unix_ms = LoadNumber<int64_t>(page, kExpires);
  const uint32_t token_count = LoadNumber<uint32_t>(page, kTokenCount);
  if (token_count == 0 || token_count > kRecordTokensMax) {
    return DataLoss("the header has " + std::to_string(token_count) + " tokens");
  }
  header.tokens.resize(token_count);
  std::memcpy(header.tokens.data(), page.data() + kTokens, 4 * size_t{token_count});
  KVASIR_RETURN_IF_ERROR(ReadSections(page, header));
  return header;
}

Status CheckRecordFooter(const RecordHeader& header, std::span<const std::byte> footer) {
  KVASIR_CHECK(footer.size() == kRecordFooterBytes);
  if (!HasMagic(footer, kRecordFooterMagic)) return DataLoss("the record has no end");
  if (LoadNumber<uint32_t>(footer, kFooterCrc) != Crc32c(footer.first(kFooterCrc))) {
    return DataLoss("the footer's CRC is wrong");
  }
  if (LoadNumber<uint64_t>(footer, kFooterSequence) != header.sequence ||
      LoadNumber<uint64_t>(footer, kFooterRecordBytes) != RecordBytes(header.stored_bytes) ||
      LoadNumber<uint32_t>(footer, kFooterHeaderCrc) != header.crc) {
    return DataLoss("the footer belongs to another header");
  }
  return OkStatus();
}

Status CheckRecordTail(const RecordHeader& header, std::span<const std::byte> tail) {
  KVASIR_CHECK(tail.size() == RecordTailBytes(header.stored_bytes));
  KVASIR_RETURN_IF_ERROR(CheckRecordFooter(header, tail.last(kRecordFooterBytes)));
  const auto padding = tail.first(tail.size() - kRecordFooterBytes)
                           .subspan(header.stored_bytes - RecordBodyBytes(header.stored_bytes));
  const bool zero =
      std::all_of(padding.begin(), padding.end(), [](std::byte b) { return b == std::byte{0}; });
  return zero ? OkStatus() : DataLoss("the padding is not zero");
}

Status CheckRecordSections(const RecordHeader& header, std::span<const std::byte> stored) {
  KVASIR_CHECK(stored.size() == header.stored_bytes);
  for (size_t i = 0; i < header.sections.size(); ++i) {
    const RecordSection& section = header.sections[i];
    if (Xxh3(stored.first(section.stored_bytes)) != section.checksum) {
      return DataLoss("the checksum of section " + std::to_string(i) + " is wrong");
    }
    stored = stored.subspan(section.stored_bytes);
  }
  return OkStatus();
}

Status CompareRecordIdentity(const RecordHeader& header, const RecordIdentity& identity,
                             uint64_t payload_bytes) {
  if (header.key != identity.key) return Differs("another key, " + ToHex(header.key));
  if (header.fingerprint != identity.fingerprint) {
    return Differs("another model or format, fingerprint " + ToHex(header.fingerprint));
  }
  if (header.tenant != identity.tenant) return Differs("another tenant");
  if (header.parent != identity.parent) return Differs("another parent, " + ToHex(header.parent));
  if (header.token_start != identity.token_start) {
    return Differs("tokens from " + std::to_string(header.token_start) + " on, not from " +
                   std::to_string(identity.token_start));
  }
  if (header.tokens.size() != identity.tokens.size()) {
    return Differs(std::to_string(header.tokens.size()) + " tokens, not " +
                   std::to_string(identity.tokens.size()));
  }
  for (size_t i = 0; i < header.tokens.size(); ++i) {
    if (header.tokens[i] == identity.tokens[i]) continue;
    return Differs("token " + std::to_string(header.tokens[i]) + " at position " +
                   std::to_string(header.token_start + i) + ", not " +
                   std::to_string(identity.tokens[i]));
  }
  if (header.payload_bytes != payload_bytes) {
    return Differs(std::to_string(header.payload_bytes) + " bytes, not " +
                   std::to_string(payload_bytes));
  }
  return OkStatus();
}

RecordIdentity IdentityOf(const RecordHeader& header) {
  return {.fingerprint = header.fingerprint,
          .key = header.key,
          .parent = header.parent,
          .tenant = header.tenant,
          .token_start = header.token_start,
          .tokens = header.tokens};
}

Result<RecordHeader> ReadRecord(std::span<const std::byte> record,
                                std::span<const std::byte>* stored) {
  if (record.size() < kRecordHeaderBytes) {
    return DataLoss("the record has " + std::to_string(record.size()) + " bytes");
  }
  KVASIR_ASSIGN_OR_RETURN(RecordHeader header, ReadRecordHeader(record.first(kRecordHeaderBytes)));
  if (record.size() != RecordBytes(header.stored_bytes)) {
    return DataLoss("the record has " + std::to_string(record.size()) + " bytes, its header says " +
                    std::to_string(RecordBytes(header.stored_bytes)));
  }
  KVASIR_RETURN_IF_ERROR(
      CheckRecordTail(header, record.last(RecordTailBytes(header.stored_bytes))));
  *stored = record.subspan(kRecordHeaderBytes, header.stored_bytes);
  KVASIR_RETURN_IF_ERROR(CheckRecordSections(header, *stored));
  return header;
}

}  // namespace kvasir
