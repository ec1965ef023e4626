#include "kvasir/store/disk_format.h"

#include <algorithm>
#include <cstdio>
#include <cstring>

#include "kvasir/base/check.h"
#include "kvasir/store/byte_order.h"
#include "kvasir/store/checksum.h"

namespace kvasir {

namespace {

constexpr uint8_t kPinnedFlag = 1;
constexpr std::string_view kSegmentPrefix = "segment-";
constexpr size_t kSegmentDigits = 8;

// Magic and version in front, CRC in the last four bytes.
void Seal(std::string_view magic, std::span<std::byte> bytes) {
  std::memcpy(bytes.data(), magic.data(), magic.size());
  StoreNumber<uint32_t>(bytes, 8, kDiskVersion);
  StoreNumber<uint32_t>(bytes, bytes.size() - 4, Crc32c(bytes.first(bytes.size() - 4)));
}

bool IsSealed(std::string_view magic, std::span<const std::byte> bytes) {
  return std::memcmp(bytes.data(), magic.data(), magic.size()) == 0 &&
         LoadNumber<uint32_t>(bytes, 8) == kDiskVersion &&
         LoadNumber<uint32_t>(bytes, bytes.size() - 4) == Crc32c(bytes.first(bytes.size() - 4));
}

}  // namespace

void WriteSegmentHeader(uint32_t segment, std::span<std::byte> page) {
  KVASIR_CHECK(page.size() == kSegmentHeaderBytes);
  std::fill(page.begin(), page.end(), std::byte{0});
  StoreNumber<uint32_t>(page, 12, segment);
  Seal(kSegmentMagic, page);
}

std::optional<uint32_t> ReadSegmentHeader(std::span<const std::byte> page) {
  KVASIR_CHECK(page.size() == kSegmentHeaderBytes);
  if (!IsSealed(kSegmentMagic, page)) return std::nullopt;
  return LoadNumber<uint32_t>(page, 12);
}

void WriteIndexHeader(const IndexHeader& header, std::span<std::byte> bytes) {
  KVASIR_CHECK(bytes.size() == kIndexHeaderBytes);
  std::fill(bytes.begin(), bytes.end(), std::byte{0});
  StoreNumber<uint32_t>(bytes, 12, header.next_segment);
  StoreNumber<uint64_t>(bytes, 16, header.generation);
  StoreNumber<uint64_t>(bytes, 24, header.snapshot_entry_count);
  StoreNumber<uint64_t>(bytes, 32, header.next_sequence);
  Seal(kIndexMagic, bytes);
}

std::optional<IndexHeader> ReadIndexHeader(std::span<const std::byte> bytes) {
  KVASIR_CHECK(bytes.size() == kIndexHeaderBytes);
  if (!IsSealed(kIndexMagic, bytes)) return std::nullopt;
  return IndexHeader{.next_segment = LoadNumber<uint32_t>(bytes, 12),
                     .generation = LoadNumber<uint64_t>(bytes, 16),
                     .snapshot_entry_count = LoadNumber<uint64_t>(bytes, 24),
                     .next_sequence = LoadNumber<uint64_t>(bytes, 32)};
}

void WriteIndexEntry(const IndexEntry& entry, std::span<std::byte> bytes) {
  KVASIR_CHECK(bytes.size() == kIndexEntryBytes);
  StoreNumber<uint8_t>(bytes, 4, static_cast<uint8_t>(entry.kind));
  StoreNumber<uint8_t>(bytes, 5, entry.pinned ? kPinnedFlag : uint8_t{0});
  StoreNumber<uint16_t>(bytes, 6, entry.token_count);
  StoreNumber<uint64_t>(bytes, 8, entry.sequence);
  StoreDigest(bytes, 16, entry.key);
  StoreDigest(bytes, 48, entry.tenant);
  StoreNumber<uint64_t>(bytes, 80, entry.parent_head);
  StoreNumber<uint32_t>(bytes, 88, entry.segment);
  StoreNumber<uint32_t>(bytes, 92, entry.page);
  StoreNumber<uint32_t>(bytes, 96, entry.payload_bytes);
  StoreNumber<uint32_t>(bytes, 100, entry.stored_bytes);
  StoreNumber<uint32_t>(bytes, 104, entry.token_start);
  StoreNumber<uint32_t>(bytes, 108, entry.use_count);
  StoreNumber<int64_t>(bytes, 112, entry.expires_unix_ms);
  StoreNumber<uint32_t>(bytes, 120, entry.written_unix_s);
  StoreNumber<uint32_t>(bytes, 124, entry.used_unix_s);
  StoreNumber<uint32_t>(bytes, 0, Crc32c(bytes.subspan(4)));
}

std::optional<IndexEntry> ReadIndexEntry(std::span<const std::byte> bytes) {
  KVASIR_CHECK(bytes.size() == kIndexEntryBytes);
  if (LoadNumber<uint32_t>(bytes, 0) != Crc32c(bytes.subspan(4))) return std::nullopt;
  const uint8_t kind = LoadNumber<uint8_t>(bytes, 4);
  if (kind < static_cast<uint8_t>(IndexEntryKind::kRecord) ||
      kind > static_cast<uint8_t>(IndexEntryKind::kSegmentGone)) {
    return std::nullopt;
  }
  return IndexEntry{.kind = static_cast<IndexEntryKind>(kind),
                    .pinned = (LoadNumber<uint8_t>(bytes, 5) & kPinnedFlag) != 0,
                    .token_count = LoadNumber<uint16_t>(bytes, 6),
                    .sequence = LoadNumber<uint64_t>(bytes, 8),
                    .key = LoadDigest(bytes, 16),
                    .tenant = LoadDigest(bytes, 48),
                    .parent_head = LoadNumber<uint64_t>(bytes, 80),
                    .segment = LoadNumber<uint32_t>(bytes, 88),
                    .page = LoadNumber<uint32_t>(bytes, 92),
                    .payload_bytes = LoadNumber<uint32_t>(bytes, 96),
                    .stored_bytes = LoadNumber<uint32_t>(bytes, 100),
                    .token_start = LoadNumber<uint32_t>(bytes, 104),
                    .use_count = LoadNumber<uint32_t>(bytes, 108),
                    .expires_unix_ms = LoadNumber<int64_t>(bytes, 112),
                    .written_unix_s = LoadNumber<uint32_t>(bytes, 120),
                    .used_unix_s = LoadNumber<uint32_t>(bytes, 124)};
}

std::string SegmentFileName(uint32_t segment) {
  char name[32];
  std::snprintf(name, sizeof(name), "segment-%08x", segment);
  return name;
}

std::optional<uint32_t> ParseSegmentFileName(std::string_view name) {
  if (!name.starts_with(kSegmentPrefix)) return std::nullopt;
  name.remove_prefix(kSegmentPrefix.size());
  if (name.size() != kSegmentDigits) return std::nullopt;
  uint32_t segment = 0;
  for (const char c : name) {
    const bool digit = c >= '0' && c <= '9';
    if (!digit && !(c >= 'a' && c <= 'f')) return std::nullopt;
    segment = 16 * segment + static_cast<uint32_t>(digit ? c - '0' : c - 'a' + 10);
  }
  return segment;
}

uint64_t KeyHead(const Digest& key) { return LoadNumber<uint64_t>(key.bytes, 0); }

}  // namespace kvasir
