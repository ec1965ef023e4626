#include "kvasir/kernels/sample_row.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>
#include <string>

#include <gtest/gtest.h>

#include "kvasir/kernels/cpu_target.h"
#include "kvasir/kernels/philox.h"
#include "kvasir/kernels/sampling_test_util.h"

namespace kvasir {
namespace {

constexpr size_t kLargeVocab = 128256;
constexpr auto kLogits = RowKind::kLogits;
constexpr auto kProbs = RowKind::kProbs;
constexpr auto kJoint = FilterApplyOrder::kJoint;

class SampleRowTest : public testing::TestWithParam<CpuTarget> {
 protected:
  const ScopedCpuTarget scope_{GetParam()};
  SamplingScratch scratch_;

  std::vector<float> Renorm(const RowFilter& filter, const std::vector<float>& row) {
    std::vector<float> out(row.size(), kNan);
    RenormRow(filter, row, &scratch_, out);
    return out;
  }
  std::vector<float> Mask(uint32_t top_k, const std::vector<float>& row) {
    std::vector<float> out(row.size(), kNan);
    TopKMaskRow(top_k, row, &scratch_, out);
    return out;
  }
};

INSTANTIATE_TEST_SUITE_P(Targets, SampleRowTest, testing::ValuesIn(SupportedCpuTargets()),
                         [](const auto& info) { return std::string(CpuTargetName(info.param)); });

// A bound of the relative error of a probability: f32 rounds the weight to 2^-23 (a unit in the
// last place of the exponential) and its exponent x, |x| < 88, in three steps of 2^-24 each; the
// mass has at most the error of its terms; the last product rounds twice.
constexpr double kRenormTolerance = 2 * (0x1p-23 + 88 * 3 * 0x1p-24) + 0x1p-23;

// How far the cumulated weight may be from float64's where top-p decides: the errors of those
// weights that make up the mass, whose exponents are below 20.
constexpr double kTopPShift = 2 * (0x1p-23 + 20 * 3 * 0x1p-24);

// Holds probabilities against float64. Where rounding decides what top-p keeps, both outcomes are
// right.
void ExpectIsDistribution(const RowFilter& filter, const std::vector<float>& row,
                          const std::vector<float>& out) {
  const std::vector<double> few = ExactDistribution(filter, row, -kTopPShift);
  const std::vector<double> many = ExactDistribution(filter, row, kTopPShift);
  const auto count = [](const auto& p) {
    // Smaller probabilities than that have weights which f32 takes for 0.
    return size_t(std::count_if(p.begin(), p.end(), [](double x) { return x > 1e-37; }));
  };
  const size_t kept = count(out);
  ASSERT_GE(kept, count(few));
  ASSERT_LE(kept, count(many));
  const std::vector<double>& expected = kept == count(few) ? few : many;
  if (kept != count(expected)) return;  // in between: a tie of rounding in the middle
  for (size_t i = 0; i < row.size(); ++i) {
    ASSERT_NEAR(out[i], expected[i], kRenormTolerance * expected[i] + 1e-37) << "token " << i;
  }
}

std::vector<float> RandomRow(RowKind kind, size_t count, std::mt19937* random) {
  const float spread = 0.3f + float((*random)() % 40) / 10;
  std::vector<float> row = kind == kLogits ? RandomLogits(count, (*random)(), spread)
                                           : RandomProbs(count, (*random)(), spread);
  if ((*random)() % 3 == 0) {  // few different values: ties everywhere
    for (float& x : row) x = kind == kLogits ? std::round(x) : std::ceil(x * float(count));
  }
  for (size_t i = 0; i < count / 7; ++i) {
    const float odd[] = {kNan, -kInf, -1, 0};
    row[(*random)() % count] = odd[(*random)() % 4];
  }
  return row;
}

RowFilter RandomFilter(RowKind kind, size_t count, std::mt19937* random) {
  RowFilter filter;
  filter.kind = kind;
  filter.temperature = 0.4f + float((*random)() % 100) / 50;
  if ((*random)() % 2) filter.top_k = uint32_t(1 + (*random)() % (count + 3));
  if ((*random)() % 2) filter.top_p = float((*random)() % 1000) / 1000;
  if ((*random)() % 3 == 0) filter.min_p = float((*random)() % 1000) / 3000;
  if ((*random)() % 2) filter.order = kJoint;
  return filter;
}

TEST_P(SampleRowTest, RenormIsTheExactDistributionForAnyShapeAndFilter) {
  std::mt19937 random(11);
  for (int trial = 0; trial < 3000; ++trial) {
    const RowKind kind = trial % 2 ? kLogits : kProbs;
    const size_t count = 1 + random() % (trial % 50 == 0 ? 20000 : 400);
    const std::vector<float> row = RandomRow(kind, count, &random);
    const RowFilter filter = RandomFilter(kind, count, &random);
    SCOPED_TRACE(testing::Message()
                 << "trial " << trial << ", vocab " << count << ", kind " << int(kind) << ", top_k "
                 << filter.top_k << ", top_p " << filter.top_p << ", min_p " << filter.min_p
                 << ", T " << filter.temperature << ", joint " << int(filter.order));
    ASSERT_NO_FATAL_FAILURE(ExpectIsDistribution(filter, row, Renorm(filter, row)));
  }
}

// On all targets at once: the float64 reference takes longest.
TEST(SampleRow, RenormIsTheExactDistributionOfLargeRows) {
  SamplingScratch scratch;
  std::vector<float> out(kLargeVocab);
  for (const uint32_t top_k : {0u, 50u, 1000u, 5000u, 100000u}) {
    for (const float top_p : {1.0f, 0.9f}) {
      const RowKind kind = top_p < 1 ? kLogits : kProbs;
      const std::vector<float> row = kind == kLogits ? RandomLogits(kLargeVocab, top_k + 1, 2)
                                                     : RandomProbs(kLargeVocab, top_k + 2, 3);
      for (const FilterApplyOrder order : {FilterApplyOrder::kTopKFirst, kJoint}) {
        SCOPED_TRACE(testing::Message() << top_k << " " << top_p << " " << int(order));
        const RowFilter filter = {
            .kind = kind, .temperature = 0.8f, .top_k = top_k, .top_p = top_p, .order = order};
        std::vector<float> first;
        for (const CpuTarget target : SupportedCpuTargets()) {
          const ScopedCpuTarget scope(target);
          RenormRow(filter, row, &scratch, out);
          if (first.empty()) first = out;
          ASSERT_EQ(out, first) << CpuTargetName(target);
        }
        ASSERT_NO_FATAL_FAILURE(ExpectIsDistribution(filter, row, out));
      }
    }
  }
}

// Rows on which a shortcut fails: all equal, rising, falling, two values, one block of best ones, a
// single outlier on either side.
TEST_P(SampleRowTest, RenormIsTheExactDistributionOfContraryRows) {
  const size_t count = 20011;
  std::vector<std::vector<float>> rows(8, std::vector<float>(count, 1.5f));
  std::iota(rows[1].begin(), rows[1].end(), 0.0f);
  for (float& x : rows[1]) x *= 0x1p-11f;
  rows[2].assign(rows[1].rbegin(), rows[1].rend());
  for (size_t i = 0; i < count; i += 3) rows[3][i] = 1;
  std::fill(rows[4].begin() + 7000, rows[4].begin() + 7100, 4.0f);
  rows[5][19999] = 12;
  rows[6][5] = -1e30f;
  for (size_t i = 0; i < count; ++i) rows[7][i] = std::exp2(-float(i % 126));
  for (const std::vector<float>& row : rows) {
    for (const RowKind kind : {kLogits, kProbs}) {
      // As logits, most of these weigh the same: see the next test.
      if (kind == kLogits && &row == &rows[7]) continue;
      for (const uint32_t top_k : {0u, 1u, 49u, 150u, 3000u, 20010u, 20011u}) {
        for (const float top_p : {1.0f, 0.4f, 0.0f}) {
          SCOPED_TRACE(testing::Message() << "row " << &row - rows.data() << " kind " << int(kind)
                                          << " top_k " << top_k << " top_p " << top_p);
          const RowFilter filter = {.kind = kind, .top_k = top_k, .top_p = top_p};
          ASSERT_NO_FATAL_FAILURE(ExpectIsDistribution(filter, row, Renorm(filter, row)));
        }
      }
    }
  }
}

// The ratio of two probabilities is the ratio of their weights: a unit in the last place of the
// exponential, and two roundings of products.
TEST_P(SampleRowTest, TheExponentialIsRightToAUnitInTheLastPlace) {
  for (int i = 1; i < 4000; ++i) {
    const float x = -86.9f * float(i) / 4000;
    const std::vector<float> p = Renorm({}, {0, x});
    ASSERT_NEAR(double{p[1]} / double{p[0]} / std::exp(double{x}), 1, 0x1p-23 + 2 * 0x1p-24) << x;
  }
}

// 2^-60 more is nothing beside 1 when it comes to weights, but top-k sees it.
TEST_P(SampleRowTest, LogitsOfTheSameWeightAreEqualForTopPOnly) {
  const std::vector<float> row = {1, 0x1p-62f, 0x1p-60f, 0x1p-61f};
  EXPECT_EQ(Mask(2, row), (std::vector<float>{1, -kInf, 0x1p-60f, -kInf}));
  const std::vector<float> p = Renorm({.top_p = 0.5f}, row);  // 1 weighs 0.48
  EXPECT_GT(p[1], 0);
  EXPECT_EQ(p[2], 0);
  EXPECT_EQ(p[3], 0);
}

// The token must lie under the uniform number on the line of exact probabilities, in order of ids.
TEST_P(SampleRowTest, DrawsTheTokenUnderTheUniformNumber) {
  std::mt19937 random(5);
  for (int trial = 0; trial < 2000; ++trial) {
    const RowKind kind = trial % 2 ? kLogits : kProbs;
    const size_t count = 1 + random() % 1500;
    const std::vector<float> row = RandomRow(kind, count, &random);
    const RowFilter filter = RandomFilter(kind, count, &random);
    const double uniform = UniformFromSeed(3, uint64_t(trial));
    const auto token = size_t(SampleRow(filter, row, uniform, &scratch_));
    const std::vector<float> p = Renorm(filter, row);
    ASSERT_NO_FATAL_FAILURE(ExpectIsDistribution(filter, row, p)) << trial;
    ASSERT_LT(token, count);
    if (std::all_of(p.begin(), p.end(), [](float x) { return x == 0; })) {
      ASSERT_EQ(token, 0u);
      continue;
    }
    ASSERT_GT(p[token], 0) << trial;
    double before = 0;
    for (size_t i = 0; i < token; ++i) before += p[i];
    ASSERT_LE(before, uniform + 1e-6) << trial;
    ASSERT_GE(before + p[token], uniform - 1e-6) << trial;
  }
}

// On one target: the next test says that all draw the same.
TEST(SampleRow, AMillionDrawsFollowTheExactDistribution) {
  SamplingScratch scratch;
  const std::vector<float> row = RandomLogits(500, 77, 2);
  const RowFilter filter = {.temperature = 1.2f, .top_k = 50, .top_p = 0.9f};
  ExpectDrawsFollow(
      ExactDistribution(filter, row), 1000000,
      [&](uint64_t i) { return SampleRow(filter, row, UniformFromSeed(1, i), &scratch); }, 2.33);
}

// Every target draws what the portable one draws, and has the same probabilities to the last bit.
TEST_P(SampleRowTest, GivesTheBitsOfThePortableTarget) {
  std::mt19937 random(23);
  for (int trial = 0; trial < 600; ++trial) {
    const RowKind kind = trial % 2 ? kLogits : kProbs;
    const size_t count = trial % 60 == 0 ? kLargeVocab : 1 + random() % 3000;
    const std::vector<float> row = RandomRow(kind, count, &random);
    const RowFilter filter = RandomFilter(kind, count, &random);
    const double uniform = UniformFromSeed(9, uint64_t(trial));
    const TokenId token = SampleRow(filter, row, uniform, &scratch_);
    const std::vector<float> p = Renorm(filter, row);
    const ScopedCpuTarget portable(CpuTarget::kPortable);
    ASSERT_EQ(SampleRow(filter, row, uniform, &scratch_), token) << trial;
    ASSERT_EQ(Renorm(filter, row), p) << trial;
  }
}

TEST_P(SampleRowTest, UniformNumbersAtTheEndsStayInside) {
  const double last = 1 - 0x1p-53;
  for (const size_t count : {1u, 5u, 16u, 17u, 511u, 512u, 513u, 5000u}) {
    std::vector<float> row = RandomLogits(count, uint32_t(count));
    row.front() = row.back() = -kInf;
    const std::vector<float> p = Renorm({}, row);
    if (count == 1) {
      EXPECT_EQ(SampleRow({}, row, last, &scratch_), 0);
      continue;
    }
    EXPECT_GT(p[size_t(SampleRow({}, row, 0, &scratch_))], 0) << count;
    EXPECT_GT(p[size_t(SampleRow({}, row, last, &scratch_))], 0) << count;
    EXPECT_EQ(SampleRow({}, row, 0, &scratch_), 1) << count;
    EXPECT_EQ(SampleRow({}, row, last, &scratch_), TokenId(count - 2)) << count;
  }
}

TEST_P(SampleRowTest, TopKKeepsExactlyKWithTheLowestIdsAmongEquals) {
  std::mt19937 random(31);
  for (int trial = 0; trial < 300; ++trial) {
    const size_t count = 2 + random() % 5000;
    std::vector<float> row(count);
    for (float& x : row) x = float(random() % (1 + trial % 20));
    const auto top_k = uint32_t(1 + random() % (count - 1));
    std::vector<size_t> order(count);
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](auto a, auto b) { return row[a] > row[b]; });
    std::vector<float> expected(count, -kInf);
    for (size_t i = 0; i < top_k; ++i) expected[order[i]] = row[order[i]];
    ASSERT_EQ(Mask(top_k, row), expected) << trial;
  }
}

// Between these there is no float, nor does 0 differ from -0: nothing that a search could halve.
TEST_P(SampleRowTest, TopKKeepsExactlyKAmongNeighbouringFloats) {
  const float least = std::numeric_limits<float>::denorm_min();
  for (const auto& [low, high] : {std::pair(-least, 0.0f), std::pair(-0.0f, least),
                                  std::pair(1.0f, std::nextafter(1.0f, 2.0f))}) {
    std::vector<float> row(1000, low);
    for (size_t i = 1; i < 1000; i += 3) row[i] = high;
    for (size_t i = 2; i < 1000; i += 3) row[i] = high == 0 ? -high : high;
    const std::vector<float> masked = Mask(667, row);
    EXPECT_EQ(std::count(masked.begin(), masked.end(), high), 666) << high;
    EXPECT_EQ(masked[0], low);
    EXPECT_EQ(masked[3], -kInf);
  }
}

TEST_P(SampleRowTest, TopKMaskIsDefinedForEveryFloat) {
  EXPECT_EQ(Mask(2, {kNan, 3, kInf, -kInf, 4}), (std::vector<float>{-kInf, -kInf, kInf, -kInf, 4}));
  EXPECT_EQ(Mask(4, {kNan, 3, -kInf, kNan, -kInf}),
            (std::vector<float>{-kInf, 3, -kInf, -kInf, -kInf}));
  EXPECT_EQ(Mask(0, {kNan, 3, -kInf}), (std::vector<float>{-kInf, 3, -kInf}));
  EXPECT_EQ(Mask(9, {kNan, 3, -kInf}), (std::vector<float>{-kInf, 3, -kInf}));
  EXPECT_EQ(Mask(1, std::vector<float>(70, kNan)), std::vector<float>(70, -kInf));
  EXPECT_EQ(Mask(1, {7}), std::vector<float>{7});
}

TEST_P(SampleRowTest, RowsWithoutWeightGiveTokenZeroAndNoProbabilities) {
  for (const size_t count : {1u, 20u, 1000u}) {
    for (const uint32_t top_k : {0u, 3u}) {
      for (const float top_p : {1.0f, 0.5f}) {
        for (const float value : {kNan, -kInf}) {
          const std::vector<float> row(count, value);
          const RowFilter filter = {.top_k = top_k, .top_p = top_p};
          EXPECT_EQ(SampleRow(filter, row, 0.7, &scratch_), 0);
          EXPECT_EQ(Renorm(filter, row), std::vector<float>(count, 0));
        }
        for (const float value : {kNan, 0.0f, -1.0f, -kInf}) {
          const std::vector<float> row(count, value);
          const RowFilter filter = {.kind = kProbs, .top_k = top_k, .top_p = top_p};
          EXPECT_EQ(SampleRow(filter, row, 0.7, &scratch_), 0);
          EXPECT_EQ(Renorm(filter, row), std::vector<float>(count, 0));
        }
      }
    }
  }
}

TEST_P(SampleRowTest, InfiniteValuesShareTheDraw) {
  std::vector<float> row(300, 0.25f);
  row[7] = row[250] = kInf;
  row[8] = kNan;
  std::vector<float> half(300, 0);
  half[7] = half[250] = 0.5f;
  for (const RowKind kind : {kLogits, kProbs}) {
    EXPECT_EQ(Renorm({.kind = kind}, row), half);
    EXPECT_EQ(Renorm({.kind = kind, .top_k = 5, .top_p = 0.9f}, row), half);
    EXPECT_EQ(Renorm({.kind = kind, .top_p = 0.5f}, row)[7], 1);
  }
}

TEST_P(SampleRowTest, GreedyPutsEverythingOnTheFirstBest) {
  std::vector<float> row = RandomLogits(3000, 4);
  row[2100] = row[2900] = 50;
  for (const float cold : {0.0f, -1.0f, kNan}) {
    const RowFilter filter = {.temperature = cold, .top_k = 5, .top_p = 0.5f};
    EXPECT_EQ(SampleRow(filter, row, 0.99, &scratch_), 2100);
    std::vector<float> one(3000, 0);
    one[2100] = 1;
    EXPECT_EQ(Renorm(filter, row), one);
  }
  EXPECT_EQ(ArgMaxRow(row), 2100);
  EXPECT_EQ(SampleRow({.top_k = 1}, row, 0.99, &scratch_), 2100);
}

TEST_P(SampleRowTest, SubtractDraftKeepsWhatTheTargetHasMore) {
  for (const size_t count : {1u, 15u, 16u, 37u, 1000u}) {
    const std::vector<float> target = RandomProbs(count, 1), draft = RandomProbs(count, 2);
    std::vector<float> residual(count, kNan);
    const double sum = SubtractDraft(target, 0.5, draft.data(), residual.data());
    double expected_sum = 0;
    for (size_t i = 0; i < count; ++i) {
      const double expected = std::max(0.0, target[i] / 0.5 - double{draft[i]});
      expected_sum += expected;
      EXPECT_NEAR(residual[i], expected, 0x1p-23 * target[i] / 0.5);
    }
    EXPECT_NEAR(sum, expected_sum, 0x1p-22);
  }
  std::vector<float> weights = {0.5f, kNan, 0.5f};
  EXPECT_EQ(SubtractDraft(weights, 1, std::vector<float>{0.25f, 0.5f, kNan}.data(), weights.data()),
            0.25);
  EXPECT_EQ(weights, (std::vector<float>{0.25f, 0, 0}));
}

}  // namespace
}  // namespace kvasir
