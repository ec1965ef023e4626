// The writer thread of DiskStore: everything that changes files, one thing after the other.

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <future>
#include <utility>

#include "kvasir/store/disk_store.h"
#include "kvasir/store/record_writer.h"

namespace kvasir {

namespace {

// Reads go first, but a stream of them must not keep blocks from being stored, whose memory is held
// meanwhile.
constexpr std::chrono::milliseconds kYieldLongest{20};
// The index file is rewritten when so much was appended that replaying it would take as long as the
// snapshot; below this it does not matter.
constexpr uint64_t kAppendedMin = 4096;
// After the device was full the cap is tried again.
constexpr std::chrono::seconds kFullDeviceTime{10};

}  // namespace

void DiskStore::AddCall(std::function<void()> call) {
  jobs_.push_back({nullptr, std::move(call)});
  wake_.notify_all();
}

void DiskStore::RunWriter() {
  LowerThreadPriority(10);
  Clock::time_point next_tick = Clock::now() + options_.tick;
  std::unique_lock lock(mutex_);
  while (true) {
    wake_.wait_until(lock, next_tick, [&] { return stop_ || !jobs_.empty(); });
    if (!jobs_.empty()) {
      const Job job = std::move(jobs_.front());
      jobs_.pop_front();
      lock.unlock();
      if (job.put != nullptr) {
        reads_->WaitIdle(kYieldLongest);
        EndPut(*job.put, WritePut(*job.put));
      } else {
        job.call();
      }
      lock.lock();
    } else if (stop_) {
      break;
    }
    if (Clock::now() < next_tick) continue;
    lock.unlock();
    Tick();
    next_tick = Clock::now() + options_.tick;
    lock.lock();
  }
  const bool writable = writable_;
  lock.unlock();
  if (writable && directory_.IsStillThere()) {
    // Without the snapshot the next start replays more: nothing that must be said.
    [[maybe_unused]] const Status status = WriteSnapshot();
  }
}

void DiskStore::EndPut(const PutJob& job, const Status& status) {
  {
    const std::lock_guard lock(mutex_);
    const StatusCode code = status.code();
    if (code == StatusCode::kCancelled || code == StatusCode::kDeadlineExceeded) {
      ++stats_.put_abandoned_count;
    } else if (!status.ok()) {
      ++stats_.put_failed_count;
    }
  }
  (*job.done)(job.item_index, status);
}

Status DiskStore::WritePut(const PutJob& job) {
  if (Clock::now() > job.deadline) {
    return DeadlineExceeded("the deadline passed before the item began");
  }
  {
    // The world may have changed since the put was taken.
    const std::lock_guard lock(mutex_);
    const IndexedRecord* record = index_->Find(job.item.identity.key);
    if (record != nullptr && !record->read_failed && !record->HasExpired(options_.clock())) {
      ++stats_.known_count;
      return OkStatus();
    }
    if (!writable_) return Unavailable("the store is read-only: " + last_error_);
    if (!write_breaker_.Allows(Clock::now())) {
      return Unavailable("writing failed lately: " + last_error_);
    }
  }
  RecordHeader header = RawRecordHeader(job.item);
  const uint64_t record_bytes = RecordBytes(header.stored_bytes);
  if (!MakeRoom(record_bytes)) {
    return ResourceExhausted("there is no room for " + std::to_string(record_bytes) +
                             " bytes: what is there is pinned or too young to be evicted");
  }
  KVASIR_ASSIGN_OR_RETURN(const SegmentFile segment, SegmentFor(record_bytes));
  header.sequence = next_sequence_++;
  header.written_unix_ms = options_.clock();
  if (header.expires_unix_ms == 0 && options_.ttl_ms != 0) {
    header.expires_unix_ms = header.written_unix_ms + options_.ttl_ms;
  }
  KVASIR_RETURN_IF_ERROR(WriteRecordAt(segment, job, header));

  IndexEntry entry = IndexEntryOf(header, segment.id, segment.end_bytes);
  entry.pinned = job.item.pinned;
  std::vector<IndexEntry> replaced;
  {
    const std::lock_guard lock(mutex_);
    if (const IndexedRecord* old = index_->Find(entry.key)) {
      replaced.push_back(index_->EntryOf(*old));
    }
    SegmentFile& written = segments_.at(segment.id);
    written.end_bytes += record_bytes;
    written.physical_bytes += record_bytes;
    index_->Insert(entry);
    write_breaker_.Succeeded();
    ++stats_.stored_count;
    stats_.written_bytes += record_bytes;
    stats_.put_seconds.Observe(std::chrono::duration<double>(Clock::now() - job.begin).count());
    stats_.put_bytes.Observe(static_cast<double>(job.item.payload.size()));
  }
  AppendToIndex({&entry, 1});
  ForgetRecords(std::move(replaced));
  return OkStatus();
}

Status DiskStore::WriteRecordAt(const SegmentFile& segment, const PutJob& job,
                                RecordHeader& header) {
  const std::span<const std::byte> payload = job.item.payload;
  const std::span<std::byte> page = around_.bytes().first(kRecordHeaderBytes);
  const std::span<std::byte> tail =
      around_.bytes().subspan(kRecordHeaderBytes, RecordTailBytes(payload.size()));
  WriteRecordHeader(header, page);
  WriteRecordTail(header, payload, tail);
  std::span<const std::byte> body = payload.first(RecordBodyBytes(payload.size()));
  const bool at_page = reinterpret_cast<uintptr_t>(body.data()) % kStorePageBytes == 0;
  const PageBuffer copy(at_page ? 0 : body.size());
  if (!at_page) {
    std::copy(body.begin(), body.end(), copy.bytes().begin());
    body = copy.bytes();
  }
  const int64_t result = WritePieces(ops_, segment.file->fd(),
                                     {Piece(page), Piece(body), Piece(tail)}, segment.end_bytes);
  if (result == 0) return OkStatus();
  ops_.Truncate(segment.file->fd(), segment.end_bytes);
  return NoteWriteFailure(ErrnoStatus("write a record", result), result);
}

Result<SegmentFile> DiskStore::SegmentFor(uint64_t record_bytes) {
  if (active_segment_ != 0) {
    const std::lock_guard lock(mutex_);
    const auto active = segments_.find(active_segment_);
    // One record always fits: a segment may be as long as the longest record.
    if (active != segments_.end() && (active->second.end_bytes == kSegmentHeaderBytes ||
                                      active->second.end_bytes + record_bytes <= segment_bytes_)) {
      return active->second;
    }
  }
  active_segment_ = 0;
  SegmentFile segment;
  segment.id = next_segment_++;
  Result<std::shared_ptr<OpenFile>> file =
      directory_.OpenSegment(segment.id, true, &segment.direct);
  if (!file.ok()) return NoteWriteFailure(file.status());
  segment.file = std::move(*file);
  const std::span<std::byte> page = around_.bytes().first(kSegmentHeaderBytes);
  WriteSegmentHeader(segment.id, page);
  const int64_t result = WritePieces(ops_, segment.file->fd(), {Piece(page)}, 0);
  if (result != 0) {
    [[maybe_unused]] const Status removed = directory_.RemoveSegment(segment.id);
    return NoteWriteFailure(ErrnoStatus("begin a segment", result), result);
  }
  segment.end_bytes = kSegmentHeaderBytes;
  segment.physical_bytes = kSegmentHeaderBytes;
  active_segment_ = segment.id;
  const std::lock_guard lock(mutex_);
  segments_[segment.id] = segment;
  return segment;
}

// Opens the breaker; returns what the item ends with.
Status DiskStore::NoteWriteFailure(const Status& error, int64_t negative_errno) {
  const std::lock_guard lock(mutex_);
  ++stats_.io_error_count;
  last_error_ = error.message();
  write_breaker_.Failed(Clock::now());
  const bool full = negative_errno == -ENOSPC || negative_errno == -EDQUOT;
  // Somebody else took the room: go on with less of our own, as long as there is more than one
  // segment to give up.
  if (full && segments_.size() > 1) {
    full_device_cap_ = PhysicalBytes() - std::min(PhysicalBytes(), segment_bytes_ / 2);
    full_device_until_ = Clock::now() + kFullDeviceTime;
  }
  return Unavailable(last_error_);
}

void DiskStore::AppendToIndex(std::span<const IndexEntry> entries) {
  if (entries.empty()) return;
  // What the index file lacks is found by scanning; the next tick writes it anew.
  if (!index_file_.Append(entries).ok()) index_stale_ = true;
  const std::lock_guard lock(mutex_);
  index_bytes_ = index_file_.byte_count();
}

Status DiskStore::WriteSnapshot() {
  std::vector<IndexEntry> entries;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [id, segment] : segments_) {
      IndexEntry mark;
      mark.kind = IndexEntryKind::kSegmentMark;
      mark.segment = id;
      mark.page = static_cast<uint32_t>(segment.end_bytes / kStorePageBytes);
      entries.push_back(mark);
    }
    const std::vector<IndexEntry> records =
        index_->EntriesIf([](const IndexedRecord&) { return true; });
    entries.insert(entries.end(), records.begin(), records.end());
  }
  const IndexHeader header = {.next_segment = next_segment_,
                              .generation = index_file_.generation() + 1,
                              .snapshot_entry_count = entries.size(),
                              .next_sequence = next_sequence_};
  const Status status = index_file_.WriteSnapshot(directory_, header, entries);
  index_stale_ = !status.ok();
  const std::lock_guard lock(mutex_);
  index_bytes_ = index_file_.byte_count();
  return status;
}

Status DiskStore::RecoverAll() {
  auto index = std::make_unique<RecordIndex>();
  KVASIR_ASSIGN_OR_RETURN(RecoveredDisk disk, RecoverDisk(directory_, ops_, *index));
  next_segment_ = disk.next_segment;
  next_sequence_ = disk.next_sequence;
  active_segment_ = 0;
  {
    const std::lock_guard lock(mutex_);
    index_ = std::move(index);
    segments_.clear();
    for (SegmentFile& segment : disk.segments) segments_[segment.id] = std::move(segment);
    if (!disk.segments.empty()) active_segment_ = segments_.rbegin()->first;
    writable_ = directory_.locked();
    recovery_ = {.scanned_count = disk.scanned_count,
                 .dropped_count = disk.dropped_count,
                 .foreign_count = disk.foreign_count,
                 .index_whole = disk.index_whole};
  }
  if (!directory_.locked()) return OkStatus();
  ops_.Unlink(directory_.FilePath(kIndexTemporaryName));
  KVASIR_RETURN_IF_ERROR(EnforceCap());
  // A device that is full or read-only still serves what is there.
  const Status snapshot = WriteSnapshot();
  if (!snapshot.ok()) [[maybe_unused]]
    const Status noted = NoteWriteFailure(snapshot);
  return OkStatus();
}

Status DiskStore::EnforceCap() {
  if (MakeRoom(0)) return OkStatus();
  const std::lock_guard lock(mutex_);
  return ResourceExhausted("the disk store takes " + std::to_string(PhysicalBytes()) +
                           " bytes and cannot be brought below its cap of " +
                           std::to_string(options_.cap_bytes) + ": records are pinned");
}

void DiskStore::Tick() {
  if (!directory_.locked()) {
    Refresh();
    return;
  }
  if (!directory_.IsStillThere()) {
    StartAnew();
    return;
  }
  DropExpired();
  size_t record_count;
  {
    const std::lock_guard lock(mutex_);
    record_count = index_->record_count();
    if (Clock::now() > full_device_until_) full_device_cap_ = UINT64_MAX;
  }
  if (index_stale_ ||
      index_file_.appended_count() > std::max<uint64_t>(kAppendedMin, record_count)) {
    // Tried again at the next tick.
    [[maybe_unused]] const Status status = WriteSnapshot();
  }
}

// The directory has been deleted: what was there is lost, and a new one is begun.
void DiskStore::StartAnew() {
  {
    const std::lock_guard lock(mutex_);
    index_->Clear();
    segments_.clear();
    index_bytes_ = 0;
    writable_ = false;
    last_error_ = directory_.path() + " has been deleted";
  }
  active_segment_ = 0;
  directory_.Unlock();
  Refresh();
}

// Without the lock: takes it when it is free, else sees what its holder has written.
void DiskStore::Refresh() {
  if (!options_.read_only) {
    const Status locked = directory_.Lock();
    if (locked.ok()) {
      const Status recovered = RecoverAll();
      if (recovered.ok()) return;
      directory_.Unlock();
    }
    const std::lock_guard lock(mutex_);
    writable_ = false;
    if (!locked.ok()) last_error_ = locked.message();
  }
  struct stat info;
  const bool there = stat(directory_.FilePath(kIndexFileName).c_str(), &info) == 0;
  const std::pair<uint64_t, int64_t> seen = {there ? info.st_ino : 0, there ? info.st_size : 0};
  if (seen == index_seen_) return;
  index_seen_ = seen;
  // A writer that is at work may be caught in between: the next change brings the next look.
  [[maybe_unused]] const Status status = RecoverAll();
}

void DiskStore::DropExpired() {
  std::vector<IndexEntry> expired;
  {
    const std::lock_guard lock(mutex_);
    const int64_t now_unix_ms = options_.clock();
    expired = index_->EntriesIf(
        [&](const IndexedRecord& record) { return record.HasExpired(now_unix_ms); });
    for (const IndexEntry& entry : expired) index_->Remove(entry.key);
    stats_.expired_count += expired.size();
  }
  ForgetRecords(std::move(expired));
}

Status DiskStore::Flush(StoreDeadline deadline) {
  auto result = std::make_shared<std::promise<Status>>();
  std::future<Status> future = result->get_future();
  {
    const std::lock_guard lock(mutex_);
    if (!writable_) return Unavailable("the store is read-only: " + last_error_);
    AddCall([this, result] { result->set_value(WriteSnapshot()); });
  }
  if (deadline == kNoDeadline) return future.get();
  if (future.wait_until(deadline) == std::future_status::ready) return future.get();
  return DeadlineExceeded("the store is still writing");
}

}  // namespace kvasir
