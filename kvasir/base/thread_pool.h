// ThreadPool: the compute threads, a fork-join pool. The caller is worker 0; the others spin for a
// short while after a job, then sleep, so that the two barriers of a job cost a microsecond or two
// while the engine is busy and nothing when it is idle. One thread at a time may call Run or
// ParallelFor (the engine thread); jobs do not nest.

#ifndef KVASIR_BASE_THREAD_POOL_H_
#define KVASIR_BASE_THREAD_POOL_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <thread>
#include <type_traits>
#include <vector>

namespace kvasir {

// A non-owning reference to a callable void(size_t...): no allocation, valid for the duration of
// the call it is passed to.
template <typename Signature>
class FunctionRef;
template <typename R, typename... Args>
class FunctionRef<R(Args...)> {
 public:
  template <typename F>
  requires(!std::is_same_v<std::remove_cvref_t<F>, FunctionRef>)
      FunctionRef(F&& f)  // NOLINT: implicit, a lambda is passed where it is called
      : object_(const_cast<void*>(static_cast<const void*>(&f))),
        call_([](void* object, Args... args) -> R {
          return (*static_cast<std::remove_reference_t<F>*>(object))(args...);
        }) {}
  R operator()(Args... args) const { return call_(object_, args...); }

 private:
  void* object_;
  R (*call_)(void*, Args...);
};

class ThreadPool {
 public:
  // `thread_count` >= 1, the caller's thread included: thread_count - 1 threads are started.
  explicit ThreadPool(size_t thread_count);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  size_t thread_count() const { return workers_.size() + 1; }

  // Calls job(worker) once on each thread, worker in [0, thread_count), and returns when all have
  // returned.
  void Run(FunctionRef<void(size_t worker)> job);

  // Calls body(task, worker) once for each task in [0, task_count), handed out in rising order to
  // whichever worker is free. A body must write only what belongs to its task, so that results do
  // not depend on who ran it.
  void ParallelFor(size_t task_count, FunctionRef<void(size_t task, size_t worker)> body);

 private:
  void WorkerLoop(size_t worker);

  std::vector<std::thread> workers_;
  const FunctionRef<void(size_t)>* job_ = nullptr;   // of the current generation
  alignas(64) std::atomic<uint32_t> generation_{0};  // rises once a job
  alignas(64) std::atomic<uint32_t> running_{0};  // workers that have not finished the current job
  alignas(64) std::atomic<bool> stopping_{false};
};

}  // namespace kvasir

#endif  // KVASIR_BASE_THREAD_POOL_H_
