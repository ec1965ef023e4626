#include "kvasir/python/shared_pool.h"

#include <memory>
#include <mutex>

#include "kvasir/base/topology.h"

namespace kvasir {

namespace {

struct State {
  std::mutex mutex;
  size_t thread_count = UsableCoreCount();
  std::unique_ptr<ThreadPool> pool;             // made by the first job
  std::unique_ptr<SamplingWorkspace> sampling;  // of the pool
};

// Never destroyed: a thread of Python's may be in a job when the program ends.
State* g_state = new State;

}  // namespace

void SetPoolThreads(size_t thread_count) {
  const std::lock_guard<std::mutex> lock(g_state->mutex);
  if (thread_count != g_state->thread_count) {
    g_state->sampling.reset();
    g_state->pool.reset();
  }
  g_state->thread_count = thread_count;
}

size_t PoolThreads() {
  const std::lock_guard<std::mutex> lock(g_state->mutex);
  return g_state->thread_count;
}

void WithPool(FunctionRef<void(ThreadPool& pool)> job) {
  const std::lock_guard<std::mutex> lock(g_state->mutex);
  if (g_state->pool == nullptr) g_state->pool = std::make_unique<ThreadPool>(g_state->thread_count);
  job(*g_state->pool);
}

void WithSamplingWorkspace(FunctionRef<void(SamplingWorkspace& workspace)> job) {
  WithPool([&](ThreadPool& pool) {
    if (g_state->sampling == nullptr) g_state->sampling = std::make_unique<SamplingWorkspace>(pool);
    job(*g_state->sampling);
  });
}

void ForgetPoolAfterFork() {
  // The parent's lock may be held and its threads are not here: neither can be cleaned up.
  const size_t thread_count = g_state->thread_count;
  g_state = new State;
  g_state->thread_count = thread_count;
}

}  // namespace kvasir
