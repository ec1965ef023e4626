#include "kvasir/kv/circuit_breaker.h"

#include <gtest/gtest.h>

namespace kvasir {
namespace {

using Answer = CircuitBreaker::Answer;
using std::chrono::milliseconds;

class CircuitBreakerTest : public testing::Test {
 protected:
  void Fail(int count) {
    for (; count > 0; --count) breaker_.Failed(now_);
  }

  CircuitBreaker::Time now_ = CircuitBreaker::Time() + std::chrono::hours(1);
  CircuitBreaker breaker_;
};

TEST_F(CircuitBreakerTest, OpensAfterThreeFailuresInARow) {
  Fail(2);
  breaker_.Succeeded();
  Fail(2);
  EXPECT_EQ(breaker_.Ask(now_), Answer::kPass);
  Fail(1);
  EXPECT_TRUE(breaker_.open());
  EXPECT_EQ(breaker_.Ask(now_), Answer::kRefuse);
  EXPECT_EQ(breaker_.opened_count(), 1u);
}

TEST_F(CircuitBreakerTest, TriesOneAtATimeAfterAPauseThatDoubles) {
  Fail(3);
  EXPECT_EQ(breaker_.Ask(now_ + milliseconds(249)), Answer::kRefuse);
  now_ += milliseconds(250);
  EXPECT_EQ(breaker_.Ask(now_), Answer::kTry);
  EXPECT_EQ(breaker_.Ask(now_), Answer::kRefuse) << "one is under way";
  Fail(1);
  EXPECT_EQ(breaker_.Ask(now_ + milliseconds(499)), Answer::kRefuse);
  now_ += milliseconds(500);
  EXPECT_EQ(breaker_.Ask(now_), Answer::kTry);
  breaker_.Withdrawn();
  EXPECT_EQ(breaker_.Ask(now_), Answer::kTry) << "the last one said nothing";
  breaker_.Succeeded();
  EXPECT_EQ(breaker_.Ask(now_), Answer::kPass);
  // The pause is the shortest one again.
  Fail(3);
  EXPECT_EQ(breaker_.Ask(now_ + milliseconds(250)), Answer::kTry);
}

// Whatever the outage lasted, the device is tried within five seconds of its return.
TEST_F(CircuitBreakerTest, ThePauseIsBounded) {
  Fail(3);
  for (int i = 0; i < 100; ++i) {
    now_ += std::chrono::seconds(4);
    ASSERT_EQ(breaker_.Ask(now_), Answer::kTry);
    Fail(1);
  }
  EXPECT_EQ(breaker_.opened_count(), 1u);
}

TEST_F(CircuitBreakerTest, FailuresFromBeforeItOpenedDoNotLengthenThePause) {
  Fail(20);
  EXPECT_EQ(breaker_.Ask(now_ + milliseconds(250)), Answer::kTry);
}

}  // namespace
}  // namespace kvasir
