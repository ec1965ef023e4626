#include "kvasir/store/store_tools.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>
#include <future>
#include <utility>

#include "kvasir/store/record_reader.h"

namespace kvasir {

namespace {

constexpr size_t kPrefixDigitsMin = 4;

std::vector<RecordInfo> ListRecords(const BlockStore& store) {
  std::vector<RecordInfo> infos;
  store.ForEach([&](const RecordInfo& info) {
    infos.push_back(info);
    return true;
  });
  return infos;
}

// What a hexadecimal digit stands for, -1 when it is none.
int DigitValue(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return -1;
}

Status PutRecord(DiskStore& store, const RecordHeader& header, std::span<const std::byte> payload) {
  PutItem item = {.identity = IdentityOf(header),
                  .payload = payload,
                  .section_bytes = {},
                  .expires_unix_ms = header.expires_unix_ms,
                  .pinned = false};
  for (const RecordSection& section : header.sections) {
    item.section_bytes.push_back(section.payload_bytes);
  }
  std::promise<Status> end;
  store.Put({item}, kNoDeadline, [&](size_t, const Status& status) { end.set_value(status); });
  return end.get_future().get();
}

// The record that begins at `offset` of a file.
Result<CheckedRecord> ReadRecordAt(int fd, uint64_t offset, uint64_t file_bytes) {
  FileOps& ops = FileOps::System();
  CheckedRecord record;
  record.bytes.resize(kRecordHeaderBytes);
  if (offset + kRecordHeaderBytes > file_bytes) return DataLoss("the file ends within a record");
  int64_t result = ReadPieces(ops, fd, {Piece(record.bytes)}, offset);
  if (result < 0) return ErrnoStatus("read the file", result);
  KVASIR_ASSIGN_OR_RETURN(record.header, ReadRecordHeader(record.bytes));
  const uint64_t record_bytes = RecordBytes(record.header.stored_bytes);
  if (record_bytes > file_bytes - offset) return DataLoss("the file ends within a record");
  record.bytes.resize(record_bytes);
  result = ReadPieces(ops, fd, {Piece(record.bytes)}, offset);
  if (result < 0) return ErrnoStatus("read the file", result);
  KVASIR_ASSIGN_OR_RETURN(record.header, ReadRecord(record.bytes, &record.stored));
  return record;
}

}  // namespace

Result<CheckedRecord> ReadChecked(const DiskStore& store, const Digest& key) {
  CheckedRecord record;
  KVASIR_ASSIGN_OR_RETURN(record.bytes, store.ReadUnchecked(key));
  KVASIR_ASSIGN_OR_RETURN(record.header, ReadRecord(record.bytes, &record.stored));
  if (record.header.key != key) {
    return DataLoss("the record is of another key, " + ToHex(record.header.key));
  }
  return record;
}

Result<VerifyReport> VerifyStore(const DiskStore& store) {
  VerifyReport report;
  report.recovery = store.recovery();
  for (const RecordInfo& info : ListRecords(store)) {
    const Result<CheckedRecord> record = ReadChecked(store, info.key);
    if (record.ok()) {
      ++report.good_count;
      report.byte_count += info.record_bytes;
    } else if (record.status().code() != StatusCode::kNotFound) {
      report.bad.push_back({info.key, record.status().message()});
    }
  }
  return report;
}

Result<uint64_t> ExportRecords(const DiskStore& store, const Digest* tenant,
                               const std::string& path) {
  FileOps& ops = FileOps::System();
  const int fd = ops.Open(path, O_WRONLY | O_CREAT | O_EXCL);
  if (fd < 0) return ErrnoStatus("make " + path, fd);
  const OpenFile file(fd);
  uint64_t count = 0;
  uint64_t offset = 0;
  for (const RecordInfo& info : ListRecords(store)) {
    if (tenant != nullptr && info.tenant != *tenant) continue;
    const Result<CheckedRecord> record = ReadChecked(store, info.key);
    if (!record.ok()) continue;
    const int64_t result = WritePieces(ops, fd, {Piece(record->bytes)}, offset);
    if (result != 0) return ErrnoStatus("write " + path, result);
    offset += record->bytes.size();
    ++count;
  }
  const int synced = ops.Sync(fd);
  if (synced != 0) return ErrnoStatus("write " + path, synced);
  return count;
}

Result<ImportReport> ImportRecords(DiskStore& store, const std::string& path, int64_t now_unix_ms) {
  const int fd = FileOps::System().Open(path, O_RDONLY);
  if (fd < 0) return ErrnoStatus("open " + path, fd);
  const OpenFile file(fd);
  struct stat info;
  if (fstat(fd, &info) != 0) return ErrnoStatus("look at " + path, -errno);
  if (!S_ISREG(info.st_mode)) return InvalidArgument(path + " is not a regular file");
  const auto file_bytes = static_cast<uint64_t>(info.st_size);
  ImportReport report;
  for (uint64_t offset = 0; offset < file_bytes;) {
    const Result<CheckedRecord> record = ReadRecordAt(fd, offset, file_bytes);
    if (!record.ok()) {
      return record.status().WithContext(path + " at byte " + std::to_string(offset));
    }
    offset += record->bytes.size();
    const int64_t expires_unix_ms = record->header.expires_unix_ms;
    if (expires_unix_ms != 0 && expires_unix_ms <= now_unix_ms) {
      ++report.expired_count;
      continue;
    }
    KVASIR_RETURN_IF_ERROR(PutRecord(store, record->header, record->stored));
    ++report.stored_count;
  }
  return report;
}

Result<Digest> FindKey(const BlockStore& store, std::string_view prefix) {
  bool is_hex = prefix.size() >= kPrefixDigitsMin && prefix.size() <= 64;
  for (const char c : prefix) is_hex = is_hex && DigitValue(c) >= 0;
  if (!is_hex) {
    return InvalidArgument("'" + std::string(prefix) +
                           "' is no key: 4 to 64 of its digits 0-9a-f are needed");
  }
  std::vector<Digest> found;
  store.ForEach([&](const RecordInfo& info) {
    if (ToHex(info.key).starts_with(prefix)) found.push_back(info.key);
    return found.size() < 2;
  });
  if (found.empty()) return NotFound("no record has a key that begins with " + std::string(prefix));
  if (found.size() > 1) {
    return InvalidArgument("several keys begin with " + std::string(prefix) + ": give more digits");
  }
  return found[0];
}

Result<Digest> ParseDigest(std::string_view text) {
  Digest digest;
  bool is_hex = text.size() == 2 * digest.bytes.size();
  for (size_t i = 0; is_hex && i < digest.bytes.size(); ++i) {
    const int high = DigitValue(text[2 * i]), low = DigitValue(text[2 * i + 1]);
    is_hex = high >= 0 && low >= 0;
    digest.bytes[i] = static_cast<std::byte>(16 * high + low);
  }
  if (is_hex) return digest;
  return InvalidArgument("'" + std::string(text) + "' is no digest: it has 64 digits 0-9a-f");
}

}  // namespace kvasir
