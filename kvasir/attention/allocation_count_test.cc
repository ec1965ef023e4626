// Counts the allocations of the test program, so that a test can say that there were none.

#include <atomic>
#include <cstdlib>
#include <new>

#include "kvasir/attention/attention_test_util.h"

namespace kvasir {

namespace {
std::atomic<size_t> g_allocation_count{0};
}  // namespace

size_t AllocationCount() { return g_allocation_count.load(); }

}  // namespace kvasir

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
void* operator new(size_t byte_count) {
  kvasir::g_allocation_count.fetch_add(1, std::memory_order_relaxed);
  if (void* memory = std::malloc(byte_count == 0 ? 1 : byte_count)) return memory;
  throw std::bad_alloc();
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, size_t) noexcept { std::free(memory); }
#endif
