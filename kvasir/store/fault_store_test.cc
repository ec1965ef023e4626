// FaultStore does what tests ask of it: refuses, holds, slows, and ends every item once.

#include "kvasir/store/fault_store.h"

#include <gtest/gtest.h>

#include "kvasir/store/memory_store.h"
#include "kvasir/store/store_test_util.h"

namespace kvasir {
namespace {

TEST(FaultStore, RefusesWhatTheFaultNames) {
  MemoryStore memory;
  FaultStore store(memory);
  const TestBlock block(0);
  EXPECT_TRUE(PutBlock(store, block).ok());
  store.SetFault([&](FaultStore::Call call, const Digest& key) {
    const bool hit = call == FaultStore::Call::kGet && key == block.key();
    return hit ? Unavailable("the disk is on fire") : OkStatus();
  });
  EXPECT_EQ(GetBlock(store, block).message(), "the disk is on fire");
  EXPECT_TRUE(PutBlock(store, TestBlock(1)).ok());
  store.SetFault({});
  EXPECT_TRUE(GetBlock(store, block).ok());
}

TEST(FaultStore, HeldItemsAreReleasedCancelledOrLate) {
  MemoryStore memory;
  FaultStore store(memory);
  store.SetHeld(true);
  const TestBlock a(0), b(1), c(2);
  const Waiter first(1), second(1), third(1);
  store.Put({a.Put()}, kNoDeadline, first.done());
  const StoreOperation operation = store.Put({b.Put()}, kNoDeadline, second.done());
  EXPECT_FALSE(first.over());
  EXPECT_EQ(store.held_count(), 2u);
  store.Cancel(operation);
  EXPECT_EQ(second.Wait()[0].code(), StatusCode::kCancelled);
  store.Put({c.Put()}, std::chrono::steady_clock::now() + std::chrono::milliseconds(20),
            third.done());
  EXPECT_EQ(third.Wait()[0].code(), StatusCode::kDeadlineExceeded);
  store.Release();
  EXPECT_TRUE(first.Wait()[0].ok());
  EXPECT_EQ(memory.stats().record_count, 1u);
  EXPECT_EQ(first.call_counts()[0] + second.call_counts()[0] + third.call_counts()[0], 3);
}

TEST(FaultStore, ASlowDeviceTakesItsTime) {
  MemoryStore memory;
  FaultStore store(memory);
  const TestBlock a(0), b(1);
  ASSERT_TRUE(PutBlock(store, a).ok());
  ASSERT_TRUE(PutBlock(store, b).ok());
  store.SetSpeed(0.01, 8192 / 0.02);
  const auto begin = std::chrono::steady_clock::now();
  std::vector<std::byte> buffer(2 * 8192);
  const Waiter waiter(2);
  store.Get(
      {{a.identity(), std::span(buffer).first(8192)}, {b.identity(), std::span(buffer).last(8192)}},
      kNoDeadline, waiter.done());
  for (const Status& status : waiter.Wait()) EXPECT_TRUE(status.ok()) << status.message();
  // Two transfers of 20 ms and one latency.
  EXPECT_GE(std::chrono::steady_clock::now() - begin, std::chrono::milliseconds(50));
}

}  // namespace
}  // namespace kvasir
