// The bytes of the disk store's files around the records: segment files and the index.
// docs/record_format.md explains them; this file alone knows the offsets. Little-endian.
//
//   segment-00000007: a header page, then records (record_format.h), each at a page:
//      0  magic "KVASIRSG"   8  version u32   12  segment id u32   16  zeros
//   4092  CRC-32C u32 of bytes 0 to 4091
//
//   index: a header, then entries of 128 bytes. The first entries are a snapshot, made in a file
//   of another name and renamed; what happens afterwards is appended. It is read up to the first
//   entry whose CRC is wrong.
//      0  magic "KVASIRIX"   8  version u32   12  next segment id u32   16  generation u64
//     24  entries in the snapshot u64   32  next sequence u64   40  zeros
//    124  CRC-32C u32 of bytes 0 to 123
//
//   entry:
//      0  CRC-32C u32 of bytes 4 to 127          4  kind u8   5  flags u8 (1 = pinned)
//      6  token count u16                        8  sequence u64
//     16  key 32   48  tenant 32                80  first 8 bytes of the parent's key
//     88  segment id u32   92  page in it u32   96  payload bytes u32   100  stored bytes u32
//    104  token start u32  108  use count u32  112  expires, Unix ms i64
//    120  written, Unix s u32                  124  used last, Unix s u32
//   kinds: 1 a record is there, or has changed; 2 the record with this key and sequence is gone;
//   3 pages of the segment before `page` are accounted for; 4 the segment is gone

#ifndef KVASIR_STORE_DISK_FORMAT_H_
#define KVASIR_STORE_DISK_FORMAT_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "kvasir/base/hash.h"

namespace kvasir {

inline constexpr std::string_view kSegmentMagic = "KVASIRSG";
inline constexpr std::string_view kIndexMagic = "KVASIRIX";
inline constexpr uint32_t kDiskVersion = 1;
inline constexpr size_t kSegmentHeaderBytes = 4096;
inline constexpr size_t kIndexHeaderBytes = 128;
inline constexpr size_t kIndexEntryBytes = 128;

inline constexpr const char* kIndexFileName = "index";
inline constexpr const char* kIndexTemporaryName = "index.new";
inline constexpr const char* kLockFileName = "lock";

enum class IndexEntryKind : uint8_t {
  kRecord = 1,
  kRemoved = 2,
  kSegmentMark = 3,
  kSegmentGone = 4,
};

// What an entry says of a record; of other kinds only some fields matter.
struct IndexEntry {
  IndexEntryKind kind = IndexEntryKind::kRecord;
  bool pinned = false;
  uint16_t token_count = 0;
  uint64_t sequence = 0;
  Digest key;
  Digest tenant;
  uint64_t parent_head = 0;
  uint32_t segment = 0;
  uint32_t page = 0;
  uint32_t payload_bytes = 0;
  uint32_t stored_bytes = 0;
  uint32_t token_start = 0;
  uint32_t use_count = 0;
  int64_t expires_unix_ms = 0;
  uint32_t written_unix_s = 0;
  uint32_t used_unix_s = 0;
};

struct IndexHeader {
  uint32_t next_segment = 0;
  uint64_t generation = 0;
  uint64_t snapshot_entry_count = 0;
  uint64_t next_sequence = 0;
};

// REQUIRE pages and entries of their sizes. Readers return nullopt for what is damaged or unknown.
void WriteSegmentHeader(uint32_t segment, std::span<std::byte> page);
std::optional<uint32_t> ReadSegmentHeader(std::span<const std::byte> page);
void WriteIndexHeader(const IndexHeader& header, std::span<std::byte> bytes);
std::optional<IndexHeader> ReadIndexHeader(std::span<const std::byte> bytes);
void WriteIndexEntry(const IndexEntry& entry, std::span<std::byte> bytes);
std::optional<IndexEntry> ReadIndexEntry(std::span<const std::byte> bytes);

std::string SegmentFileName(uint32_t segment);
// nullopt for every name but those.
std::optional<uint32_t> ParseSegmentFileName(std::string_view name);

// The first 8 bytes of a key, as a number: enough to guess that a parent is there.
uint64_t KeyHead(const Digest& key);

}  // namespace kvasir

#endif  // KVASIR_STORE_DISK_FORMAT_H_
