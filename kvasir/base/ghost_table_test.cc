#include "kvasir/base/ghost_table.h"

#include <gtest/gtest.h>

namespace kvasir {
namespace {

TEST(GhostTableTest, RemembersTheLatestOfAKeyUntilItIsErased) {
  GhostTable table(64);
  EXPECT_FALSE(table.Find(7, 10).has_value());
  table.Put(7, {.use_class = 0, .last_use = 3}, 5);
  table.Put(7, {.use_class = 2, .last_use = 9}, 10);
  const auto ghost = table.Find(7, 10);
  ASSERT_TRUE(ghost.has_value());
  EXPECT_EQ(ghost->use_class, 2);
  EXPECT_EQ(ghost->last_use, 9);
  table.Erase(7);
  table.Erase(8);
  EXPECT_FALSE(table.Find(7, 10).has_value());
}

TEST(GhostTableTest, TheKeyUsedLongestAgoGivesWay) {
  GhostTable table(1);  // one line of 8
  ASSERT_EQ(table.slot_count(), 8);
  // Put in another order than they were used in, as records leave a cache.
  const uint64_t times[] = {30, 10, 20, 80, 70, 60, 50, 40};
  for (uint64_t i = 0; i < 8; ++i) table.Put(i << 40, {0, times[i]}, 80);
  table.Put(uint64_t{8} << 40, {0, 5}, 80);
  EXPECT_FALSE(table.Find(uint64_t{1} << 40, 80).has_value());
  table.Put(uint64_t{9} << 40, {0, 75}, 80);
  EXPECT_FALSE(table.Find(uint64_t{8} << 40, 80).has_value());
  size_t found = 0;
  for (uint64_t i = 0; i < 10; ++i) found += table.Find(i << 40, 80).has_value();
  EXPECT_EQ(found, 8);
}

TEST(GhostTableTest, TimesSurviveTheirThirtyTwoBits) {
  GhostTable table(8);
  const uint64_t time = (uint64_t{5} << 32) - 2;
  table.Put(1, {1, time}, time);
  EXPECT_EQ(table.Find(1, time + 10)->last_use, time);
  for (size_t slot = 0; slot < table.slot_count(); ++slot) {
    if (const auto ghost = table.At(slot, time + 10)) {
      EXPECT_EQ(ghost->last_use, time);
    }
  }
}

}  // namespace
}  // namespace kvasir
