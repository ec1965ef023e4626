#include "kvasir/base/thread_pool.h"

#include <gtest/gtest.h>

#include <chrono>
#include <thread>
#include <vector>

namespace kvasir {
namespace {

TEST(ThreadPoolTest, RunCallsEveryWorkerOnce) {
  for (const size_t threads : {1, 2, 5}) {
    ThreadPool pool(threads);
    EXPECT_EQ(pool.thread_count(), threads);
    for (int repeat = 0; repeat < 200; ++repeat) {
      std::vector<int> calls(threads);
      pool.Run([&](size_t worker) { ++calls[worker]; });
      EXPECT_EQ(calls, std::vector<int>(threads, 1));
    }
  }
}

TEST(ThreadPoolTest, ParallelForCallsEveryTaskOnceAndItsWritesAreSeen) {
  ThreadPool pool(3);
  for (const size_t tasks : {0, 1, 2, 3, 100, 1000}) {
    std::vector<int> calls(tasks);
    pool.ParallelFor(tasks, [&](size_t task, size_t worker) {
      EXPECT_LT(worker, pool.thread_count());
      ++calls[task];
    });
    EXPECT_EQ(calls, std::vector<int>(tasks, 1));
  }
}

TEST(ThreadPoolTest, WorkersThatFellAsleepWakeUp) {
  ThreadPool pool(2);
  for (int repeat = 0; repeat < 5; ++repeat) {
    // Longer than the workers spin.
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    std::atomic<int> calls{0};
    pool.Run([&](size_t) { ++calls; });
    EXPECT_EQ(calls.load(), 2);
  }
}

TEST(ThreadPoolTest, TheCallerWaitsForASlowWorker) {
  ThreadPool pool(2);
  std::atomic<int> done{0};
  pool.Run([&](size_t worker) {
    // Longer than the caller spins.
    if (worker == 1) std::this_thread::sleep_for(std::chrono::milliseconds(20));
    ++done;
  });
  EXPECT_EQ(done.load(), 2);
}

}  // namespace
}  // namespace kvasir
