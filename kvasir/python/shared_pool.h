// SharedPool: the compute threads of the Python module. One job at a time: whoever runs holds the
// lock, and waits for it without the GIL, so that Python threads take turns. Survives fork: the
// child starts threads of its own.

#ifndef KVASIR_PYTHON_SHARED_POOL_H_
#define KVASIR_PYTHON_SHARED_POOL_H_

#include <cstddef>

#include "kvasir/base/thread_pool.h"
#include "kvasir/kernels/batch_sampling.h"

namespace kvasir {

// 1 to kPoolThreadsMax; threads stop and start at the next job.
inline constexpr size_t kPoolThreadsMax = 1024;
void SetPoolThreads(size_t thread_count);
size_t PoolThreads();

// Calls job(pool) while no other job runs. The GIL must not be held.
void WithPool(FunctionRef<void(ThreadPool& pool)> job);
// The same with scratch memory for sampling, which stays between jobs.
void WithSamplingWorkspace(FunctionRef<void(SamplingWorkspace& workspace)> job);

// In a forked child, which has no threads but its own, before anything else of this header.
void ForgetPoolAfterFork();

}  // namespace kvasir

#endif  // KVASIR_PYTHON_SHARED_POOL_H_
