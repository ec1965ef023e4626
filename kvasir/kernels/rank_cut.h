// RankCut: the end of a leading part of a row's ranking (values falling, the lowest index first
// among equals), and the parts of the search for it that are the same for every instruction set.
// rank_cut-inl.h has the search itself. Pure functions.

#ifndef KVASIR_KERNELS_RANK_CUT_H_
#define KVASIR_KERNELS_RANK_CUT_H_

#include <cstddef>
#include <cstdint>
#include <limits>
#include <utility>
#include <vector>

#include "kvasir/formats/token_id.h"

namespace kvasir {

// Kept are the values above `value`, and of those equal to it the ones with indices up to
// `last_index`.
struct RankCut {
  float value = -std::numeric_limits<float>::infinity();
  int32_t last_index = -1;
};
inline constexpr int32_t kNoneEqual = -1;
inline constexpr int32_t kAllEqual = std::numeric_limits<int32_t>::max();

// The cut of the two that keeps less.
RankCut Shorter(const RankCut& a, const RankCut& b);

// A search compacts when at most one in so many of the values that it reads is undecided. With 8
// and 16 sampling_bench takes as long on AVX2 and longer on AVX-512.
inline constexpr size_t kActiveShare = 4;
// Up to so many undecided values are sorted: that costs as much as the handful of passes over them
// which it saves.
inline constexpr size_t kRankedMax = 64;

// A float from `lower` up to below `upper`: the one whose bits are halfway, in the order of values.
// Halves whatever lies between two floats, in at most 32 steps. REQUIRES lower < upper.
float MiddleFloat(float lower, float upper);

// Likewise the arithmetic mean, or MiddleFloat where there is none between the two.
float MeanFloat(float lower, float upper);

// The cut of FindCut among a few values, by sorting them. `indices` null: their own. The measure of
// what ranks before all of them is `measure_above`; the last value is the cut when the target is
// not reached. REQUIRES count > 0.
RankCut CutAmongFew(const float* values, const TokenId* indices, size_t count, bool is_mass,
                    double measure_above, double target,
                    std::vector<std::pair<float, TokenId>>* ranked);

}  // namespace kvasir

#endif  // KVASIR_KERNELS_RANK_CUT_H_
