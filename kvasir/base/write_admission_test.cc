#include "kvasir/base/write_admission.h"

#include <gtest/gtest.h>

#include <random>

namespace kvasir {
namespace {

uint64_t Key(uint64_t n) {
  std::mt19937_64 random(n);
  return random() | 1;
}

TEST(WriteAdmissionTest, WritesEverythingWhileThereIsRoom) {
  WriteAdmission admission(100 * 1000, 100);
  for (uint64_t n = 0; n < 100; ++n) EXPECT_TRUE(admission.ShouldWrite(Key(n), 0, 1000)) << n;
  EXPECT_EQ(admission.used_bytes(), 100'000);
  EXPECT_TRUE(admission.ShouldWrite(Key(5), 0, 1000)) << "it belongs on the disk";
  EXPECT_EQ(admission.used_bytes(), 100'000);
  EXPECT_FALSE(admission.ShouldWrite(Key(1000), 0, 200'000)) << "larger than the disk";
}

TEST(WriteAdmissionTest, WhatCannotBeFoundIsNotWritten) {
  WriteAdmission admission(1000, 10);
  EXPECT_TRUE(admission.ShouldWrite(Key(1), 0, 600));
  EXPECT_FALSE(admission.ShouldWrite(Key(2), Key(7), 100)) << "its parent is not there";
  EXPECT_FALSE(admission.ShouldWrite(Key(3), Key(1), 600))
      << "it would take the place of its parent";
  EXPECT_TRUE(admission.ShouldWrite(Key(4), Key(1), 100));
  EXPECT_LE(admission.used_bytes(), 1000u);
}

TEST(WriteAdmissionTest, ADiskFromBeforeTheStartIsFullAtOnce) {
  WriteAdmission admission(1000, 10);
  admission.Restore(Key(1), 0, 400);
  admission.Restore(Key(2), Key(1), 400);
  admission.Restore(Key(3), Key(9), 100);  // nobody knows its parent
  admission.Restore(Key(4), 0, 400);       // no room
  EXPECT_EQ(admission.used_bytes(), 800);
  admission.Forget(Key(2));
  admission.Forget(Key(9));
  EXPECT_EQ(admission.used_bytes(), 400);
}

// 50 records that come again in turn, and between them eight times as many that never do: once that
// is known, hardly one of the latter is written.
TEST(WriteAdmissionTest, WhatComesOnceIsNotWrittenToAFullDisk) {
  WriteAdmission admission(100, 100);
  size_t once = 0, written_once = 0, again = 0, written_again = 0;
  uint64_t next = 1000;
  for (int round = 0; round < 400; ++round) {
    for (uint64_t n = 0; n < 50; ++n) {
      const bool counts = round >= 200;
      const bool writes = admission.ShouldWrite(Key(n), 0, 1);
      again += counts;
      written_again += counts && writes;
      for (int i = 0; i < 8; ++i) {
        const bool writes_new = admission.ShouldWrite(Key(next++), 0, 1);
        once += counts;
        written_once += counts && writes_new;
      }
    }
    EXPECT_LE(admission.used_bytes(), 100u);
  }
  EXPECT_LT(written_once, once / 20);
  EXPECT_GT(written_again, again * 9 / 10);
}

}  // namespace
}  // namespace kvasir
