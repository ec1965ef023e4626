#include "kvasir/base/thread_pool.h"

#include "kvasir/base/check.h"

namespace kvasir {

namespace {

// How often a waiting thread looks before it sleeps: with ~10 ns a look about 50 us, longer than
// the serial pieces between two parallel ones within a step, shorter than anyone's patience with a
// busy idle server.
constexpr int kSpinCount = 5000;

inline void CpuRelax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

// Returns when `value` is no longer `old`: spins, then sleeps.
inline void AwaitChange(const std::atomic<uint32_t>& value, uint32_t old) {
  for (int i = 0; i < kSpinCount; ++i) {
    if (value.load(std::memory_order_acquire) != old) return;
    CpuRelax();
  }
  value.wait(old, std::memory_order_acquire);
}

}  // namespace

ThreadPool::ThreadPool(size_t thread_count) {
  KVASIR_CHECK(thread_count >= 1);
  workers_.reserve(thread_count - 1);
  for (size_t worker = 1; worker < thread_count; ++worker) {
    workers_.emplace_back([this, worker] { WorkerLoop(worker); });
  }
}

ThreadPool::~ThreadPool() {
  stopping_.store(true, std::memory_order_release);
  generation_.fetch_add(1, std::memory_order_acq_rel);
  generation_.notify_all();
  for (std::thread& thread : workers_) thread.join();
}

void ThreadPool::Run(FunctionRef<void(size_t)> job) {
  if (workers_.empty()) {
    job(0);
    return;
  }
  job_ = &job;
  running_.store(static_cast<uint32_t>(workers_.size()), std::memory_order_relaxed);
  generation_.fetch_add(1, std::memory_order_acq_rel);
  generation_.notify_all();
  job(0);
  for (uint32_t left; (left = running_.load(std::memory_order_acquire)) != 0;)
    AwaitChange(running_, left);
  job_ = nullptr;
}

void ThreadPool::ParallelFor(size_t task_count, FunctionRef<void(size_t, size_t)> body) {
  if (task_count == 0) return;
  if (task_count == 1 || workers_.empty()) {
    for (size_t task = 0; task < task_count; ++task) body(task, 0);
    return;
  }
  std::atomic<size_t> next{0};
  Run([&](size_t worker) {
    for (size_t task; (task = next.fetch_add(1, std::memory_order_relaxed)) < task_count;)
      body(task, worker);
  });
}

void ThreadPool::WorkerLoop(size_t worker) {
  uint32_t seen = 0;
  for (;;) {
    AwaitChange(generation_, seen);
    ++seen;  // Run waits for every worker, so no generation can be missed.
    if (stopping_.load(std::memory_order_acquire)) return;
    (*job_)(worker);
    if (running_.fetch_sub(1, std::memory_order_acq_rel) == 1) running_.notify_one();
  }
}

}  // namespace kvasir
