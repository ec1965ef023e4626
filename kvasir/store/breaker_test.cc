// Breaker on a clock that the test turns: when it opens, whom it lets through, and that it closes.

#include "kvasir/store/breaker.h"

#include <gtest/gtest.h>

namespace kvasir {
namespace {

using std::chrono::milliseconds;

TEST(Breaker, OpensWaitsLongerAndCloses) {
  Breaker breaker(2, milliseconds(100), milliseconds(300));
  Breaker::Clock::time_point now;
  EXPECT_TRUE(breaker.Allows(now));
  breaker.Failed(now);
  EXPECT_FALSE(breaker.is_open());
  breaker.Failed(now);
  EXPECT_TRUE(breaker.is_open());
  EXPECT_FALSE(breaker.Allows(now + milliseconds(99)));
  // One attempt at the end of the wait, not two.
  now += milliseconds(100);
  EXPECT_TRUE(breaker.WouldAllow(now));
  EXPECT_TRUE(breaker.Allows(now));
  EXPECT_FALSE(breaker.Allows(now));
  // 100, 200, 300, 300.
  for (const int wait_ms : {200, 300, 300}) {
    breaker.Failed(now);
    EXPECT_FALSE(breaker.Allows(now + milliseconds(wait_ms - 1))) << wait_ms;
    now += milliseconds(wait_ms);
    EXPECT_TRUE(breaker.Allows(now)) << wait_ms;
  }
  breaker.Succeeded();
  EXPECT_FALSE(breaker.is_open());
  EXPECT_TRUE(breaker.Allows(now));
  breaker.Failed(now);
  breaker.Failed(now);
  EXPECT_TRUE(breaker.Allows(now + milliseconds(100)));
}

TEST(Breaker, FailuresCountOnlyInARow) {
  Breaker breaker(3, milliseconds(100), milliseconds(300));
  const Breaker::Clock::time_point now;
  for (int i = 0; i < 10; ++i) {
    breaker.Failed(now);
    breaker.Failed(now);
    breaker.Succeeded();
  }
  EXPECT_TRUE(breaker.Allows(now));
}

}  // namespace
}  // namespace kvasir
