// DiskStore: a BlockStore in a directory of one machine: records in append-only segment files,
// found through an index in memory. It survives restarts and kills, because nothing is believed
// that is read: a record is used when its checksums and its identity are right, and is a miss
// otherwise. Nothing is synced while blocks are stored, it is a cache. docs/record_format.md draws
// the files.
//
// The bytes on the device stay below a cap: before a record is written, whole segments are evicted,
// and what is worth most in them is moved on. When writing fails the store goes on reading, and
// tries again by itself; also after its directory has been deleted. One process writes to a
// directory; others that open it read, and take over when it has ended.
//
// Owned by whoever opened it; any thread, as block_store.h says. Inside, one writer thread makes
// all changes to files, and a ReadQueue reads.

#ifndef KVASIR_STORE_DISK_STORE_H_
#define KVASIR_STORE_DISK_STORE_H_

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "kvasir/store/block_store.h"
#include "kvasir/store/breaker.h"
#include "kvasir/store/disk_directory.h"
#include "kvasir/store/disk_recovery.h"
#include "kvasir/store/index_file.h"
#include "kvasir/store/read_queue.h"
#include "kvasir/store/record_index.h"
#include "kvasir/store/retention.h"
#include "kvasir/store/wall_clock.h"

namespace kvasir {

// Room for a few segments and what surrounds them.
inline constexpr uint64_t kDiskCapBytesMin = uint64_t{4} << 20;

struct DiskStoreOptions {
  std::string directory;
  // Of all files together, as `du` counts them; at least kDiskCapBytesMin.
  uint64_t cap_bytes = 0;
  // Of one segment file. 0 = 64 MiB, less below 1 GiB (a 16th of the cap), more above 16 GiB (a
  // 256th, so that 256 files are open). Otherwise 64 KiB to a 4th of the cap.
  uint64_t segment_bytes = 0;
  // Never writes, whoever holds the lock; the cap is not looked at.
  bool read_only = false;
  IoBackend backend = IoBackend::kAuto;
  // Records that Put gives no expiry get this one; 0 = none.
  int64_t ttl_ms = 0;
  // Younger records are not evicted; Put is refused rather.
  int64_t lifetime_min_ms = 0;
  RecordRanking ranking = RecordWorth;
  // After a failure the next try waits so long, then twice as long, and so on up to the longest.
  std::chrono::milliseconds retry_first{100};
  std::chrono::milliseconds retry_longest{30000};
  // How often the directory, expired records and the lock are looked after.
  std::chrono::milliseconds tick{1000};
  // For tests.
  FileOps* ops = nullptr;  // nullptr = the system's
  UnixClock clock = UnixMilliseconds;
};

class DiskStore final : public BlockStore {
 public:
  // Recovers what the directory holds and brings it below the cap. kInvalidArgument and kIoError
  // name the option or path that cannot be. When another process holds the lock, the store reads
  // only (stats() says so), until that one has ended.
  static Result<std::unique_ptr<DiskStore>> Open(DiskStoreOptions options);
  ~DiskStore() override;

  StoreOperation Get(std::vector<GetItem> items, StoreDeadline deadline, StoreDone done) override;
  StoreOperation Put(std::vector<PutItem> items, StoreDeadline deadline, StoreDone done) override;
  void Cancel(StoreOperation operation) override;
  void Lookup(std::vector<Digest> keys, StoreDeadline deadline,
              std::function<void(const Result<size_t>&)> done) override;
  void Erase(std::vector<Digest> keys, EraseDone done) override;
  void EraseTenant(const Digest& tenant, EraseDone done) override;
  bool SetPinned(const Digest& key, bool pinned) override;
  void Touch(std::span<const Digest> keys) override;
  StoreStats stats() const override;
  void ForEach(const std::function<bool(const RecordInfo&)>& visit) const override;
  Status Flush(StoreDeadline deadline) override;

  // What recovery found at the last opening.
  struct Recovery {
    uint64_t scanned_count = 0;  // records that the index file did not know
    uint64_t dropped_count = 0;  // records of the index file that are not there
    uint64_t foreign_count = 0;  // files that are no segments
    bool index_whole = false;
  };
  Recovery recovery() const;

  // For tools: the bytes of a record as they lie in the file, unchecked. Waits for the device.
  // kNotFound when there is none.
  Result<std::vector<std::byte>> ReadUnchecked(const Digest& key) const;

  // Gives back the bytes of everything that is no record any more; returns how many.
  Result<uint64_t> CollectGarbage();

 private:
  using Clock = std::chrono::steady_clock;
  struct PutJob {
    StoreOperation operation = 0;
    StoreDeadline deadline = kNoDeadline;
    Clock::time_point begin;
    size_t item_index = 0;
    PutItem item;
    std::shared_ptr<const StoreDone> done;
  };
  // Either a put or anything else that only the writer thread may do.
  struct Job {
    std::unique_ptr<PutJob> put;
    std::function<void()> call;
  };

  explicit DiskStore(DiskStoreOptions options);
  Status Start();

  // Reading: disk_store.cc. BeginGet is under the mutex: a read, or the status that ends the item.
  std::unique_ptr<DiskRead> BeginGet(const GetItem& item, Status* end);
  void FinishRead(DiskRead& read, int64_t result);
  Status JudgeRead(const DiskRead& read, const Status& verified, int64_t result);

  // The writer thread: disk_store_writer.cc.
  void RunWriter();
  void Tick();
  void AddCall(std::function<void()> call);
  void EndPut(const PutJob& job, const Status& status);
  Status WritePut(const PutJob& job);
  Status CheckPutNow(const PutJob& job, bool* known);
  Result<SegmentFile> SegmentFor(uint64_t record_bytes);
  Status WriteRecordAt(const SegmentFile& segment, const PutJob& job, RecordHeader& header);
  // `negative_errno` tells a full device from others.
  Status NoteWriteFailure(const Status& error, int64_t negative_errno = 0);
  void AppendToIndex(std::span<const IndexEntry> entries);
  Status WriteSnapshot();
  Status EnforceCap();
  Status RecoverAll();
  void StartAnew();
  void Refresh();
  void DropExpired();

  // Room: disk_store_room.cc, on the writer thread too.
  bool MakeRoom(uint64_t record_bytes);
  bool EvictSegment();
  uint32_t ChooseVictim(double* worth_mean) const;
  bool MoveRecord(const SegmentFile& from, const IndexEntry& entry);
  double WorthOf(const IndexedRecord& record, int64_t now_unix_ms) const;
  bool IsKept(const IndexedRecord& record, int64_t now_unix_ms) const;
  uint64_t PhysicalBytes() const;
  uint64_t CapNow() const;
  Status EraseRange(uint32_t segment, uint64_t offset, uint64_t byte_count, bool overwrite);
  Status CheckErased(const std::vector<IndexEntry>& entries);
  Result<uint64_t> SweepSegments();
  void ForgetRecords(std::vector<IndexEntry> entries);

  const DiskStoreOptions options_;
  const uint64_t segment_bytes_;
  FileOps& ops_;

  // Writer thread alone, after Start.
  DiskDirectory directory_;
  IndexFile index_file_;
  PageBuffer around_;            // header page and tail of the record that is written
  uint32_t active_segment_ = 0;  // 0 = none
  uint32_t next_segment_ = 1;
  uint64_t next_sequence_ = 1;
  bool index_stale_ = false;  // the index file lacks something
  // File and size of the index that a reader has seen.
  std::pair<uint64_t, int64_t> index_seen_ = {0, -1};

  mutable std::mutex mutex_;  // guards all below
  std::condition_variable wake_;
  std::unique_ptr<RecordIndex> index_;
  std::map<uint32_t, SegmentFile> segments_;
  StoreStats stats_;
  Breaker read_breaker_;
  Breaker write_breaker_;
  std::string last_error_;
  bool writable_ = false;
  uint64_t index_bytes_ = 0;
  // While the device is full: less than the cap.
  uint64_t full_device_cap_ = UINT64_MAX;
  Clock::time_point full_device_until_;
  std::deque<Job> jobs_;
  StoreOperation operation_ = 0;
  bool stop_ = false;
  Recovery recovery_;

  std::unique_ptr<ReadQueue> reads_;
  std::thread writer_;
};

}  // namespace kvasir

#endif  // KVASIR_STORE_DISK_STORE_H_
