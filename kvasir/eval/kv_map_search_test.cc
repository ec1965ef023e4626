#include "kvasir/eval/kv_map_search.h"

#include <gtest/gtest.h>

#include <limits>
#include <random>
#include <vector>

namespace kvasir {
namespace {

// Three formats of rising size and falling divergence for each tensor.
std::vector<KvChoices> RandomTensors(std::mt19937& random, size_t count) {
  std::vector<KvChoices> tensors(count);
  for (KvChoices& choices : tensors) {
    const size_t unit = 64 * (1 + random() % 3);
    const double scale = double(random() % 1000);
    choices = {{2 * unit, scale}, {4 * unit, scale * double(random() % 100) / 300}, {8 * unit, 0}};
  }
  return tensors;
}

// Every map, one after the other.
bool NextMap(std::span<const KvChoices> tensors, KvMap* map) {
  for (size_t t = 0; t < tensors.size(); ++t) {
    if (++(*map)[t] < tensors[t].size()) return true;
    (*map)[t] = 0;
  }
  return false;
}

TEST(KvMapSearchTest, ChoosesTheSmallestSumOfAllMaps) {
  std::mt19937 random(3);
  for (int round = 0; round < 40; ++round) {
    const std::vector<KvChoices> tensors = RandomTensors(random, 6);
    KvMap map(6, 0);
    const size_t smallest = KvMapBytes(tensors, map);
    const size_t bytes_max = smallest + random() % (2 * smallest);
    double best = std::numeric_limits<double>::infinity();
    do {
      if (KvMapBytes(tensors, map) <= bytes_max) best = std::min(best, KvMapKl(tensors, map));
    } while (NextMap(tensors, &map));
    const auto chosen = ChooseKvMap(tensors, bytes_max);
    ASSERT_TRUE(chosen.has_value());
    EXPECT_LE(KvMapBytes(tensors, *chosen), bytes_max);
    EXPECT_NEAR(KvMapKl(tensors, *chosen), best, 1e-9);
  }
}

TEST(KvMapSearchTest, TooLittleRoomHasNoMap) {
  const std::vector<KvChoices> tensors = {{{128, 1}, {256, 0}}, {{128, 2}, {256, 0}}};
  EXPECT_FALSE(ChooseKvMap(tensors, 255).has_value());
  EXPECT_EQ(ChooseKvMap(tensors, 256), (KvMap{0, 0}));
  EXPECT_EQ(ChooseKvMap(tensors, 384), (KvMap{0, 1}));
  EXPECT_EQ(ChooseKvMap(tensors, size_t{1} << 40), (KvMap{1, 1}));
}

TEST(KvMapSearchTest, RefinementFindsWhatTheSumsDoNotSay) {
  // The sums say that tensor 0 deserves the bytes; in truth tensors 1 and 2 together do harm.
  const std::vector<KvChoices> tensors = {
      {{64, 1.00}, {128, 0}}, {{64, 0.99}, {128, 0}}, {{64, 0.98}, {128, 0}}};
  const auto truth = [&](const KvMap& map) -> Result<double> {
    return KvMapKl(tensors, map) + (map[1] == 0 && map[2] == 0 ? 5 : 0);
  };
  const auto start = ChooseKvMap(tensors, 256);
  ASSERT_EQ(start, (KvMap{1, 0, 0}));
  const auto refined = RefineKvMap(tensors, *start, 256, 10, truth);
  ASSERT_TRUE(refined.ok());
  EXPECT_EQ(refined->map, (KvMap{0, 1, 0}));
  EXPECT_DOUBLE_EQ(refined->kl, 1.98);
  EXPECT_DOUBLE_EQ(refined->start_kl, 6.97);
  EXPECT_LE(refined->measured_count, 10u);
}

TEST(KvMapSearchTest, RefinementKeepsToItsBudgetsAndPassesErrorsOn) {
  std::mt19937 random(5);
  const std::vector<KvChoices> tensors = RandomTensors(random, 8);
  const size_t bytes_max = 2 * KvMapBytes(tensors, KvMap(8, 0));
  const KvMap start = *ChooseKvMap(tensors, bytes_max);
  size_t calls = 0;
  const auto worse = [&](const KvMap& map) -> Result<double> {
    EXPECT_LE(KvMapBytes(tensors, map), bytes_max);
    return double(++calls);
  };
  const auto refined = RefineKvMap(tensors, start, bytes_max, 7, worse);
  ASSERT_TRUE(refined.ok());
  EXPECT_EQ(refined->map, start);
  EXPECT_EQ(calls, 8u);
  const auto failing = [](const KvMap&) -> Result<double> { return IoError("no"); };
  EXPECT_EQ(RefineKvMap(tensors, start, bytes_max, 7, failing).status().message(), "no");
}

}  // namespace
}  // namespace kvasir
