#include "kvasir/store/disk_store.h"

#include <algorithm>
#include <utility>

#include "kvasir/store/record_reader.h"
#include "kvasir/store/record_writer.h"

namespace kvasir {

namespace {

constexpr uint64_t kMiB = uint64_t{1} << 20;
constexpr uint64_t kSegmentBytesMin = 65536;
// A single read may fail on a bad sector; three in a row are a device.
constexpr int kReadFailuresMax = 3;

uint64_t SegmentBytesFor(const DiskStoreOptions& options) {
  if (options.segment_bytes != 0) return options.segment_bytes;
  const uint64_t cap = options.cap_bytes;
  const uint64_t bytes = cap < 1024 * kMiB ? cap / 16 : std::max(64 * kMiB, cap / 256);
  return std::max(kSegmentBytesMin, bytes / kStorePageBytes * kStorePageBytes);
}

Status CheckOptions(const DiskStoreOptions& options) {
  if (options.directory.empty()) return InvalidArgument("the directory of a disk store is empty");
  if (options.read_only) return OkStatus();
  if (options.cap_bytes < kDiskCapBytesMin) {
    return InvalidArgument("the cap of a disk store is " + std::to_string(options.cap_bytes) +
                           " bytes, at least " + std::to_string(kDiskCapBytesMin) + " are needed");
  }
  if (options.segment_bytes != 0 &&
      (options.segment_bytes < kSegmentBytesMin || options.segment_bytes > options.cap_bytes / 4)) {
    return InvalidArgument("a segment of a disk store has " +
                           std::to_string(options.segment_bytes) + " bytes, from " +
                           std::to_string(kSegmentBytesMin) + " to a 4th of the cap, " +
                           std::to_string(options.cap_bytes / 4) + ", are allowed");
  }
  return OkStatus();
}

double SecondsSince(Breaker::Clock::time_point begin) {
  return std::chrono::duration<double>(Breaker::Clock::now() - begin).count();
}

Status NoRecord() { return NotFound("there is no such record"); }

// Everything that can be checked of the bytes that a read brought; completes item.payload.
Status Verify(DiskRead& read) {
  KVASIR_ASSIGN_OR_RETURN(const RecordHeader header, ReadRecordHeader(read.header_page()));
  if (header.key != read.item.identity.key || header.sequence != read.sequence ||
      header.stored_bytes != read.stored_bytes) {
    return DataLoss("another record lies there");
  }
  KVASIR_RETURN_IF_ERROR(CheckRecordTail(header, read.tail()));
  KVASIR_RETURN_IF_ERROR(
      CompareRecordIdentity(header, read.item.identity, read.item.payload.size()));
  read.CompletePayload();
  return CheckRecordSections(header, read.item.payload);
}

RecordInfo InfoOf(const IndexedRecord& record, const Digest& tenant) {
  return {.key = record.key,
          .tenant = tenant,
          .token_start = record.token_start,
          .token_count = record.token_count,
          .payload_bytes = record.payload_bytes,
          .record_bytes = record.record_bytes(),
          .written_unix_ms = int64_t{record.written_unix_s} * 1000,
          .used_unix_ms = int64_t{record.used_unix_s} * 1000,
          .expires_unix_ms = record.expires_unix_ms,
          .use_count = record.use_count,
          .pinned = record.pinned};
}

}  // namespace

DiskStore::DiskStore(DiskStoreOptions options)
    : options_(std::move(options)),
      segment_bytes_(SegmentBytesFor(options_)),
      ops_(options_.ops != nullptr ? *options_.ops : FileOps::System()),
      directory_(options_.directory, ops_),
      index_file_(ops_),
      around_(kRecordHeaderBytes + kRecordTailBytesMax),
      index_(std::make_unique<RecordIndex>()),
      read_breaker_(kReadFailuresMax, options_.retry_first, options_.retry_longest),
      write_breaker_(1, options_.retry_first, options_.retry_longest) {}

Result<std::unique_ptr<DiskStore>> DiskStore::Open(DiskStoreOptions options) {
  KVASIR_RETURN_IF_ERROR(CheckOptions(options));
  std::unique_ptr<DiskStore> store(new DiskStore(std::move(options)));
  KVASIR_RETURN_IF_ERROR(store->Start());
  return store;
}

Status DiskStore::Start() {
  if (!options_.read_only) {
    const Status locked = directory_.Lock();
    if (!locked.ok() && locked.code() != StatusCode::kUnavailable) return locked;
    last_error_ = locked.message();
  }
  KVASIR_RETURN_IF_ERROR(RecoverAll());
  KVASIR_ASSIGN_OR_RETURN(
      reads_, ReadQueue::Start(options_.backend, ops_, [this](DiskRead& read, int64_t result) {
        FinishRead(read, result);
      }));
  writer_ = std::thread([this] { RunWriter(); });
  return OkStatus();
}

DiskStore::~DiskStore() {
  std::deque<Job> jobs;
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
    for (Job& job : jobs_) {
      if (job.put != nullptr) jobs.push_back(std::move(job));
    }
    std::erase_if(jobs_, [](const Job& job) { return job.call == nullptr; });
  }
  const Status closed = Cancelled("the store is being closed");
  for (const Job& job : jobs) EndPut(*job.put, closed);
  if (reads_ != nullptr) {
    for (const auto& read : reads_->CancelAll()) (*read->done)(read->item_index, closed);
  }
  wake_.notify_all();
  if (writer_.joinable()) writer_.join();
  reads_.reset();
}

StoreOperation DiskStore::Get(std::vector<GetItem> items, StoreDeadline deadline, StoreDone done) {
  const auto shared_done = std::make_shared<const StoreDone>(std::move(done));
  const Clock::time_point begin = Clock::now();
  std::vector<std::unique_ptr<DiskRead>> reads;
  std::vector<std::pair<size_t, Status>> ended;
  StoreOperation operation;
  {
    const std::lock_guard lock(mutex_);
    operation = ++operation_;
    for (size_t i = 0; i < items.size(); ++i) {
      Status end;
      std::unique_ptr<DiskRead> read = BeginGet(items[i], &end);
      if (read == nullptr) {
        ended.emplace_back(i, std::move(end));
        continue;
      }
      read->operation = operation;
      read->deadline = deadline;
      read->begin = begin;
      read->item_index = i;
      read->done = shared_done;
      reads.push_back(std::move(read));
    }
  }
  for (std::unique_ptr<DiskRead>& read : reads) reads_->Push(std::move(read));
  for (const auto& [index, status] : ended) (*shared_done)(index, status);
  return operation;
}

std::unique_ptr<DiskRead> DiskStore::BeginGet(const GetItem& item, Status* end) {
  const IndexedRecord* record = index_->Find(item.identity.key);
  if (stop_ || record == nullptr || record->HasExpired(options_.clock())) {
    ++stats_.miss_count;
    *end = NoRecord();
    return nullptr;
  }
  if (record->payload_bytes != item.payload.size()) {
    ++stats_.mismatch_count;
    *end = NotFound("the record is of " + std::to_string(record->payload_bytes) + " bytes, not " +
                    std::to_string(item.payload.size()));
    return nullptr;
  }
  if (!read_breaker_.Allows(Clock::now())) {
    ++stats_.get_failed_count;
    *end = Unavailable("reading failed lately: " + last_error_);
    return nullptr;
  }
  const SegmentFile& segment = segments_.at(record->segment);
  auto read = std::make_unique<DiskRead>();
  read->item = item;
  read->file = segment.file;
  read->direct = segment.direct;
  read->segment = segment.id;
  read->offset = record->offset();
  read->sequence = record->sequence;
  read->stored_bytes = record->stored_bytes;
  return read;
}

void DiskStore::FinishRead(DiskRead& read, int64_t result) {
  const Status verified = result == 0 ? Verify(read) : OkStatus();
  Status status;
  {
    const std::lock_guard lock(mutex_);
    status = JudgeRead(read, verified, result);
  }
  (*read.done)(read.item_index, status);
}

// Under the mutex: what becomes of the item, and of the record.
Status DiskStore::JudgeRead(const DiskRead& read, const Status& verified, int64_t result) {
  if (result == ReadQueue::kLate) {
    ++stats_.get_abandoned_count;
    return DeadlineExceeded("the deadline passed before the item began");
  }
  IndexedRecord* record = index_->Find(read.item.identity.key);
  const bool still_there = record != nullptr && record->sequence == read.sequence;
  if (result < 0) {
    const Status error = ErrnoStatus("read a record", result);
    ++stats_.io_error_count;
    ++stats_.get_failed_count;
    last_error_ = error.message();
    read_breaker_.Failed(Clock::now());
    // At the second failure in a row the record goes; until then a Put may replace it.
    if (still_there && record->read_failed) {
      AddCall([this, entry = index_->EntryOf(*record)] { ForgetRecords({entry}); });
    }
    if (still_there) record->read_failed = true;
    return Unavailable(error.message());
  }
  read_breaker_.Succeeded();
  stats_.read_bytes += RecordBytes(read.stored_bytes);
  const Status status = result == 0 ? verified : DataLoss("the segment ends within the record");
  if (status.ok()) {
    ++stats_.hit_count;
    stats_.get_seconds.Observe(SecondsSince(read.begin));
    stats_.get_bytes.Observe(static_cast<double>(read.item.payload.size()));
    if (still_there) {
      ++record->use_count;
      record->used_unix_s = static_cast<uint32_t>(options_.clock() / 1000);
      record->read_failed = false;
    }
    return status;
  }
  if (status.code() == StatusCode::kNotFound) {
    ++stats_.mismatch_count;
    return status;
  }
  // Bad, or erased or evicted while it was read.
  const bool in_place =
      still_there && record->segment == read.segment && record->offset() == read.offset;
  if (!in_place) {
    ++stats_.miss_count;
    return NoRecord();
  }
  ++stats_.corrupt_count;
  const IndexEntry entry = index_->EntryOf(*record);
  index_->Remove(entry.key);
  AddCall([this, entry] { ForgetRecords({entry}); });
  return DataLoss(status.message());
}

StoreOperation DiskStore::Put(std::vector<PutItem> items, StoreDeadline deadline, StoreDone done) {
  const auto shared_done = std::make_shared<const StoreDone>(std::move(done));
  const Clock::time_point begin = Clock::now();
  std::vector<std::pair<size_t, Status>> ended;
  StoreOperation operation;
  {
    const std::lock_guard lock(mutex_);
    operation = ++operation_;
    for (size_t i = 0; i < items.size(); ++i) {
      auto job = std::make_unique<PutJob>(
          PutJob{operation, deadline, begin, i, std::move(items[i]), shared_done});
      bool known = false;
      Status status = stop_ ? Cancelled("the store is being closed") : CheckPutNow(*job, &known);
      if (status.ok() && !known) {
        jobs_.push_back({std::move(job), nullptr});
        continue;
      }
      ++(status.ok() ? stats_.known_count : stats_.put_failed_count);
      ended.emplace_back(i, std::move(status));
    }
  }
  wake_.notify_all();
  for (const auto& [index, status] : ended) (*shared_done)(index, status);
  return operation;
}

// Under the mutex: what can be said of a put without touching a file.
Status DiskStore::CheckPutNow(const PutJob& job, bool* known) {
  KVASIR_RETURN_IF_ERROR(CheckPutItem(job.item));
  const IndexedRecord* record = index_->Find(job.item.identity.key);
  *known = record != nullptr && !record->read_failed && !record->HasExpired(options_.clock());
  if (*known) return OkStatus();
  if (!writable_) return Unavailable("the store is read-only: " + last_error_);
  const uint64_t record_bytes = RecordBytes(job.item.payload.size());
  if (record_bytes > options_.cap_bytes / 4) {
    return ResourceExhausted("a record of " + std::to_string(record_bytes) +
                             " bytes is more than a 4th of the cap, " +
                             std::to_string(options_.cap_bytes));
  }
  if (!write_breaker_.WouldAllow(Clock::now())) {
    return Unavailable("writing failed lately: " + last_error_);
  }
  return OkStatus();
}

void DiskStore::Cancel(StoreOperation operation) {
  const Status cancelled = Cancelled("the caller withdrew it");
  const std::vector<std::unique_ptr<DiskRead>> reads = reads_->Cancel(operation);
  std::vector<std::unique_ptr<PutJob>> puts;
  {
    const std::lock_guard lock(mutex_);
    for (Job& job : jobs_) {
      if (job.put != nullptr && job.put->operation == operation) puts.push_back(std::move(job.put));
    }
    std::erase_if(jobs_, [](const Job& job) { return job.put == nullptr && !job.call; });
    stats_.get_abandoned_count += reads.size();
  }
  for (const auto& read : reads) (*read->done)(read->item_index, cancelled);
  for (const auto& put : puts) EndPut(*put, cancelled);
}

void DiskStore::Lookup(std::vector<Digest> keys, StoreDeadline,
                       std::function<void(const Result<size_t>&)> done) {
  size_t count = 0;
  {
    const std::lock_guard lock(mutex_);
    const int64_t now_unix_ms = options_.clock();
    for (; count < keys.size(); ++count) {
      const IndexedRecord* record = index_->Find(keys[count]);
      if (record == nullptr || record->HasExpired(now_unix_ms)) break;
    }
  }
  done(count);
}

void DiskStore::Erase(std::vector<Digest> keys, EraseDone done) {
  if (!done) done = [](const Result<size_t>&) {};
  std::vector<IndexEntry> entries;
  bool writable;
  {
    const std::lock_guard lock(mutex_);
    writable = writable_ && !stop_;
    for (const Digest& key : keys) {
      const IndexedRecord* record = writable ? index_->Find(key) : nullptr;
      if (record == nullptr) continue;
      entries.push_back(index_->EntryOf(*record));
      index_->Remove(key);
    }
    stats_.erased_count += entries.size();
    if (writable) {
      AddCall([this, entries, done] {
        ForgetRecords(entries);
        done(entries.size());
      });
    }
  }
  if (!writable) done(Unavailable("the store is read-only"));
}

bool DiskStore::SetPinned(const Digest& key, bool pinned) {
  const std::lock_guard lock(mutex_);
  IndexedRecord* record = index_->Find(key);
  if (record == nullptr || !writable_) return false;
  index_->SetPinned(*record, pinned);
  AddCall([this, entry = index_->EntryOf(*record)] { AppendToIndex({&entry, 1}); });
  return true;
}

void DiskStore::Touch(std::span<const Digest> keys) {
  const std::lock_guard lock(mutex_);
  const auto now_unix_s = static_cast<uint32_t>(options_.clock() / 1000);
  for (const Digest& key : keys) {
    IndexedRecord* record = index_->Find(key);
    if (record == nullptr) continue;
    ++record->use_count;
    record->used_unix_s = now_unix_s;
  }
}

StoreStats DiskStore::stats() const {
  const std::lock_guard lock(mutex_);
  StoreStats stats = stats_;
  stats.state = read_breaker_.is_open()    ? StoreState::kOutOfOrder
                : !writable_               ? StoreState::kReadOnly
                : write_breaker_.is_open() ? StoreState::kNotStoring
                                           : StoreState::kReady;
  if (stats.state != StoreState::kReady) stats.state_reason = last_error_;
  const bool direct = std::all_of(segments_.begin(), segments_.end(),
                                  [](const auto& segment) { return segment.second.direct; });
  stats.backend = reads_->name() + (direct ? ", O_DIRECT" : ", page cache");
  stats.record_count = index_->record_count();
  stats.pinned_count = index_->pinned_count();
  stats.payload_bytes = index_->payload_bytes();
  stats.physical_bytes = PhysicalBytes();
  stats.cap_bytes = options_.cap_bytes;
  stats.segment_count = segments_.size();
  stats.segment_bytes = segment_bytes_;
  return stats;
}

DiskStore::Recovery DiskStore::recovery() const {
  const std::lock_guard lock(mutex_);
  return recovery_;
}

Result<std::vector<std::byte>> DiskStore::ReadUnchecked(const Digest& key) const {
  std::shared_ptr<OpenFile> file;
  uint64_t offset, record_bytes;
  {
    const std::lock_guard lock(mutex_);
    const IndexedRecord* record = std::as_const(*index_).Find(key);
    if (record == nullptr) return NoRecord();
    file = segments_.at(record->segment).file;
    offset = record->offset();
    record_bytes = record->record_bytes();
  }
  const PageBuffer buffer(record_bytes);
  const int64_t result = ReadPieces(ops_, file->fd(), {Piece(buffer.bytes())}, offset);
  if (result < 0) return ErrnoStatus("read a record", result);
  if (result > 0) return DataLoss("the segment ends within the record");
  return std::vector<std::byte>(buffer.bytes().begin(), buffer.bytes().end());
}

void DiskStore::ForEach(const std::function<bool(const RecordInfo&)>& visit) const {
  std::vector<std::pair<uint64_t, RecordInfo>> infos;
  {
    const std::lock_guard lock(mutex_);
    index_->ForEach([&](const IndexedRecord& record) {
      infos.emplace_back(record.sequence, InfoOf(record, index_->TenantOf(record)));
    });
  }
  std::sort(infos.begin(), infos.end(),
            [](const auto& a, const auto& b) { return a.first < b.first; });
  for (const auto& [sequence, info] : infos) {
    if (!visit(info)) return;
  }
}

}  // namespace kvasir
