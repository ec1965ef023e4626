#include "kvasir/kernels/cpu_target.h"

#include <gtest/gtest.h>

namespace kvasir {
namespace {

TEST(CpuTargetTest, SupportedTargetsRiseAndEndWithTheActiveOne) {
  const auto targets = SupportedCpuTargets();
  ASSERT_FALSE(targets.empty());
  EXPECT_EQ(targets.front(), CpuTarget::kPortable);
  for (size_t i = 1; i < targets.size(); ++i) EXPECT_LT(targets[i - 1], targets[i]);
  ASSERT_TRUE(ForceCpuTarget("auto").ok());
  EXPECT_EQ(ActiveCpuTarget(), targets.back());
}

TEST(CpuTargetTest, EverySupportedTargetCanBeForcedAndIsRestored) {
  ASSERT_TRUE(ForceCpuTarget("auto").ok());
  const CpuTarget best = ActiveCpuTarget();
  for (const CpuTarget target : SupportedCpuTargets()) {
    {
      ScopedCpuTarget scoped(target);
      EXPECT_EQ(ActiveCpuTarget(), target);
    }
    EXPECT_EQ(ActiveCpuTarget(), best);
    EXPECT_TRUE(ForceCpuTarget(CpuTargetName(target)).ok());
    EXPECT_EQ(ActiveCpuTarget(), target);
    ASSERT_TRUE(ForceCpuTarget("auto").ok());
  }
}

TEST(CpuTargetTest, AnUnknownNameIsRefusedWithTheChoices) {
  const Status status = ForceCpuTarget("avx1024");
  EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
  EXPECT_NE(status.message().find("avx1024"), std::string::npos);
  EXPECT_NE(status.message().find("portable"), std::string::npos);
}

}  // namespace
}  // namespace kvasir
