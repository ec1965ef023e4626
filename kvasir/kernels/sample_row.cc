#include "kvasir/kernels/sample_row.h"

#include <algorithm>
#include <cmath>

#include "kvasir/base/check.h"
#include "kvasir/kernels/highway_targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kvasir/kernels/sample_row.cc"
#include <hwy/foreach_target.h>
// The search needs the target chosen above.
#include "kvasir/kernels/rank_cut-inl.h"
#include "kvasir/kernels/row_scan-inl.h"

HWY_BEFORE_NAMESPACE();
namespace kvasir {
namespace HWY_NAMESPACE {

// What a filter leaves of a row: its weights are scratch->weights, 0 for what is cut.
struct Selection {
  size_t count = 0;              // of weights
  const TokenId* ids = nullptr;  // of the weights, rising; null: their places
  double mass = 0;               // sum of the weights
};

// Which values of a row a cut keeps, by value and place in the row.
HWY_INLINE FloatMask IsKept(const RankCut& cut, FloatPart x, hn::Vec<IntTag> index) {
  const auto value = hn::Set(FloatTag(), cut.value);
  const auto behind = hn::Gt(index, hn::Set(IntTag(), cut.last_index));
  const auto is_equal = hn::AndNot(hn::RebindMask(FloatTag(), behind), hn::Eq(x, value));
  return hn::Or(hn::Gt(x, value), is_equal);
}

// Gathers, in order of ids, values that include the `top_k` best: all above `threshold`, and the
// first that are equal to it, at least top_k of them. Blocks whose maximum is less are passed over.
size_t GatherCandidates(const float* row, size_t count, float threshold, size_t top_k,
                        SamplingScratch* scratch) {
  float* const values = scratch->weights.data();
  const auto thresholds = hn::Set(FloatTag(), threshold);
  size_t gathered = 0, equal = 0;
  for (size_t first = 0; first < count; first += kMaximaBlock) {
    const float maximum = scratch->block_maxima[first / kMaximaBlock];
    const bool takes_equal = equal < top_k;
    if (!(takes_equal ? maximum >= threshold : maximum > threshold)) continue;
    const size_t new_count = KeepValues(
        row + first, nullptr, HWY_MIN(kMaximaBlock, count - first), first,
        [&](auto x, auto) { return takes_equal ? hn::Ge(x, thresholds) : hn::Gt(x, thresholds); },
        values + gathered, scratch->ids.data() + gathered);
    for (const size_t end = gathered + new_count; gathered < end; ++gathered) {
      equal += values[gathered] == threshold ? 1 : 0;
    }
  }
  return gathered;
}

// Writes the `top_k` best values above `lowest` to scratch->weights and their ids to scratch->ids,
// in order of ids; returns how many. The maxima of the row's blocks are known, `largest` is the
// largest of them. REQUIRES 0 < top_k < count.
size_t SelectTop(const float* row, size_t count, float lowest, float largest, size_t top_k,
                 SamplingScratch* scratch) {
  const float* values = row;
  const TokenId* ids = nullptr;
  // The k-th largest block maximum is a lower bound of the k-th largest value: k blocks have one at
  // least as large. On most rows few more than k values reach it, and never more than lie in k
  // blocks, ties aside; so that is worth it while k blocks are at most half of the row.
  const size_t blocks = (count + kMaximaBlock - 1) / kMaximaBlock;
  if (top_k <= blocks / 2) {
    const RankCut bound = FindCut<false>(scratch->block_maxima.data(), blocks, lowest, largest,
                                         static_cast<double>(top_k), scratch);
    // Without equal ones when fewer than k blocks have anything above `lowest`.
    const size_t equal_wanted = bound.last_index == kNoneEqual ? 0 : top_k;
    count = GatherCandidates(row, count, bound.value, equal_wanted, scratch);
    values = scratch->weights.data();
    ids = scratch->ids.data();
  }
  const RankCut cut =
      FindCut<false>(values, count, lowest, largest, static_cast<double>(top_k), scratch);
  return KeepValues(
      values, ids, count, 0, [&](auto x, auto index) { return IsKept(cut, x, index); },
      scratch->weights.data(), scratch->ids.data());
}

// Sets the weights that a cut drops to 0, writes the sum of each block of weights, and returns the
// sum of those. REQUIRES whole runs, filled up with 0.
double CutWeights(const RankCut& cut, size_t count, float* weights, double* block_sums) {
  double total = 0;
  for (size_t block = 0; block * kSumBlock < count; ++block) {
    LaneSums sums;
    const size_t end = HWY_MIN((block + 1) * kSumBlock, count);
    for (size_t first = block * kSumBlock; first < end; first += kLaneCount) {
      FloatLanes x = LoadLanes(weights + first);
      KVASIR_FOR_PARTS(i) {
        const auto index = hn::Iota(IntTag(), static_cast<int32_t>(first + i * kPartLanes));
        x.part[i] = hn::IfThenElseZero(IsKept(cut, x.part[i], index), x.part[i]);
      }
      StoreLanes(x, weights + first);
      sums.Add(x);
    }
    block_sums[block] = sums.Total();
    total += block_sums[block];
  }
  return total;
}

// Keeps weights of at least min_p * largest: the product is exact in float64.
RankCut MinPCut(float min_p, float largest) {
  const double bound = HWY_MIN(double{min_p}, 1.0) * double{largest};
  const float rounded = static_cast<float>(bound);
  return {rounded < bound ? std::nextafter(rounded, kRowInfinity) : rounded, kAllEqual};
}

// Select for one kind of weight, of which `largest_weight` is the largest.
template <typename Weigh>
Selection SelectByWeight(const RowFilter& filter, std::span<const float> row, float lowest,
                         float largest, const Weigh& weigh, float largest_weight,
                         SamplingScratch* scratch) {
  float* const weights = scratch->weights.data();
  Selection selection{row.size()};
  double mass = 0;  // that top-p is a share of
  if (filter.top_k > 0 && filter.top_k < row.size()) {
    selection.count = SelectTop(row.data(), row.size(), lowest, largest, filter.top_k, scratch);
    selection.ids = scratch->ids.data();
    mass = WeighRow(weights, selection.count, weigh, weights);
    if (filter.order == FilterApplyOrder::kJoint && filter.top_p < 1) {
      mass = WeighRow(row.data(), row.size(), weigh, nullptr);
    }
  } else {
    mass = WeighRow(row.data(), row.size(), weigh, weights);
  }
  RankCut cut{0, kNoneEqual};
  if (filter.min_p > 0) cut = Shorter(cut, MinPCut(filter.min_p, largest_weight));
  if (filter.top_p < 1) {
    cut = Shorter(cut, FindCut<true>(weights, selection.count, 0, largest_weight,
                                     double{filter.top_p} * mass, scratch));
  }
  selection.mass = CutWeights(cut, selection.count, weights, scratch->block_sums.data());
  return selection;
}

Selection Select(const RowFilter& filter, std::span<const float> row, SamplingScratch* scratch) {
  scratch->Reserve(row.size());
  const bool is_logits = filter.kind == RowKind::kLogits;
  const float lowest = is_logits ? -kRowInfinity : 0;
  const float largest =
      BlockMaxima(row.data(), row.size(), kMaximaBlock, scratch->block_maxima.data());
  if (!(largest > lowest)) return {};
  if (is_logits && !(filter.temperature > 0)) {
    scratch->ids[0] = static_cast<TokenId>(FindEqual(row.data(), row.size(), largest, 1));
    scratch->weights[0] = 1;
    scratch->block_sums[0] = 1;
    return {1, scratch->ids.data(), 1};
  }
  if (largest == kRowInfinity) {
    return SelectByWeight(filter, row, lowest, largest, InfinityWeight(), 1.0f, scratch);
  }
  if (is_logits) {
    return SelectByWeight(filter, row, lowest, largest, LogitWeight(largest, filter.temperature),
                          1.0f, scratch);
  }
  return SelectByWeight(filter, row, lowest, largest, ProbWeight(), largest, scratch);
}

// The place of the weight under a point of the line; of the last weight when rounding has put the
// point behind it.
size_t PlaceUnder(double point, const float* weights, size_t count, const double* block_sums) {
  size_t chosen = 0;
  double sum = 0, start = 0;  // of the blocks so far, of those before the chosen one
  for (size_t block = 0; block * kSumBlock < count && sum <= point; ++block) {
    if (block_sums[block] == 0) continue;
    chosen = block;
    start = sum;
    sum += block_sums[block];
  }
  const size_t end = HWY_MIN((chosen + 1) * kSumBlock, count);
  size_t place = chosen * kSumBlock;
  for (size_t i = place; i < end && start <= point; ++i) {
    if (weights[i] == 0) continue;
    place = i;
    start += weights[i];
  }
  return place;
}

TokenId DrawFromRow(const RowFilter& filter, std::span<const float> row, double uniform,
                    SamplingScratch* scratch) {
  const Selection selection = Select(filter, row, scratch);
  if (selection.count == 0) return 0;
  const size_t place = PlaceUnder(uniform * selection.mass, scratch->weights.data(),
                                  selection.count, scratch->block_sums.data());
  return selection.ids == nullptr ? static_cast<TokenId>(place) : selection.ids[place];
}

void WriteDistribution(const RowFilter& filter, std::span<const float> row,
                       SamplingScratch* scratch, std::span<float> out) {
  const Selection selection = Select(filter, row, scratch);
  const float inverse = selection.count == 0 ? 0 : static_cast<float>(1 / selection.mass);
  if (selection.count == 0 || selection.ids != nullptr) {
    std::fill(out.begin(), out.end(), 0.0f);
    for (size_t i = 0; i < selection.count; ++i) {
      out[selection.ids[i]] = scratch->weights[i] * inverse;
    }
    return;
  }
  for (size_t first = 0; first < out.size(); first += kLaneCount) {
    const FloatLanes weights = LoadLanes(scratch->weights.data() + first);
    StoreRun(Mul(weights, SetLanes(inverse)), out.data(), first, out.size());
  }
}

void MaskRow(uint32_t top_k, std::span<const float> row, SamplingScratch* scratch,
             std::span<float> out) {
  scratch->Reserve(row.size());
  if (top_k == 0 || top_k >= row.size()) {
    for (size_t first = 0; first < row.size(); first += kLaneCount) {
      const FloatLanes x = LoadRun(row.data(), first, row.size());
      StoreRun(MaxIgnoringNan(x, SetLanes(-kRowInfinity)), out.data(), first, out.size());
    }
    return;
  }
  const float largest =
      BlockMaxima(row.data(), row.size(), kMaximaBlock, scratch->block_maxima.data());
  const size_t kept = SelectTop(row.data(), row.size(), -kRowInfinity, largest, top_k, scratch);
  std::fill(out.begin(), out.end(), -kRowInfinity);
  for (size_t i = 0; i < kept; ++i) out[scratch->ids[i]] = scratch->weights[i];
}

double SubtractFromRow(std::span<const float> weights, double mass, const float* draft,
                       float* residual) {
  const float inverse = static_cast<float>(1 / mass);
  LaneSums sums;
  for (size_t first = 0; first < weights.size(); first += kLaneCount) {
    const FloatLanes p = Mul(LoadRun(weights.data(), first, weights.size()), SetLanes(inverse));
    const FloatLanes q = LoadRun(draft, first, weights.size());
    const FloatLanes rest = MaxIgnoringNan(Sub(p, q), ZeroLanes());
    StoreRun(rest, residual, first, weights.size());
    sums.Add(rest);
  }
  return sums.Total();
}

TokenId FindLargest(std::span<const float> row) {
  const float largest = MaxOfRow(row.data(), row.size());
  if (!(largest > -kRowInfinity)) return 0;
  return static_cast<TokenId>(FindEqual(row.data(), row.size(), largest, 1));
}

}  // namespace HWY_NAMESPACE
}  // namespace kvasir
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace kvasir {

HWY_EXPORT(DrawFromRow);
HWY_EXPORT(WriteDistribution);
HWY_EXPORT(MaskRow);
HWY_EXPORT(SubtractFromRow);
HWY_EXPORT(FindLargest);

void SamplingScratch::Reserve(size_t vocab_size) {
  constexpr size_t kRun = 16;
  if (vocab_size + kRun <= weights.size()) return;
  const size_t active = std::max(vocab_size / kActiveShare, kRankedMax) + kRun;
  weights.resize(vocab_size + kRun);
  ids.resize(vocab_size + kRun);
  block_maxima.resize(vocab_size / kMaximaBlock + 1);
  active_values.resize(active);
  active_indices.resize(active);
  ranked.reserve(kRankedMax);
  block_sums.resize(vocab_size / kSumBlock + 1);
}

TokenId SampleRow(const RowFilter& filter, std::span<const float> row, double uniform,
                  SamplingScratch* scratch) {
  return HWY_DYNAMIC_DISPATCH(DrawFromRow)(filter, row, uniform, scratch);
}

void RenormRow(const RowFilter& filter, std::span<const float> row, SamplingScratch* scratch,
               std::span<float> out) {
  KVASIR_CHECK(out.size() == row.size());
  HWY_DYNAMIC_DISPATCH(WriteDistribution)(filter, row, scratch, out);
}

void TopKMaskRow(uint32_t top_k, std::span<const float> row, SamplingScratch* scratch,
                 std::span<float> out) {
  KVASIR_CHECK(out.size() == row.size());
  HWY_DYNAMIC_DISPATCH(MaskRow)(top_k, row, scratch, out);
}

double SubtractDraft(std::span<const float> weights, double mass, const float* draft,
                     float* residual) {
  return HWY_DYNAMIC_DISPATCH(SubtractFromRow)(weights, mass, draft, residual);
}

TokenId ArgMaxRow(std::span<const float> row) { return HWY_DYNAMIC_DISPATCH(FindLargest)(row); }

}  // namespace kvasir
#endif  // HWY_ONCE
