#include "kvasir/store/read_queue.h"

#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <utility>

namespace kvasir {

namespace {

// As many as hide the latency of a disk behind another read; verification runs on them as well.
constexpr int kReadThreads = 2;

class ThreadReadQueue final : public ReadQueue {
 public:
  ThreadReadQueue(FileOps& ops, Finish finish) : ReadQueue(std::move(finish)), ops_(ops) {
    for (int i = 0; i < kReadThreads; ++i) threads_.emplace_back([this] { Run(); });
  }
  ~ThreadReadQueue() override {
    {
      const std::lock_guard lock(mutex_);
      stop_ = true;
    }
    wake_.notify_all();
    for (std::thread& thread : threads_) thread.join();
  }
  std::string name() const override { return "preadv"; }

 private:
  void Wake() override { wake_.notify_one(); }

  void Run() {
    LowerThreadPriority(5);
    std::unique_lock lock(mutex_);
    while (true) {
      wake_.wait(lock, [&] { return stop_ || !waiting_.empty(); });
      if (stop_) return;
      std::unique_ptr<DiskRead> read = Take();
      lock.unlock();
      int64_t result = kLate;
      if (!IsLate(*read)) {
        read->Prepare();
        result = ReadPieces(ops_, read->file->fd(), read->pieces, read->offset);
      }
      End(std::move(read), result);
      lock.lock();
    }
  }

  FileOps& ops_;
  std::condition_variable wake_;
  std::vector<std::thread> threads_;
};

bool IsAtPage(const void* address) {
  return reinterpret_cast<uintptr_t>(address) % kStorePageBytes == 0;
}

}  // namespace

void DiskRead::Prepare() {
  const uint64_t body_bytes = RecordBodyBytes(stored_bytes);
  const uint64_t record_bytes = RecordBytes(stored_bytes);
  in_place = stored_bytes == item.payload.size() && IsAtPage(item.payload.data());
  around.emplace(in_place ? record_bytes - body_bytes : record_bytes);
  if (!in_place) {
    pieces = {Piece(around->bytes())};
    return;
  }
  pieces = {Piece(around->bytes().first(kRecordHeaderBytes)), Piece(item.payload.first(body_bytes)),
            Piece(around->bytes().subspan(kRecordHeaderBytes))};
}

std::span<const std::byte> DiskRead::header_page() const {
  return around->bytes().first(kRecordHeaderBytes);
}

std::span<const std::byte> DiskRead::tail() const {
  return around->bytes().last(RecordTailBytes(stored_bytes));
}

void DiskRead::CompletePayload() {
  const uint64_t body_bytes = RecordBodyBytes(stored_bytes);
  if (in_place) {
    std::copy_n(tail().begin(), stored_bytes - body_bytes, item.payload.begin() + body_bytes);
  } else {
    std::copy_n(around->bytes().begin() + kRecordHeaderBytes, stored_bytes, item.payload.begin());
  }
}

Result<std::unique_ptr<ReadQueue>> ReadQueue::Start(IoBackend backend, FileOps& ops,
                                                    Finish finish) {
  if (backend != IoBackend::kThreads) {
    std::unique_ptr<ReadQueue> queue = StartUringReadQueue(ops, finish);
    if (queue != nullptr) return queue;
    if (backend == IoBackend::kUring) return Unavailable("the kernel does not allow io_uring");
  }
  return std::unique_ptr<ReadQueue>(new ThreadReadQueue(ops, std::move(finish)));
}

void ReadQueue::Push(std::unique_ptr<DiskRead> read) {
  {
    const std::lock_guard lock(mutex_);
    waiting_.push_back(std::move(read));
  }
  Wake();
}

std::vector<std::unique_ptr<DiskRead>> ReadQueue::Cancel(StoreOperation operation) {
  std::vector<std::unique_ptr<DiskRead>> cancelled;
  const std::lock_guard lock(mutex_);
  for (std::unique_ptr<DiskRead>& read : waiting_) {
    if (read->operation == operation) cancelled.push_back(std::move(read));
  }
  std::erase(waiting_, nullptr);
  return cancelled;
}

std::vector<std::unique_ptr<DiskRead>> ReadQueue::CancelAll() {
  const std::lock_guard lock(mutex_);
  std::vector<std::unique_ptr<DiskRead>> cancelled(std::make_move_iterator(waiting_.begin()),
                                                   std::make_move_iterator(waiting_.end()));
  waiting_.clear();
  return cancelled;
}

bool ReadQueue::WaitIdle(std::chrono::milliseconds longest) {
  std::unique_lock lock(mutex_);
  return idle_.wait_for(lock, longest, [&] { return waiting_.empty() && under_way_count_ == 0; });
}

std::unique_ptr<DiskRead> ReadQueue::Take() {
  if (waiting_.empty()) return nullptr;
  std::unique_ptr<DiskRead> read = std::move(waiting_.front());
  waiting_.pop_front();
  ++under_way_count_;
  return read;
}

void ReadQueue::End(std::unique_ptr<DiskRead> read, int64_t result) {
  finish_(*read, result);
  read.reset();
  {
    const std::lock_guard lock(mutex_);
    --under_way_count_;
  }
  idle_.notify_all();
}

void LowerThreadPriority(int nice) {
  // Both may be refused; then the thread runs like the others.
  setpriority(PRIO_PROCESS, static_cast<id_t>(syscall(SYS_gettid)), nice);
  constexpr int kWhoProcess = 1, kBestEffortLowest = (2 << 13) | 7;
  syscall(SYS_ioprio_set, kWhoProcess, 0, kBestEffortLowest);
}

}  // namespace kvasir
