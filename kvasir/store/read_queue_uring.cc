// The read queue on io_uring: the only file that knows liburing.

#include <liburing.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "kvasir/store/read_queue.h"

namespace kvasir {

namespace {

// Reads under way at once: 16 of 700 KiB keep a disk of 100 us and 5 GB/s busy 20 times over, and
// bound the bytes that are under way.
constexpr unsigned kDepth = 16;

class UringReadQueue final : public ReadQueue {
 public:
  UringReadQueue(FileOps& ops, Finish finish, const io_uring& ring, int wake_fd)
      : ReadQueue(std::move(finish)), ops_(ops), ring_(ring), wake_fd_(wake_fd), thread_([this] {
          Run();
        }) {}

  ~UringReadQueue() override {
    {
      const std::lock_guard lock(mutex_);
      stop_ = true;
    }
    Wake();
    thread_.join();
    io_uring_queue_exit(&ring_);
  }
  std::string name() const override { return "io_uring"; }

 private:
  void Wake() override {
    const uint64_t one = 1;
    // Fails only when the counter is full, and then the thread is awake anyway.
    [[maybe_unused]] const ssize_t result = write(wake_fd_.fd(), &one, sizeof(one));
  }

  void Run() {
    LowerThreadPriority(5);
    ListenForWake();
    while (true) {
      if (!StartReads()) return;
      io_uring_submit(&ring_);
      io_uring_cqe* completion = nullptr;
      if (io_uring_wait_cqe(&ring_, &completion) != 0) continue;  // interrupted
      auto* const read = static_cast<DiskRead*>(io_uring_cqe_get_data(completion));
      const int64_t result = completion->res;
      io_uring_cqe_seen(&ring_, completion);
      if (read == nullptr) {
        ListenForWake();
      } else {
        --depth_;
        End(std::unique_ptr<DiskRead>(read), Complete(*read, result));
      }
    }
  }

  // False when the queue is stopped and nothing is under way any more.
  bool StartReads() {
    while (depth_ < kDepth) {
      std::unique_ptr<DiskRead> read;
      {
        const std::lock_guard lock(mutex_);
        if (stop_) return depth_ > 0;
        read = Take();
      }
      if (read == nullptr) return true;
      if (IsLate(*read)) {
        End(std::move(read), kLate);
        continue;
      }
      read->Prepare();
      io_uring_sqe* const sqe = io_uring_get_sqe(&ring_);
      io_uring_prep_readv(sqe, read->file->fd(), read->pieces.data(),
                          static_cast<unsigned>(read->pieces.size()), read->offset);
      io_uring_sqe_set_data(sqe, read.release());
      ++depth_;
    }
    return true;
  }

  // A read that came back short begins again, this time waiting: short reads are rare.
  int64_t Complete(DiskRead& read, int64_t result) {
    if (result == -EINTR || result == -EAGAIN) result = 0;
    if (result < 0) return result;
    if (static_cast<uint64_t>(result) == RecordBytes(read.stored_bytes)) return 0;
    return ReadPieces(ops_, read.file->fd(), read.pieces, read.offset);
  }

  void ListenForWake() {
    io_uring_sqe* const sqe = io_uring_get_sqe(&ring_);
    io_uring_prep_read(sqe, wake_fd_.fd(), &wake_count_, sizeof(wake_count_), 0);
    io_uring_sqe_set_data(sqe, nullptr);
  }

  FileOps& ops_;
  io_uring ring_;
  const OpenFile wake_fd_;
  uint64_t wake_count_ = 0;
  unsigned depth_ = 0;
  std::thread thread_;
};

}  // namespace

std::unique_ptr<ReadQueue> StartUringReadQueue(FileOps& ops, ReadQueue::Finish finish) {
  io_uring ring;
  // Containers often forbid it.
  if (io_uring_queue_init(2 * kDepth, &ring, 0) != 0) return nullptr;
  const int wake_fd = eventfd(0, EFD_CLOEXEC);
  if (wake_fd < 0) {
    io_uring_queue_exit(&ring);
    return nullptr;
  }
  return std::unique_ptr<ReadQueue>(new UringReadQueue(ops, std::move(finish), ring, wake_fd));
}

}  // namespace kvasir
