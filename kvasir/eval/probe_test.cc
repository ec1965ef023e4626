#include "kvasir/eval/probe.h"

#include <gtest/gtest.h>

namespace kvasir {
namespace {

TEST(ProbeTest, ScoresByQuestionOrByToken) {
  const ProbeTally tally{10, 4, 50, 45, 5.0};
  EXPECT_DOUBLE_EQ(tally.Score(ProbeKind::kPasskey), 0.4);
  EXPECT_DOUBLE_EQ(tally.Score(ProbeKind::kRetrieval), 0.4);
  EXPECT_DOUBLE_EQ(tally.Score(ProbeKind::kCopy), 0.9);
  EXPECT_DOUBLE_EQ(tally.mean_nll(), 0.1);
  EXPECT_EQ(ProbeTally().Score(ProbeKind::kCopy), 0);
}

TEST(ProbeTest, AppliesFromEightyPercentOn) {
  KvProbeRow row{ProbeKind::kPasskey, {10, 8, 50, 45, 5.0}, {}};
  EXPECT_TRUE(row.is_applicable());
  row.reference.found_count = 7;
  EXPECT_FALSE(row.is_applicable());
}

}  // namespace
}  // namespace kvasir
