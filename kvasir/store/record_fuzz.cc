// Fuzz target: bytes as a record, as they are and with header and footer made to look right, and as
// entries of an index.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "kvasir/base/check.h"
#include "kvasir/store/byte_order.h"
#include "kvasir/store/checksum.h"
#include "kvasir/store/disk_format.h"
#include "kvasir/store/record_reader.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace kvasir;  // NOLINT: everything here is Kvasir's
  std::vector<std::byte> bytes(size);
  std::copy_n(reinterpret_cast<const std::byte*>(data), size, bytes.begin());
  std::span<const std::byte> stored;
  if (ReadRecord(bytes, &stored).ok()) KVASIR_CHECK(stored.size() < size);

  if (size >= kRecordHeaderBytes) {
    const std::span<std::byte> page = std::span(bytes).first(kRecordHeaderBytes);
    StoreNumber<uint32_t>(page, record_offset::kCrc, 0);
    StoreNumber<uint32_t>(page, record_offset::kCrc, Crc32c(page));
    const Result<RecordHeader> header = ReadRecordHeader(page);
    if (header.ok()) {
      KVASIR_CHECK(header->tokens.size() <= kRecordTokensMax);
      KVASIR_CHECK(header->stored_bytes <= kRecordPayloadBytesMax);
      KVASIR_CHECK(CompareRecordIdentity(*header, IdentityOf(*header), header->payload_bytes).ok());
      if (size == RecordBytes(header->stored_bytes)) {
        const auto tail = std::span(bytes).last(RecordTailBytes(header->stored_bytes));
        [[maybe_unused]] const Status checked = CheckRecordTail(*header, tail);
        [[maybe_unused]] const Status summed = CheckRecordSections(
            *header, std::span(bytes).subspan(kRecordHeaderBytes, header->stored_bytes));
      }
    }
  }
  for (size_t i = 0; i + kIndexEntryBytes <= size; i += kIndexEntryBytes) {
    const std::span<std::byte> entry = std::span(bytes).subspan(i, kIndexEntryBytes);
    StoreNumber<uint32_t>(entry, 0, Crc32c(entry.subspan(4)));
    if (const auto read = ReadIndexEntry(entry)) {
      std::vector<std::byte> again(kIndexEntryBytes);
      WriteIndexEntry(*read, again);
      KVASIR_CHECK(ReadIndexEntry(again).has_value());
    }
  }
  return 0;
}
