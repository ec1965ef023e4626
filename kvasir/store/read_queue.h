// ReadQueue: records on their way from a disk store's files into callers' buffers, by io_uring
// where the kernel allows it, else by a few threads that wait in preadv. It reads and knows nothing
// of what is read: each read ends in a call of `finish` on a thread of the queue. Owned by the disk
// store; any thread may push and cancel.

#ifndef KVASIR_STORE_READ_QUEUE_H_
#define KVASIR_STORE_READ_QUEUE_H_

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "kvasir/store/block_store.h"
#include "kvasir/store/file_ops.h"
#include "kvasir/store/record_format.h"

namespace kvasir {

struct DiskRead {
  StoreOperation operation = 0;
  StoreDeadline deadline = kNoDeadline;
  std::chrono::steady_clock::time_point begin;
  size_t item_index = 0;
  GetItem item;
  std::shared_ptr<const StoreDone> done;
  // Where the index says that the record is.
  std::shared_ptr<OpenFile> file;
  bool direct = false;
  uint32_t segment = 0;
  uint64_t offset = 0;
  uint64_t sequence = 0;
  uint64_t stored_bytes = 0;

  // The pieces of the record, made by Prepare: the body goes straight into item.payload where that
  // lies at a page, else everything goes into `around`.
  std::optional<PageBuffer> around;
  bool in_place = false;
  std::vector<iovec> pieces;
  void Prepare();
  // After reading. The tail of the record, and its stored payload; REQUIRES that the header page
  // says the same stored_bytes.
  std::span<const std::byte> header_page() const;
  std::span<const std::byte> tail() const;
  // Completes item.payload with what was not read in place.
  void CompletePayload();
};

enum class IoBackend { kAuto, kUring, kThreads };

class ReadQueue {
 public:
  // 0, -errno, or one of these.
  static constexpr int64_t kEndsBefore = 1;  // the file is too short
  static constexpr int64_t kLate = 2;        // the deadline passed before the read began
  using Finish = std::function<void(DiskRead&, int64_t result)>;

  // kUnavailable when io_uring is asked for and the kernel has none.
  static Result<std::unique_ptr<ReadQueue>> Start(IoBackend backend, FileOps& ops, Finish finish);
  virtual ~ReadQueue() = default;

  virtual std::string name() const = 0;
  void Push(std::unique_ptr<DiskRead> read);
  // What has not begun; the caller ends it.
  std::vector<std::unique_ptr<DiskRead>> Cancel(StoreOperation operation);
  std::vector<std::unique_ptr<DiskRead>> CancelAll();
  // Whether nothing waits or is under way; waits for that, but not longer than `longest`.
  bool WaitIdle(std::chrono::milliseconds longest);

 protected:
  explicit ReadQueue(Finish finish) : finish_(std::move(finish)) {}

  virtual void Wake() = 0;
  static bool IsLate(const DiskRead& read) {
    return std::chrono::steady_clock::now() > read.deadline;
  }
  // Under mutex_. The next read to begin, or nullptr; it counts as under way then.
  std::unique_ptr<DiskRead> Take();
  void End(std::unique_ptr<DiskRead> read, int64_t result);

  std::mutex mutex_;
  std::deque<std::unique_ptr<DiskRead>> waiting_;
  size_t under_way_count_ = 0;
  bool stop_ = false;

 private:
  const Finish finish_;
  std::condition_variable idle_;
};

// A queue on io_uring; nullptr when the kernel does not allow one.
std::unique_ptr<ReadQueue> StartUringReadQueue(FileOps& ops, ReadQueue::Finish finish);

// Lowers the calling thread beneath those that compute: `nice` steps, and best-effort I/O at the
// lowest level.
void LowerThreadPriority(int nice);

}  // namespace kvasir

#endif  // KVASIR_STORE_READ_QUEUE_H_
