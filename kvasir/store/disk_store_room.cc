// Room in DiskStore, on its writer thread: which segment goes, what of it is moved on, and how
// bytes of records that are gone leave the device.

#include <algorithm>
#include <cerrno>
#include <future>
#include <map>
#include <tuple>
#include <utility>

#include "kvasir/store/disk_store.h"
#include "kvasir/store/record_reader.h"

namespace kvasir {

namespace {

// Evicting a segment must free at least this share of it, or pinned records would be written again
// and again for nothing.
constexpr uint64_t kGainShare = 8;
// Of a victim at most this share is moved because it is worth it: write amplification stays below
// 1.34 and the overshoot of the cap below a 4th of a segment.
constexpr uint64_t kMovedShare = 4;
// What is moved is worth this many times the mean.
constexpr double kHotFactor = 2;
// The directory, the lock and the rounding of the index to blocks.
constexpr uint64_t kAroundBytes = 4 * kStorePageBytes;
constexpr uint64_t kZeroBytes = uint64_t{1} << 20;

}  // namespace

// Under the mutex. The snapshot that replaces the index file stands beside it for a while.
uint64_t DiskStore::PhysicalBytes() const {
  uint64_t bytes = kAroundBytes + index_bytes_ + kIndexHeaderBytes +
                   kIndexEntryBytes * (index_->record_count() + segments_.size());
  for (const auto& [id, segment] : segments_) bytes += segment.physical_bytes;
  return bytes;
}

uint64_t DiskStore::CapNow() const { return std::min(options_.cap_bytes, full_device_cap_); }

bool DiskStore::MakeRoom(uint64_t record_bytes) {
  while (true) {
    {
      const std::lock_guard lock(mutex_);
      if (PhysicalBytes() + record_bytes <= CapNow()) return true;
    }
    if (!EvictSegment()) return false;
  }
}

double DiskStore::WorthOf(const IndexedRecord& record, int64_t now_unix_ms) const {
  const double idle_seconds = static_cast<double>(now_unix_ms) / 1000 - record.used_unix_s;
  return options_.ranking(
      {.idle_seconds = std::max(0.0, idle_seconds),
       .use_count = record.use_count,
       .token_start = record.token_start,
       .reachable = record.token_start == 0 || index_->HasKeyHead(record.parent_head)});
}

bool DiskStore::IsKept(const IndexedRecord& record, int64_t now_unix_ms) const {
  return record.pinned ||
         now_unix_ms < int64_t{record.written_unix_s} * 1000 + options_.lifetime_min_ms;
}

// Under the mutex: the segment that is worth least for the bytes that it takes, 0 when evicting
// none would free enough. *worth_mean is that of a byte in the whole store.
uint32_t DiskStore::ChooseVictim(double* worth_mean) const {
  struct Sum {
    double worth = 0;
    uint64_t kept_bytes = 0;
  };
  std::map<uint32_t, Sum> sums;
  const int64_t now_unix_ms = options_.clock();
  double worth = 0;
  uint64_t byte_count = 0;
  index_->ForEach([&](const IndexedRecord& record) {
    Sum& sum = sums[record.segment];
    const auto bytes = static_cast<double>(record.record_bytes());
    const double record_worth = WorthOf(record, now_unix_ms) * bytes;
    sum.worth += record_worth;
    worth += record_worth;
    byte_count += record.record_bytes();
    if (IsKept(record, now_unix_ms)) sum.kept_bytes += record.record_bytes();
  });
  *worth_mean = byte_count == 0 ? 0 : worth / static_cast<double>(byte_count);
  uint32_t victim = 0;
  std::pair<bool, double> victim_rank;
  for (const auto& [id, segment] : segments_) {
    const Sum& sum = sums[id];
    const uint64_t bytes = segment.physical_bytes;
    if (bytes <= sum.kept_bytes || bytes - sum.kept_bytes < bytes / kGainShare) continue;
    // The one that is written to goes last.
    const std::pair rank(id == active_segment_, sum.worth / static_cast<double>(bytes));
    if (victim != 0 && rank >= victim_rank) continue;
    victim = id;
    victim_rank = rank;
  }
  return victim;
}

bool DiskStore::EvictSegment() {
  struct Moved {
    bool kept = false;  // whatever it is worth
    double worth = 0;
    IndexEntry entry;
  };
  SegmentFile segment;
  std::vector<Moved> moved;
  {
    const std::lock_guard lock(mutex_);
    double worth_mean = 0;
    const uint32_t victim = ChooseVictim(&worth_mean);
    if (victim == 0) return false;
    segment = segments_.at(victim);
    const int64_t now_unix_ms = options_.clock();
    index_->ForEach([&](const IndexedRecord& record) {
      if (record.segment != victim) return;
      const double worth = WorthOf(record, now_unix_ms);
      const bool kept = IsKept(record, now_unix_ms);
      if (!kept && (record.use_count == 0 || worth < kHotFactor * worth_mean)) return;
      moved.push_back({kept, worth, index_->EntryOf(record)});
    });
  }
  if (segment.id == active_segment_) active_segment_ = 0;
  std::sort(moved.begin(), moved.end(), [](const Moved& a, const Moved& b) {
    return std::tuple(!a.kept, -a.worth, a.entry.sequence) <
           std::tuple(!b.kept, -b.worth, b.entry.sequence);
  });
  uint64_t hot_bytes = 0;
  for (const auto& [kept, worth, entry] : moved) {
    if (!kept) hot_bytes += RecordBytes(entry.stored_bytes);
    if (hot_bytes > segment.physical_bytes / kMovedShare) break;
    // What is pinned must not be lost because the device fails just now.
    if (!MoveRecord(segment, entry) && kept) return false;
  }
  const Status removed = directory_.RemoveSegment(segment.id);
  if (!removed.ok()) {
    [[maybe_unused]] const Status noted = NoteWriteFailure(removed);
    return false;
  }
  {
    const std::lock_guard lock(mutex_);
    const auto gone = index_->EntriesIf(
        [&](const IndexedRecord& record) { return record.segment == segment.id; });
    for (const IndexEntry& entry : gone) index_->Remove(entry.key);
    stats_.evicted_count += gone.size();
    segments_.erase(segment.id);
  }
  IndexEntry gone;
  gone.kind = IndexEntryKind::kSegmentGone;
  gone.segment = segment.id;
  AppendToIndex({&gone, 1});
  return true;
}

// Writes a record of a segment that is going at the end of the active one, byte for byte. False
// when that cannot be done; a record that turns out bad is forgotten, which is well done.
bool DiskStore::MoveRecord(const SegmentFile& from, const IndexEntry& entry) {
  const uint64_t record_bytes = RecordBytes(entry.stored_bytes);
  const PageBuffer buffer(record_bytes);
  const int64_t read = ReadPieces(ops_, from.file->fd(), {Piece(buffer.bytes())},
                                  uint64_t{entry.page} * kStorePageBytes);
  if (read < 0) return false;
  std::span<const std::byte> stored;
  const Result<RecordHeader> header = ReadRecord(buffer.bytes(), &stored);
  if (read > 0 || !header.ok() || header->key != entry.key) {
    const std::lock_guard lock(mutex_);
    index_->Remove(entry.key);
    ++stats_.corrupt_count;
    return true;
  }
  const Result<SegmentFile> to = SegmentFor(record_bytes);
  if (!to.ok()) return false;
  const int64_t written = WritePieces(ops_, to->file->fd(), {Piece(buffer.bytes())}, to->end_bytes);
  if (written != 0) {
    ops_.Truncate(to->file->fd(), to->end_bytes);
    [[maybe_unused]] const Status noted =
        NoteWriteFailure(ErrnoStatus("move a record", written), written);
    return false;
  }
  IndexEntry moved = entry;
  {
    const std::lock_guard lock(mutex_);
    SegmentFile& segment = segments_.at(to->id);
    const uint64_t offset = segment.end_bytes;
    segment.end_bytes += record_bytes;
    segment.physical_bytes += record_bytes;
    IndexedRecord* record = index_->Find(entry.key);
    if (record == nullptr || record->sequence != entry.sequence) return true;  // erased meanwhile
    record->segment = to->id;
    record->page = static_cast<uint32_t>(offset / kStorePageBytes);
    moved = index_->EntryOf(*record);
    ++stats_.moved_count;
    stats_.written_bytes += record_bytes;
  }
  AppendToIndex({&moved, 1});
  return true;
}

// Drops records whose bytes are of no use any more and gives the bytes back.
void DiskStore::ForgetRecords(std::vector<IndexEntry> entries) {
  for (IndexEntry& entry : entries) {
    {
      const std::lock_guard lock(mutex_);
      const IndexedRecord* record = index_->Find(entry.key);
      if (record != nullptr && record->sequence == entry.sequence) {
        if (record->segment != entry.segment || record->page != entry.page) continue;  // moved
        index_->Remove(entry.key);
      }
    }
    entry.kind = IndexEntryKind::kRemoved;
    AppendToIndex({&entry, 1});
    // Where holes cannot be punched the bytes go with their segment.
    [[maybe_unused]] const Status status =
        EraseRange(entry.segment, uint64_t{entry.page} * kStorePageBytes,
                   RecordBytes(entry.stored_bytes), false);
  }
}

// Makes bytes of a segment read as zeros, by overwriting them where that is asked for or where the
// file system punches no holes.
Status DiskStore::EraseRange(uint32_t segment, uint64_t offset, uint64_t byte_count,
                             bool overwrite) {
  std::shared_ptr<OpenFile> file;
  {
    const std::lock_guard lock(mutex_);
    const auto found = segments_.find(segment);
    if (found == segments_.end()) return OkStatus();
    file = found->second.file;
    byte_count = std::min(byte_count, found->second.end_bytes - offset);
  }
  if (overwrite) {
    const PageBuffer zeros(std::min(byte_count, kZeroBytes));
    std::fill(zeros.bytes().begin(), zeros.bytes().end(), std::byte{0});
    for (uint64_t done = 0; done < byte_count; done += zeros.bytes().size()) {
      const uint64_t piece = std::min<uint64_t>(zeros.bytes().size(), byte_count - done);
      const int64_t result =
          WritePieces(ops_, file->fd(), {Piece(zeros.bytes().first(piece))}, offset + done);
      if (result != 0) return ErrnoStatus("overwrite a record", result);
    }
    if (const int result = ops_.Sync(file->fd()); result != 0) {
      return ErrnoStatus("overwrite a record", result);
    }
  }
  const int result = ops_.PunchHole(file->fd(), offset, byte_count);
  const std::lock_guard lock(mutex_);
  const auto found = segments_.find(segment);
  if (found != segments_.end()) found->second.physical_bytes = PhysicalFileBytes(file->fd());
  if (result != 0 && !overwrite) return ErrnoStatus("give back bytes of a segment", result);
  return OkStatus();
}

void DiskStore::EraseTenant(const Digest& tenant, EraseDone done) {
  if (!done) done = [](const Result<size_t>&) {};
  // Records are gone at once; those of puts that wait in front of the call below, when it runs.
  const auto take = [this, tenant](std::vector<IndexEntry>& taken) {
    const std::lock_guard lock(mutex_);
    const auto found = index_->EntriesIf(
        [&](const IndexedRecord& record) { return index_->TenantOf(record) == tenant; });
    for (const IndexEntry& entry : found) index_->Remove(entry.key);
    stats_.erased_count += found.size();
    taken.insert(taken.end(), found.begin(), found.end());
  };
  auto entries = std::make_shared<std::vector<IndexEntry>>();
  bool writable;
  {
    const std::lock_guard lock(mutex_);
    writable = writable_ && !stop_;
  }
  if (!writable) return done(Unavailable("the store is read-only"));
  take(*entries);
  const std::lock_guard lock(mutex_);
  AddCall([this, take, entries, done] {
    take(*entries);
    for (IndexEntry entry : *entries) {
      const uint64_t offset = uint64_t{entry.page} * kStorePageBytes;
      const Status erased =
          EraseRange(entry.segment, offset, RecordBytes(entry.stored_bytes), true);
      if (!erased.ok()) return done(erased);
      entry.kind = IndexEntryKind::kRemoved;
      AppendToIndex({&entry, 1});
    }
    // What was dropped before may have been this tenant's.
    const Result<uint64_t> swept = SweepSegments();
    if (!swept.ok()) return done(swept.status());
    // Their keys leave the index file, too; when that fails now, the next tick does it.
    [[maybe_unused]] const Status snapshot = WriteSnapshot();
    const Status checked = CheckErased(*entries);
    done(checked.ok() ? Result<size_t>(entries->size()) : Result<size_t>(checked));
  });
}

Status DiskStore::CheckErased(const std::vector<IndexEntry>& entries) {
  for (const IndexEntry& entry : entries) {
    std::shared_ptr<OpenFile> file;
    {
      const std::lock_guard lock(mutex_);
      const auto found = segments_.find(entry.segment);
      if (found == segments_.end()) continue;
      file = found->second.file;
    }
    const PageBuffer buffer(RecordBytes(entry.stored_bytes));
    const int64_t result = ReadPieces(ops_, file->fd(), {Piece(buffer.bytes())},
                                      uint64_t{entry.page} * kStorePageBytes);
    if (result < 0) return ErrnoStatus("read back what was erased", result);
    const auto bytes = buffer.bytes();
    if (result == 0 && std::any_of(bytes.begin(), bytes.end(),
                                   [](std::byte byte) { return byte != std::byte{0}; })) {
      return DataLoss("a record can still be read after it was erased");
    }
  }
  return OkStatus();
}

// Punches out of every segment what is no record. Returns by how much the segments shrank.
Result<uint64_t> DiskStore::SweepSegments() {
  std::map<uint32_t, std::vector<std::pair<uint64_t, uint64_t>>> live;  // offset, bytes
  uint64_t before = 0;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [id, segment] : segments_) {
      live[id].emplace_back(segment.end_bytes, 0);
      before += segment.physical_bytes;
    }
    index_->ForEach([&](const IndexedRecord& record) {
      live[record.segment].emplace_back(record.offset(), record.record_bytes());
    });
  }
  for (auto& [id, ranges] : live) {
    std::sort(ranges.begin(), ranges.end());
    uint64_t at = kSegmentHeaderBytes;
    for (const auto& [offset, byte_count] : ranges) {
      if (offset > at) {
        Status erased = EraseRange(id, at, offset - at, false);
        if (!erased.ok()) erased = EraseRange(id, at, offset - at, true);
        KVASIR_RETURN_IF_ERROR(erased);
      }
      at = std::max(at, offset + byte_count);
    }
  }
  const std::lock_guard lock(mutex_);
  uint64_t after = 0;
  for (const auto& [id, segment] : segments_) after += segment.physical_bytes;
  return before - std::min(before, after);
}

Result<uint64_t> DiskStore::CollectGarbage() {
  auto result = std::make_shared<std::promise<Result<uint64_t>>>();
  std::future<Result<uint64_t>> future = result->get_future();
  {
    const std::lock_guard lock(mutex_);
    if (!writable_) return Unavailable("the store is read-only: " + last_error_);
    AddCall([this, result] {
      DropExpired();
      result->set_value(SweepSegments());
    });
  }
  return future.get();
}

}  // namespace kvasir
