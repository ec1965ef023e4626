// Reads records and believes nothing: lengths are bounded before they are used, checksums of
// header, footer and every section are compared, and the identity is held against the one that is
// asked for. The pair of record_writer.h; record_format.h has the bytes. Pure functions, any
// thread.

#ifndef KVASIR_STORE_RECORD_READER_H_
#define KVASIR_STORE_RECORD_READER_H_

#include <cstddef>
#include <span>
#include <string>

#include "kvasir/base/status.h"
#include "kvasir/store/block_store.h"
#include "kvasir/store/record_format.h"

namespace kvasir {

// The header in a page of kRecordHeaderBytes. kDataLoss says what is wrong with it; kUnimplemented
// when its CRC is right but its version, a flag or the codec is not known.
Result<RecordHeader> ReadRecordHeader(std::span<const std::byte> page);

// Whether the last kRecordFooterBytes of a record are the footer of this header.
Status CheckRecordFooter(const RecordHeader& header, std::span<const std::byte> footer);

// The same of the whole tail, with its padding. REQUIRES RecordTailBytes(header.stored_bytes).
Status CheckRecordTail(const RecordHeader& header, std::span<const std::byte> tail);

// Whether every section of the stored payload has its checksum. REQUIRES header.stored_bytes.
Status CheckRecordSections(const RecordHeader& header, std::span<const std::byte> stored);

// Whether the record is of `identity` and has `payload_bytes`; kNotFound names the first thing that
// differs: this is how a miss is explained.
Status CompareRecordIdentity(const RecordHeader& header, const RecordIdentity& identity,
                             uint64_t payload_bytes);

// The identity of a header; its tokens live as long as the header.
RecordIdentity IdentityOf(const RecordHeader& header);

// A whole record in one piece: all of the checks above but the identity. On success *stored is the
// part of `record` that holds the stored payload.
Result<RecordHeader> ReadRecord(std::span<const std::byte> record,
                                std::span<const std::byte>* stored);

}  // namespace kvasir

#endif  // KVASIR_STORE_RECORD_READER_H_
