#include "kvasir/kernels/rank_cut.h"

#include <cmath>

#include <gtest/gtest.h>

#include "kvasir/kernels/sampling_test_util.h"

namespace kvasir {
namespace {

TEST(MiddleFloat, LiesBetweenAndHalvesWhateverFloatsThereAre) {
  const float ends[] = {-kInf, -3e38f, -1, -1e-45f, -0.0f, 0.0f, 1e-45f, 1e-38f, 0.5f, 3e38f, kInf};
  for (const float lower : ends) {
    for (const float upper : ends) {
      if (!(lower < upper)) continue;
      float from = lower;
      int steps = 0;
      for (float middle; (middle = MiddleFloat(from, upper)) > from; from = middle) {
        ASSERT_LT(middle, upper);
        ASSERT_LE(++steps, 33) << lower << " to " << upper;
      }
      EXPECT_EQ(std::nextafter(from, kInf), upper) << lower;
    }
  }
}

TEST(MeanFloat, IsTheMeanWhereThereIsOne) {
  EXPECT_EQ(MeanFloat(1, 3), 2);
  EXPECT_EQ(MeanFloat(-3e38f, 3e38f), 0);
  EXPECT_EQ(MeanFloat(2e38f, 3e38f), 2.5e38f);
  EXPECT_EQ(MeanFloat(1, std::nextafter(1.0f, 2.0f)), 1);
  EXPECT_EQ(MeanFloat(0, 1e-45f), 0);
  const float mean = MeanFloat(5, kInf);
  EXPECT_GE(mean, 5);
  EXPECT_LT(mean, kInf);
}

TEST(Shorter, TakesTheCutThatKeepsLess) {
  EXPECT_EQ(Shorter({1, 5}, {2, kAllEqual}).value, 2);
  EXPECT_EQ(Shorter({2, kNoneEqual}, {1, 5}).value, 2);
  EXPECT_EQ(Shorter({2, 7}, {2, 5}).last_index, 5);
  EXPECT_EQ(Shorter({2, kNoneEqual}, {2, kAllEqual}).last_index, kNoneEqual);
}

TEST(CutAmongFew, WalksDownTheRanking) {
  std::vector<std::pair<float, TokenId>> ranked;
  const float values[] = {2, 5, 2, 3};
  const TokenId indices[] = {10, 20, 30, 40};
  const auto cut = [&](bool is_mass, double above, double target, const TokenId* ids) {
    const RankCut result = CutAmongFew(values, ids, 4, is_mass, above, target, &ranked);
    return std::pair(result.value, result.last_index);
  };
  EXPECT_EQ(cut(false, 0, 1, indices), std::pair(5.0f, 20));
  EXPECT_EQ(cut(false, 0, 3, indices), std::pair(2.0f, 10));
  EXPECT_EQ(cut(false, 0, 4, nullptr), std::pair(2.0f, 2));
  EXPECT_EQ(cut(false, 7, 9, nullptr), std::pair(3.0f, 3));
  EXPECT_EQ(cut(true, 0, 8, indices), std::pair(3.0f, 40));
  EXPECT_EQ(cut(true, 0, 8.5, indices), std::pair(2.0f, 10));
  EXPECT_EQ(cut(true, 0, 99, indices), std::pair(2.0f, 30));
}

}  // namespace
}  // namespace kvasir
