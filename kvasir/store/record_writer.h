// Writes records: the header page and the tail around a payload that stays where it is. The pair of
// record_reader.h; record_format.h has the bytes. Pure functions, any thread.

#ifndef KVASIR_STORE_RECORD_WRITER_H_
#define KVASIR_STORE_RECORD_WRITER_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "kvasir/base/status.h"
#include "kvasir/store/block_store.h"
#include "kvasir/store/record_format.h"

namespace kvasir {

// Whether a record can hold the item: kInvalidArgument names the limit. Stores check before they
// take an item.
Status CheckPutItem(const PutItem& item);

// The header of a record that holds the item's payload as it is: everything but sequence and time,
// with the checksum of each section. REQUIRES CheckPutItem(item).
RecordHeader RawRecordHeader(const PutItem& item);

// Fills the header page and sets header.crc. REQUIRES kRecordHeaderBytes, and a header within the
// limits of record_format.h.
void WriteRecordHeader(RecordHeader& header, std::span<std::byte> page);

// Fills the tail: what `stored` has behind its last whole page, zeros, footer. REQUIRES that
// header.crc is that of the header page, and RecordTailBytes(stored.size()).
void WriteRecordTail(const RecordHeader& header, std::span<const std::byte> stored,
                     std::span<std::byte> tail);

// The whole record in one piece.
std::vector<std::byte> WriteRecord(RecordHeader header, std::span<const std::byte> stored);

}  // namespace kvasir

#endif  // KVASIR_STORE_RECORD_WRITER_H_
