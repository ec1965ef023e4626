#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "kvasir/kernels/cpu_target.h"
#include "kvasir/kernels/highway_targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kvasir/kernels/exp_test.cc"
// Must come after the choice of targets and before everything else of Highway.
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kvasir/kernels/exp-inl.h"

HWY_BEFORE_NAMESPACE();
namespace kvasir {
namespace HWY_NAMESPACE {

// In place; the count is a multiple of 16.
void ExpAll(float* x, size_t count) {
  for (size_t i = 0; i < count; i += kLaneCount) {
    StoreLanes(ExpOfNonPositive(LoadLanes(x + i)), x + i);
  }
}
void TanhAll(float* x, size_t count) {
  for (size_t i = 0; i < count; i += kLaneCount) StoreLanes(Tanh(LoadLanes(x + i)), x + i);
}

}  // namespace HWY_NAMESPACE
}  // namespace kvasir
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace kvasir {
namespace {

HWY_EXPORT(ExpAll);
HWY_EXPORT(TanhAll);

constexpr size_t kCount = 1 << 16;

class ExpTest : public testing::TestWithParam<CpuTarget> {
 protected:
  const ScopedCpuTarget scope_{GetParam()};
};

INSTANTIATE_TEST_SUITE_P(Targets, ExpTest, testing::ValuesIn(SupportedCpuTargets()),
                         [](const auto& info) { return std::string(CpuTargetName(info.param)); });

TEST_P(ExpTest, ExpIsRightToAUnitInTheLastPlace) {
  std::vector<float> x(kCount);
  for (size_t i = 0; i < kCount; ++i) x[i] = -87.25f * float(i) / kCount;
  std::vector<float> y = x;
  HWY_DYNAMIC_DISPATCH(ExpAll)(y.data(), kCount);
  for (size_t i = 0; i < kCount; ++i) {
    const double truth = std::exp(double(x[i]));
    ASSERT_NEAR(double(y[i]) / truth, 1.0, 1.2e-7) << "exp(" << x[i] << ")";
  }
}

TEST_P(ExpTest, ExpIsExactAtTheEnds) {
  std::vector<float> x(16, 0.0f);
  x[1] = -0.0f;
  x[2] = -87.4f;
  x[3] = -1e30f;
  x[4] = -std::numeric_limits<float>::infinity();
  HWY_DYNAMIC_DISPATCH(ExpAll)(x.data(), 16);
  EXPECT_EQ(x[0], 1.0f);
  EXPECT_EQ(x[1], 1.0f);
  for (const size_t i : {2, 3, 4}) EXPECT_EQ(x[i], 0.0f) << i;
}

TEST_P(ExpTest, TanhIsRightFromTinyToHuge) {
  std::vector<float> x(kCount);
  for (size_t i = 0; i < kCount; ++i) {
    const double magnitude = std::exp(-40.0 + 50.0 * double(i) / kCount);  // 4e-18 .. 2e4
    x[i] = float(i % 2 == 0 ? magnitude : -magnitude);
  }
  std::vector<float> y = x;
  HWY_DYNAMIC_DISPATCH(TanhAll)(y.data(), kCount);
  for (size_t i = 0; i < kCount; ++i) {
    ASSERT_NEAR(double(y[i]) / std::tanh(double(x[i])), 1.0, 4e-7) << "tanh(" << x[i] << ")";
  }
}

}  // namespace
}  // namespace kvasir
#endif  // HWY_ONCE
