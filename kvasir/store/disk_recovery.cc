#include "kvasir/store/disk_recovery.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <set>
#include <unordered_map>
#include <utility>

#include "kvasir/store/index_file.h"
#include "kvasir/store/record_reader.h"

namespace kvasir {

namespace {

// The pages of a segment, read in pieces: whoever looks for records hops from header to header, and
// goes page by page only where something is broken.
class PageReader {
 public:
  PageReader(FileOps& ops, int fd, uint64_t file_bytes)
      : ops_(ops), fd_(fd), file_bytes_(file_bytes), window_(kWindowBytes) {}

  // The page at `offset`, valid until the next call. nullptr past the end or when reading fails:
  // error() then says which.
  const std::byte* Page(uint64_t offset) {
    if (offset + kStorePageBytes > file_bytes_) return nullptr;
    if (offset < window_begin_ || offset + kStorePageBytes > window_begin_ + window_size_) {
      window_begin_ = offset;
      window_size_ = std::min<uint64_t>(kWindowBytes,
                                        (file_bytes_ - offset) / kStorePageBytes * kStorePageBytes);
      const int64_t result =
          ReadPieces(ops_, fd_, {Piece(window_.bytes().first(window_size_))}, offset);
      if (result != 0) {
        window_size_ = 0;
        error_ = result < 0 ? result : 0;
        return nullptr;
      }
    }
    return window_.bytes().data() + (offset - window_begin_);
  }
  int64_t error() const { return error_; }

 private:
  static constexpr uint64_t kWindowBytes = 65536;
  FileOps& ops_;
  const int fd_;
  const uint64_t file_bytes_;
  PageBuffer window_;
  uint64_t window_begin_ = 0;
  uint64_t window_size_ = 0;
  int64_t error_ = 0;
};

// Where data begins again at or behind `offset`, at a page; the end of the file when nowhere.
uint64_t NextData(int fd, uint64_t offset, uint64_t file_bytes) {
  const off_t data = lseek(fd, static_cast<off_t>(offset), SEEK_DATA);
  if (data < 0) return errno == ENXIO ? file_bytes : offset;
  return std::max(offset, static_cast<uint64_t>(data) / kStorePageBytes * kStorePageBytes);
}

Result<SegmentFile> OpenSegmentFile(DiskDirectory& directory, FileOps& ops, uint32_t id,
                                    uint64_t* file_bytes) {
  SegmentFile segment;
  segment.id = id;
  KVASIR_ASSIGN_OR_RETURN(segment.file, directory.OpenSegment(id, false, &segment.direct));
  struct stat info;
  if (fstat(segment.file->fd(), &info) != 0) return ErrnoStatus("look at a segment", -errno);
  *file_bytes = static_cast<uint64_t>(info.st_size) / kStorePageBytes * kStorePageBytes;
  const PageBuffer page(kSegmentHeaderBytes);
  const int64_t result = ReadPieces(ops, segment.file->fd(), {Piece(page.bytes())}, 0);
  if (result < 0) return ErrnoStatus("read " + SegmentFileName(id), result);
  if (result > 0 || ReadSegmentHeader(page.bytes()) != id) {
    return DataLoss(SegmentFileName(id) + " has no segment header");
  }
  return segment;
}

// Replays the index file: records into `index`, up to where each segment is accounted for, and
// which are gone.
void Replay(const IndexContents& contents, RecordIndex& index,
            std::unordered_map<uint32_t, uint64_t>& known_ends, std::set<uint32_t>& gone_segments,
            RecoveredDisk& disk) {
  disk.index_whole = contents.whole;
  disk.generation = contents.header.generation;
  disk.next_segment = std::max(disk.next_segment, contents.header.next_segment);
  disk.next_sequence = std::max(disk.next_sequence, contents.header.next_sequence);
  for (const IndexEntry& entry : contents.entries) {
    uint64_t& end = known_ends[entry.segment];
    const uint64_t offset = uint64_t{entry.page} * kStorePageBytes;
    disk.next_segment = std::max(disk.next_segment, entry.segment + 1);
    switch (entry.kind) {
      case IndexEntryKind::kRecord:
        if (entry.sequence == 0 || entry.stored_bytes > kRecordPayloadBytesMax) break;
        index.Insert(entry);
        end = std::max(end, offset + RecordBytes(entry.stored_bytes));
        disk.next_sequence = std::max(disk.next_sequence, entry.sequence + 1);
        break;
      case IndexEntryKind::kRemoved:
        if (const IndexedRecord* record = index.Find(entry.key);
            record != nullptr && record->sequence == entry.sequence) {
          index.Remove(entry.key);
        }
        break;
      case IndexEntryKind::kSegmentMark:
        end = std::max(end, offset);
        break;
      case IndexEntryKind::kSegmentGone:
        gone_segments.insert(entry.segment);
        break;
    }
  }
}

// Records that cannot be where the index says, or went with their segment.
void DropImpossible(const std::set<uint32_t>& gone_segments, RecordIndex& index,
                    RecoveredDisk& disk) {
  std::unordered_map<uint32_t, uint64_t> ends;
  for (const SegmentFile& segment : disk.segments) ends[segment.id] = segment.end_bytes;
  const auto gone = index.EntriesIf([&](const IndexedRecord& record) {
    const auto end = ends.find(record.segment);
    return end == ends.end() || record.page == 0 ||
           record.offset() + record.record_bytes() > end->second;
  });
  for (const IndexEntry& entry : gone) {
    index.Remove(entry.key);
    disk.dropped_count += gone_segments.contains(entry.segment) ? 0 : 1;
  }
}

}  // namespace

IndexEntry IndexEntryOf(const RecordHeader& header, uint32_t segment, uint64_t offset) {
  const auto seconds = static_cast<uint32_t>(std::max<int64_t>(0, header.written_unix_ms) / 1000);
  return {.kind = IndexEntryKind::kRecord,
          .pinned = false,
          .token_count = static_cast<uint16_t>(header.tokens.size()),
          .sequence = header.sequence,
          .key = header.key,
          .tenant = header.tenant,
          .parent_head = KeyHead(header.parent),
          .segment = segment,
          .page = static_cast<uint32_t>(offset / kStorePageBytes),
          .payload_bytes = static_cast<uint32_t>(header.payload_bytes),
          .stored_bytes = static_cast<uint32_t>(header.stored_bytes),
          .token_start = static_cast<uint32_t>(header.token_start),
          .use_count = 0,
          .expires_unix_ms = header.expires_unix_ms,
          .written_unix_s = seconds,
          .used_unix_s = seconds};
}

Result<uint64_t> ScanSegment(
    FileOps& ops, int fd, uint64_t begin, uint64_t file_bytes,
    const std::function<void(const RecordHeader&, uint64_t offset)>& found) {
  PageReader pages(ops, fd, file_bytes);
  uint64_t end = begin;
  uint64_t offset = begin;
  while (const std::byte* page = pages.Page(offset)) {
    Result<RecordHeader> header = ReadRecordHeader({page, kRecordHeaderBytes});
    const uint64_t record_bytes = header.ok() ? RecordBytes(header->stored_bytes) : 0;
    const std::byte* last =
        header.ok() ? pages.Page(offset + record_bytes - kStorePageBytes) : nullptr;
    if (last != nullptr && header->sequence != 0 &&
        CheckRecordFooter(*header, std::span(last, kStorePageBytes).last(kRecordFooterBytes))
            .ok()) {
      found(*header, offset);
      offset += record_bytes;
      end = offset;
    } else {
      offset = NextData(fd, offset + kStorePageBytes, file_bytes);
    }
  }
  if (pages.error() != 0) return ErrnoStatus("scan a segment", pages.error());
  return end;
}

Result<RecoveredDisk> RecoverDisk(DiskDirectory& directory, FileOps& ops, RecordIndex& index) {
  RecoveredDisk disk;
  std::unordered_map<uint32_t, uint64_t> known_ends;
  std::set<uint32_t> gone_segments;
  const Result<IndexContents> contents = ReadIndexFile(directory, ops);
  if (contents.ok()) Replay(*contents, index, known_ends, gone_segments, disk);

  // Marks stand in front of the records of a snapshot: without those they promise too much.
  if (contents.ok() && contents->entries.size() < contents->header.snapshot_entry_count) {
    known_ends.clear();
  }

  KVASIR_ASSIGN_OR_RETURN(const std::vector<uint32_t> ids, directory.ListSegments());
  for (const uint32_t id : ids) {
    disk.next_segment = std::max(disk.next_segment, id + 1);
    uint64_t file_bytes = 0;
    Result<SegmentFile> segment = OpenSegmentFile(directory, ops, id, &file_bytes);
    if (!segment.ok()) {
      // No segment of this version: nobody will ever read it, and it takes room.
      const bool foreign = segment.status().code() == StatusCode::kDataLoss;
      disk.foreign_count += foreign ? 1 : 0;
      if (directory.locked() && foreign) {
        KVASIR_RETURN_IF_ERROR(directory.RemoveSegment(id));
      }
      continue;
    }
    const uint64_t begin =
        std::min(file_bytes, std::max<uint64_t>(kSegmentHeaderBytes, known_ends[id]));
    const Result<uint64_t> end =
        ScanSegment(ops, segment->file->fd(), begin, file_bytes,
                    [&](const RecordHeader& header, uint64_t offset) {
                      disk.next_sequence = std::max(disk.next_sequence, header.sequence + 1);
                      const IndexedRecord* known = index.Find(header.key);
                      if (known != nullptr && known->sequence >= header.sequence) return;
                      index.Insert(IndexEntryOf(header, id, offset));
                      ++disk.scanned_count;
                    });
    segment->end_bytes = end.ok() ? *end : file_bytes;
    if (directory.locked() && segment->end_bytes < file_bytes) {
      ops.Truncate(segment->file->fd(), segment->end_bytes);
    }
    segment->physical_bytes = PhysicalFileBytes(segment->file->fd());
    disk.segments.push_back(std::move(*segment));
  }
  DropImpossible(gone_segments, index, disk);
  return disk;
}

}  // namespace kvasir
