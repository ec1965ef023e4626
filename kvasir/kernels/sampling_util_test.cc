#include <algorithm>
#include <numeric>

#include "kvasir/kernels/sampling_test_util.h"

namespace kvasir {
namespace {

double Weight(const RowFilter& filter, float value, float best) {
  if (std::isnan(value)) return 0;
  if (best == kInf) return value == kInf ? 1 : 0;
  if (filter.kind == RowKind::kProbs) return std::max(0.0, double{value});
  return std::exp((double{value} - best) / double{filter.temperature});
}

// Ids from the best value to the worst, equal ones in order of ids; without NaN.
std::vector<size_t> Ranking(std::span<const float> row) {
  std::vector<size_t> order;
  for (size_t i = 0; i < row.size(); ++i) {
    if (!std::isnan(row[i])) order.push_back(i);
  }
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return row[a] > row[b]; });
  return order;
}

}  // namespace

std::vector<double> ExactDistribution(const RowFilter& filter, std::span<const float> row,
                                      double top_p_shift) {
  std::vector<double> p(row.size(), 0.0);
  std::vector<size_t> order = Ranking(row);
  if (order.empty()) return p;
  const float best = row[order[0]];
  if (filter.kind == RowKind::kLogits && !(filter.temperature > 0)) {
    if (best > -kInf) p[order[0]] = 1;
    return p;
  }
  double whole_mass = 0, mass = 0;
  for (const size_t i : order) whole_mass += Weight(filter, row[i], best);
  if (filter.top_k > 0 && filter.top_k < order.size()) order.resize(filter.top_k);
  for (const size_t i : order) mass += Weight(filter, row[i], best);
  if (filter.order == FilterApplyOrder::kJoint) mass = whole_mass;
  const double least = double{filter.min_p} * Weight(filter, best, best);
  double sum = 0, kept_mass = 0;
  for (const size_t i : order) {
    const double weight = Weight(filter, row[i], best);
    const bool is_reached =
        filter.top_p < 1 && sum >= (double{filter.top_p} + top_p_shift) * mass && sum > 0;
    if (is_reached || weight < least) break;
    sum += weight;
    kept_mass += p[i] = weight;
  }
  for (double& x : p) x = kept_mass > 0 ? x / kept_mass : 0;
  return p;
}

void ExpectCountsFollow(const std::vector<double>& p, const std::vector<int>& observed, double z) {
  const int draw_count = std::accumulate(observed.begin(), observed.end(), 0);
  double chi_square = 0, rare_expected = 0;
  int classes = 0, rare_observed = 0;
  const auto add = [&](double expected, int count) {
    chi_square += (count - expected) * (count - expected) / expected;
    ++classes;
  };
  for (size_t i = 0; i < p.size(); ++i) {
    if (p[i] == 0) {
      EXPECT_EQ(observed[i], 0) << "token " << i << " was cut";
    } else if (p[i] * draw_count < 10) {
      rare_expected += p[i] * draw_count;
      rare_observed += observed[i];
    } else {
      add(p[i] * draw_count, observed[i]);
    }
  }
  if (rare_expected >= 10) add(rare_expected, rare_observed);
  if (classes < 2) return;  // one outcome, and nothing impossible occurred
  EXPECT_LT(chi_square, ChiSquareLimit(classes - 1, z)) << classes << " classes";
}

void ExpectDrawsFollow(const std::vector<double>& p, int draw_count,
                       const std::function<TokenId(uint64_t)>& draw, double z) {
  std::vector<int> observed(p.size(), 0);
  for (int i = 0; i < draw_count; ++i) ++observed[static_cast<size_t>(draw(uint64_t(i)))];
  ExpectCountsFollow(p, observed, z);
}

namespace {

// The definitions on numbers that can be checked by hand: 0.4, 0.3, 0.2, 0.1.
TEST(ExactDistribution, IsRightOnFourProbabilities) {
  const std::vector<float> probs = {0.2f, 0.4f, 0.1f, 0.3f};
  const auto expect = [&](const RowFilter& filter, std::vector<double> expected) {
    const std::vector<double> p = ExactDistribution(filter, probs);
    for (size_t i = 0; i < p.size(); ++i) EXPECT_NEAR(p[i], expected[i], 1e-7) << i;
  };
  expect({.kind = RowKind::kProbs}, {0.2, 0.4, 0.1, 0.3});
  expect({.kind = RowKind::kProbs, .top_k = 2}, {0, 4.0 / 7, 0, 3.0 / 7});
  expect({.kind = RowKind::kProbs, .top_p = 0.65f}, {0, 4.0 / 7, 0, 3.0 / 7});
  expect({.kind = RowKind::kProbs, .top_p = 0.75f}, {2.0 / 9, 4.0 / 9, 0, 3.0 / 9});
  expect({.kind = RowKind::kProbs, .min_p = 0.45f}, {2.0 / 9, 4.0 / 9, 0, 3.0 / 9});
  // Of the top 2 alone, 0.4 is 4/7 = 0.571: enough for 0.55, and not of the whole row.
  expect({.kind = RowKind::kProbs, .top_k = 2, .top_p = 0.55f}, {0, 1, 0, 0});
  expect({.kind = RowKind::kProbs, .top_k = 2, .top_p = 0.55f, .order = FilterApplyOrder::kJoint},
         {0, 4.0 / 7, 0, 3.0 / 7});
}

TEST(ChiSquareLimit, AgreesWithTables) {
  // Table values of the 0.99 quantile: 9 degrees 21.67, 99 degrees 134.64.
  EXPECT_NEAR(ChiSquareLimit(9, 2.326), 21.67, 0.1);
  EXPECT_NEAR(ChiSquareLimit(99, 2.326), 134.64, 0.1);
}

}  // namespace
}  // namespace kvasir
