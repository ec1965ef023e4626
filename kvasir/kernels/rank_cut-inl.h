// The search for a cut in the ranking of a row (values falling, the lowest index first among
// equals) without sorting the row. Included once per target.
//
// The value at the cut is bisected: a pass over the row measures what lies above a pivot, counts or
// sums, and reports the nearest values on both sides, which become the new bounds. So each pass
// makes progress whatever the values are, ties end the search at once, and 64 passes are the most.
// As soon as no more than a quarter of the row lies between the bounds, that quarter is compacted
// and searched alone; the last few values are sorted and walked through.

#if defined(KVASIR_KERNELS_RANK_CUT_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef KVASIR_KERNELS_RANK_CUT_INL_H_
#undef KVASIR_KERNELS_RANK_CUT_INL_H_
#else
#define KVASIR_KERNELS_RANK_CUT_INL_H_
#endif

#include <cmath>

#include "kvasir/kernels/rank_cut.h"
#include "kvasir/kernels/row_scan-inl.h"
#include "kvasir/kernels/sample_row.h"

HWY_BEFORE_NAMESPACE();
namespace kvasir {
namespace HWY_NAMESPACE {

// The values between the bounds of a search, and what is known of them.
struct CutSearch {
  const float* values = nullptr;
  const TokenId* indices = nullptr;  // of the values in the searched row; null: their own
  size_t count = 0;
  float smallest = 0, largest = 0;  // the cut's value is one of these or between them
  size_t count_above = 0;           // values above the largest
  size_t count_from = 0;            // values from the smallest on
  double measure_above = 0;         // of the values above the largest
  double measure_dropped = 0;       // of values above it that compaction has left out

  size_t active() const { return count_from - count_above; }
};

// Leaves only what lies between the bounds.
inline void Compact(CutSearch* search, SamplingScratch* scratch) {
  const auto smallest = hn::Set(FloatTag(), search->smallest);
  const auto largest = hn::Set(FloatTag(), search->largest);
  float* const values = scratch->active_values.data();
  TokenId* const indices = scratch->active_indices.data();
  search->count = KeepValues(
      search->values, search->indices, search->count, 0,
      [&](auto x, auto) { return hn::And(hn::Ge(x, smallest), hn::Le(x, largest)); }, values,
      indices);
  search->values = values;
  search->indices = indices;
  search->measure_dropped += search->measure_above;
  search->measure_above = 0;
  search->count_above = 0;
  search->count_from = search->count;
}

// The cut among values that are all equal: as many of the first as the target needs.
template <bool kMass>
inline RankCut CutAmongEquals(const CutSearch& search, double target) {
  const double missing = target - search.measure_dropped - search.measure_above;
  const double each = kMass ? double{search.largest} : 1.0;
  const double needed =
      HWY_MIN(HWY_MAX(std::ceil(missing / each), 1.0), static_cast<double>(search.active()));
  const size_t place =
      FindEqual(search.values, search.count, search.largest, static_cast<size_t>(needed));
  const TokenId index =
      search.indices == nullptr ? static_cast<TokenId>(place) : search.indices[place];
  return {search.largest, index};
}

// The end of the shortest leading part of a row whose measure reaches `target`: with kMass the sum
// of its values, otherwise their count. At least one value is kept; values not above `lowest` are
// not, so everything above it is kept when all of it together does not reach the target. `largest`
// is the largest value of the row. REQUIRES lowest >= 0 with kMass.
template <bool kMass>
inline RankCut FindCut(const float* row, size_t count, float lowest, float largest, double target,
                       SamplingScratch* scratch) {
  const RowSplit all = SplitRow<kMass>(row, count, lowest);
  if (all.count == 0 || all.measure < target) return {lowest, kNoneEqual};
  CutSearch search;
  search.values = row;
  search.count = count;
  search.smallest = all.smallest_above;
  search.largest = largest;
  search.count_from = all.count;
  for (int pass = 0; search.smallest < search.largest; ++pass) {
    const bool few = search.active() <= kRankedMax;
    if ((few || search.active() <= search.count / kActiveShare) && search.active() < search.count) {
      Compact(&search, scratch);
    }
    if (few) {
      return CutAmongFew(search.values, search.indices, search.count, kMass,
                         search.measure_dropped + search.measure_above, target, &scratch->ranked);
    }
    // Weights are spread over orders of magnitude, logits over their range; where logits are not,
    // every second pass halves the floats between the bounds all the same.
    const float pivot = kMass || pass % 2 == 1 ? MiddleFloat(search.smallest, search.largest)
                                               : MeanFloat(search.smallest, search.largest);
    const RowSplit split = SplitRow<kMass>(search.values, search.count, pivot);
    if (search.measure_dropped + split.measure >= target) {
      search.smallest = split.smallest_above;
      search.count_from = split.count;
    } else {
      search.largest = split.largest_below;
      search.count_above = split.count;
      search.measure_above = split.measure;
    }
  }
  return CutAmongEquals<kMass>(search, target);
}

}  // namespace HWY_NAMESPACE
}  // namespace kvasir
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
