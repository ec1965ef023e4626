// What the tests of sampling share: the filters in float64 with a full sort, and tests of draws
// against a distribution.

#ifndef KVASIR_KERNELS_SAMPLING_TEST_UTIL_H_
#define KVASIR_KERNELS_SAMPLING_TEST_UTIL_H_

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <random>
#include <span>
#include <vector>

#include <gtest/gtest.h>

#include "kvasir/formats/token_id.h"
#include "kvasir/kernels/sample_row.h"

namespace kvasir {

inline constexpr float kInf = std::numeric_limits<float>::infinity();
inline constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

inline std::vector<float> RandomLogits(size_t count, uint32_t seed, float spread = 3) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, spread);
  std::vector<float> logits(count);
  for (float& logit : logits) logit = normal(random);
  return logits;
}

// Probabilities of sum 1, up to rounding.
inline std::vector<float> RandomProbs(size_t count, uint32_t seed, float spread = 2) {
  std::vector<float> probs = RandomLogits(count, seed, spread);
  double sum = 0;
  for (float& p : probs) sum += (p = std::exp(p));
  for (float& p : probs) p = static_cast<float>(p / sum);
  return probs;
}

// The distribution that a filter leaves of a row, in float64 and with a full sort: the definition
// in sample_row.h read word for word. `top_p_shift` moves the mass that top-p wants, to find out
// between which two cuts rounding may choose.
std::vector<double> ExactDistribution(const RowFilter& filter, std::span<const float> row,
                                      double top_p_shift = 0);

// The upper bound of a chi-square variable with `freedom` degrees that a right implementation
// stays below with the probability that belongs to the standard normal quantile z (Wilson and
// Hilferty's approximation): 1 - 1e-6 for 4.75, 0.99 for 2.33.
inline double ChiSquareLimit(double freedom, double z = 4.75) {
  const double v = 2 / (9 * freedom);
  return freedom * std::pow(1 - v + z * std::sqrt(v), 3);
}

// Compares counts of outcomes with their probabilities `p`; outcomes expected less than 10 times
// are one class. Impossible outcomes must not have occurred at all.
void ExpectCountsFollow(const std::vector<double>& p, const std::vector<int>& observed,
                        double z = 4.75);

// Draws many times and compares the counts with `p`.
void ExpectDrawsFollow(const std::vector<double>& p, int draw_count,
                       const std::function<TokenId(uint64_t)>& draw, double z = 4.75);

}  // namespace kvasir

#endif  // KVASIR_KERNELS_SAMPLING_TEST_UTIL_H_
