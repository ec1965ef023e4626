// The bytes of a record: one block and what it is of, the same in every place where records live.
// docs/record_format.md explains it; this file alone knows the offsets, record_writer and
// record_reader use them. Little-endian; every length is checked before it is believed; a version,
// flag or codec that is not known makes the record a miss. No byte of a record is outside of a
// checksum, except padding, which must be zero.
//
//   0                4096                              record_bytes
//   | header 4096    | stored payload | zeros | footer 64 |
//
// record_bytes is a multiple of 4096, so that records can be read and written around the page
// cache, and the payload lies at a page.
//
//   header                                      footer (the last 64 bytes)
//      0  magic "KVASIRRC"                         0  magic "KVASIRND"
//      8  version u32                              8  sequence u64, as in the header
//     12  header bytes u32 = 4096                 16  record bytes u64
//     16  CRC-32C u32 of the header, this         24  CRC-32C u32 of the header
//         field as 0                              28  zeros
//     20  flags u32 = 0                           60  CRC-32C u32 of bytes 0 to 59
//     24  sequence u64
//     32  fingerprint   64  key   96  parent   128  tenant: 32 bytes each
//    160  token start u64        168  token count u32        172  section count u32
//    176  payload bytes u64      184  stored bytes u64       192  codec u32   196  zeros
//    200  written, Unix ms i64   208  expires, Unix ms i64   216  zeros
//    256  token ids i32 [256]
//   1280  sections [176]: xxh3-64 of the stored bytes u64, stored bytes u32, payload bytes u32

#ifndef KVASIR_STORE_RECORD_FORMAT_H_
#define KVASIR_STORE_RECORD_FORMAT_H_

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "kvasir/base/hash.h"

namespace kvasir {

// Of pages and of the alignment that O_DIRECT asks for on common devices.
inline constexpr size_t kStorePageBytes = 4096;

inline constexpr size_t kRecordHeaderBytes = kStorePageBytes;
inline constexpr size_t kRecordFooterBytes = 64;
inline constexpr size_t kRecordTokensMax = 256;
// What fits into the header behind the tokens; the largest Llama has 126 layers.
inline constexpr size_t kRecordSectionsMax = 176;
// Bounds what a forged header can make a reader allocate. A block of 32 tokens of Llama-3 405B in
// f32 has 33 MB.
inline constexpr uint64_t kRecordPayloadBytesMax = uint64_t{1} << 30;

inline constexpr std::string_view kRecordMagic = "KVASIRRC";
inline constexpr std::string_view kRecordFooterMagic = "KVASIRND";
inline constexpr uint32_t kRecordVersion = 1;

enum class RecordCodec : uint32_t {
  kRaw = 0,  // the stored payload is the payload
};

struct RecordSection {
  uint64_t checksum = 0;       // xxh3-64 of the stored bytes
  uint64_t stored_bytes = 0;   // below 2^32
  uint64_t payload_bytes = 0;  // below 2^32
};

// A header as a value.
struct RecordHeader {
  uint64_t sequence = 0;  // of writing, within one store
  Digest fingerprint;
  Digest key;
  Digest parent;
  Digest tenant;
  uint64_t token_start = 0;
  std::vector<int32_t> tokens;
  std::vector<RecordSection> sections;
  uint64_t payload_bytes = 0;
  uint64_t stored_bytes = 0;
  RecordCodec codec = RecordCodec::kRaw;
  int64_t written_unix_ms = 0;
  int64_t expires_unix_ms = 0;  // 0 = never
  uint32_t crc = 0;             // of the header itself
};

// Offsets, for record_writer.cc and record_reader.cc.
namespace record_offset {
inline constexpr size_t kVersion = 8;
inline constexpr size_t kHeaderBytes = 12;
inline constexpr size_t kCrc = 16;
inline constexpr size_t kFlags = 20;
inline constexpr size_t kSequence = 24;
inline constexpr size_t kFingerprint = 32;
inline constexpr size_t kKey = 64;
inline constexpr size_t kParent = 96;
inline constexpr size_t kTenant = 128;
inline constexpr size_t kTokenStart = 160;
inline constexpr size_t kTokenCount = 168;
inline constexpr size_t kSectionCount = 172;
inline constexpr size_t kPayloadBytes = 176;
inline constexpr size_t kStoredBytes = 184;
inline constexpr size_t kCodec = 192;
inline constexpr size_t kWritten = 200;
inline constexpr size_t kExpires = 208;
inline constexpr size_t kTokens = 256;
inline constexpr size_t kSections = kTokens + 4 * kRecordTokensMax;
inline constexpr size_t kSectionStride = 16;
static_assert(kSections + kSectionStride * kRecordSectionsMax == kRecordHeaderBytes);

inline constexpr size_t kFooterSequence = 8;
inline constexpr size_t kFooterRecordBytes = 16;
inline constexpr size_t kFooterHeaderCrc = 24;
inline constexpr size_t kFooterCrc = 60;
static_assert(kFooterCrc + 4 == kRecordFooterBytes);
}  // namespace record_offset

// The whole record of a payload that takes `stored_bytes`.
inline constexpr uint64_t RecordBytes(uint64_t stored_bytes) {
  const uint64_t bytes = kRecordHeaderBytes + stored_bytes + kRecordFooterBytes;
  return (bytes + kStorePageBytes - 1) / kStorePageBytes * kStorePageBytes;
}

// A record in the three pieces in which it is read and written: the header page; the body, whole
// pages of the stored payload; the tail, the rest of the payload, padding and footer.
inline constexpr uint64_t RecordBodyBytes(uint64_t stored_bytes) {
  return stored_bytes / kStorePageBytes * kStorePageBytes;
}
inline constexpr uint64_t RecordTailBytes(uint64_t stored_bytes) {
  return RecordBytes(stored_bytes) - kRecordHeaderBytes - RecordBodyBytes(stored_bytes);
}
inline constexpr size_t kRecordTailBytesMax = 2 * kStorePageBytes;

}  // namespace kvasir

#endif  // KVASIR_STORE_RECORD_FORMAT_H_
