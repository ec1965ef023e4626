#include "kvasir/store/index_file.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <utility>

namespace kvasir {

namespace {

// 2^24 records of 160 KiB are 2.5 TB; more is not an index of ours.
constexpr uint64_t kIndexBytesMax = kIndexHeaderBytes + (uint64_t{1} << 24) * kIndexEntryBytes;

std::vector<std::byte> Encode(std::span<const IndexEntry> entries) {
  std::vector<std::byte> bytes(entries.size() * kIndexEntryBytes);
  for (size_t i = 0; i < entries.size(); ++i) {
    WriteIndexEntry(entries[i], std::span(bytes).subspan(i * kIndexEntryBytes, kIndexEntryBytes));
  }
  return bytes;
}

}  // namespace

Result<IndexContents> ReadIndexFile(const DiskDirectory& directory, FileOps& ops) {
  const std::string path = directory.FilePath(kIndexFileName);
  const int fd = ops.Open(path, O_RDONLY);
  if (fd == -ENOENT) return NotFound("there is no index");
  if (fd < 0) return ErrnoStatus("open " + path, fd);
  const OpenFile file(fd);
  struct stat info;
  if (fstat(fd, &info) != 0) return ErrnoStatus("look at " + path, -errno);
  const uint64_t file_bytes = static_cast<uint64_t>(info.st_size);
  if (file_bytes < kIndexHeaderBytes || file_bytes > kIndexBytesMax) {
    return DataLoss("the index has " + std::to_string(file_bytes) + " bytes");
  }
  std::vector<std::byte> bytes(file_bytes);
  const int64_t result = ReadPieces(ops, fd, {Piece(bytes)}, 0);
  if (result < 0) return ErrnoStatus("read " + path, result);
  const auto header = ReadIndexHeader(std::span(bytes).first(kIndexHeaderBytes));
  if (!header) return DataLoss("the index has no header");

  IndexContents contents = {.header = *header, .entries = {}, .whole = result == 0};
  std::span<const std::byte> rest = std::span(bytes).subspan(kIndexHeaderBytes);
  contents.entries.reserve(rest.size() / kIndexEntryBytes);
  while (rest.size() >= kIndexEntryBytes) {
    const auto entry = ReadIndexEntry(rest.first(kIndexEntryBytes));
    if (!entry) break;
    contents.entries.push_back(*entry);
    rest = rest.subspan(kIndexEntryBytes);
  }
  if (!rest.empty() || contents.entries.size() < header->snapshot_entry_count) {
    contents.whole = false;
  }
  return contents;
}

Status IndexFile::WriteSnapshot(DiskDirectory& directory, IndexHeader header,
                                std::span<const IndexEntry> entries) {
  header.generation = generation_ = std::max(generation_ + 1, header.generation);
  header.snapshot_entry_count = entries.size();
  std::vector<std::byte> start(kIndexHeaderBytes);
  WriteIndexHeader(header, start);
  const std::vector<std::byte> body = Encode(entries);

  file_.reset();
  const std::string path = directory.FilePath(kIndexTemporaryName);
  const int fd = ops_.Open(path, O_RDWR | O_CREAT | O_TRUNC);
  if (fd < 0) return ErrnoStatus("make " + path, fd);
  auto file = std::make_unique<OpenFile>(fd);
  int64_t result = WritePieces(ops_, fd, {Piece(start), Piece(body)}, 0);
  if (result == 0) result = ops_.Sync(fd);
  if (result == 0) result = ops_.Rename(path, directory.FilePath(kIndexFileName));
  if (result != 0) {
    ops_.Unlink(path);
    return ErrnoStatus("write " + path, result);
  }
  directory.SyncNames();
  file_ = std::move(file);
  byte_count_ = start.size() + body.size();
  appended_count_ = 0;
  return OkStatus();
}

Status IndexFile::Append(std::span<const IndexEntry> entries) {
  if (entries.empty()) return OkStatus();
  if (file_ == nullptr) return Unavailable("there is no index to append to");
  const std::vector<std::byte> bytes = Encode(entries);
  const int64_t result = WritePieces(ops_, file_->fd(), {Piece(bytes)}, byte_count_);
  if (result != 0) {
    file_.reset();  // its end is unknown: the next snapshot begins a new file
    return ErrnoStatus("append to the index", result);
  }
  byte_count_ += bytes.size();
  appended_count_ += entries.size();
  return OkStatus();
}

}  // namespace kvasir
