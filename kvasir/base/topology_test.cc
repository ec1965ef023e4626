#include "kvasir/base/topology.h"

#include <gtest/gtest.h>
#include <sched.h>

#include "kvasir/base/aligned_buffer.h"

namespace kvasir {
namespace {

TEST(TopologyTest, CoresFollowTheAffinityMask) {
  cpu_set_t before;
  ASSERT_EQ(sched_getaffinity(0, sizeof(before), &before), 0);
  EXPECT_GE(UsableCoreCount(), 1u);
  EXPECT_LE(UsableCoreCount(), static_cast<size_t>(CPU_COUNT(&before)));
  int first = 0;
  while (!CPU_ISSET(first, &before)) ++first;
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(first, &one);
  ASSERT_EQ(sched_setaffinity(0, sizeof(one), &one), 0);
  EXPECT_EQ(UsableCoreCount(), 1u);
  ASSERT_EQ(sched_setaffinity(0, sizeof(before), &before), 0);
}

TEST(TopologyTest, ResidentBytesSeeTouchedMemory) {
  const size_t before = ResidentBytes();
  ASSERT_GT(before, 0u);
  auto buffer = AlignedBuffer::Allocate(32 << 20);
  ASSERT_TRUE(buffer.ok());
  for (size_t i = 0; i < buffer->size(); i += 4096) buffer->data()[i] = std::byte(1);
  EXPECT_GE(ResidentBytes(), before + (30 << 20));
  EXPECT_GT(AvailableMemoryBytes(), 0u);
  EXPECT_FALSE(CpuModelName().empty());
}

TEST(TopologyTest, TheLastLevelCacheHasAPlausibleSize) {
  const size_t bytes = LastLevelCacheBytes();
  if (bytes == 0) GTEST_SKIP() << "the kernel does not tell of caches here";
  EXPECT_GE(bytes, size_t{128} << 10);
  EXPECT_LE(bytes, size_t{4} << 30);
}

}  // namespace
}  // namespace kvasir
