// Passes over a row of values in runs of sixteen, for sampling: maxima, weights, counts and sums
// above a pivot, and compaction. Sums are float64, lane by lane and then by one tree, and nothing
// is fused, so that all targets give the same bits. Included once per target.

#if defined(KVASIR_KERNELS_ROW_SCAN_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef KVASIR_KERNELS_ROW_SCAN_INL_H_
#undef KVASIR_KERNELS_ROW_SCAN_INL_H_
#else
#define KVASIR_KERNELS_ROW_SCAN_INL_H_
#endif

#include <bit>
#include <cstring>
#include <limits>

#include "kvasir/formats/token_id.h"
#include "kvasir/kernels/lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace kvasir {
namespace HWY_NAMESPACE {

using DoubleTag = hn::Repartition<double, FloatTag>;
using HalfFloatTag = hn::Half<FloatTag>;
using FloatPart = hn::Vec<FloatTag>;
using FloatMask = hn::Mask<FloatTag>;

// Constants, because the functions of numeric_limits lack the target's attributes.
constexpr float kRowInfinity = std::numeric_limits<float>::infinity();
constexpr float kFloatMax = std::numeric_limits<float>::max();

// The run of sixteen values from `first`. The last, partial one is filled up with NaN, which no
// comparison admits and which weighs nothing.
HWY_INLINE FloatLanes LoadRun(const float* row, size_t first, size_t count) {
  if (first + kLaneCount <= count) return LoadLanes(row + first);
  alignas(64) float padded[kLaneCount];
  for (size_t i = 0; i < kLaneCount; ++i) {
    padded[i] = first + i < count ? row[first + i] : std::numeric_limits<float>::quiet_NaN();
  }
  return LoadLanes(padded);
}

// Writes the values of a run that exist.
HWY_INLINE void StoreRun(const FloatLanes& x, float* row, size_t first, size_t count) {
  if (first + kLaneCount <= count) return StoreLanes(x, row + first);
  alignas(64) float padded[kLaneCount];
  StoreLanes(x, padded);
  std::memcpy(row + first, padded, (count - first) * sizeof(float));
}

// Sixteen sums in float64, one for each lane.
class LaneSums {
 public:
  HWY_INLINE LaneSums() {
    for (auto& sum : sums_) sum = hn::Zero(DoubleTag());
  }
  HWY_INLINE void Add(const FloatLanes& x) {
    KVASIR_FOR_PARTS(i) {
      const auto low = hn::LowerHalf(HalfFloatTag(), x.part[i]);
      const auto high = hn::UpperHalf(HalfFloatTag(), x.part[i]);
      sums_[2 * i] = hn::Add(sums_[2 * i], hn::PromoteTo(DoubleTag(), low));
      sums_[2 * i + 1] = hn::Add(sums_[2 * i + 1], hn::PromoteTo(DoubleTag(), high));
    }
  }
  // By the tree of SumOfLanes.
  HWY_INLINE double Total() const {
    alignas(64) double x[kLaneCount];
    for (size_t i = 0; i < 2 * kParts; ++i) {
      hn::StoreU(sums_[i], DoubleTag(), x + i * kPartLanes / 2);
    }
    for (size_t width = kLaneCount / 2; width > 0; width /= 2) {
      for (size_t i = 0; i < width; ++i) x[i] += x[i + width];
    }
    return x[0];
  }

 private:
  hn::Vec<DoubleTag> sums_[2 * kParts];
};

// The larger of each lane; a NaN in x loses: maxps gives its second operand when one is NaN. The
// smaller likewise.
HWY_INLINE FloatLanes MaxIgnoringNan(const FloatLanes& x, const FloatLanes& largest) {
  return Max(x, largest);
}
HWY_INLINE FloatLanes MinIgnoringNan(const FloatLanes& x, const FloatLanes& smallest) {
  return Min(x, smallest);
}

// The largest value, -inf when there is none above it.
inline float MaxOfRow(const float* row, size_t count) {
  FloatLanes largest = SetLanes(-kRowInfinity);
  for (size_t first = 0; first < count; first += kLaneCount) {
    largest = MaxIgnoringNan(LoadRun(row, first, count), largest);
  }
  return MaxOfLanes(largest);
}

// maxima[b]: the largest of the values [b * block, (b + 1) * block). Returns the largest of all.
inline float BlockMaxima(const float* row, size_t count, size_t block, float* maxima) {
  float largest = -kRowInfinity;
  for (size_t first = 0; first < count; first += block) {
    const float maximum = MaxOfRow(row + first, HWY_MIN(block, count - first));
    maxima[first / block] = maximum;
    largest = maximum > largest ? maximum : largest;
  }
  return largest;
}

// The place of the `rank`-th value (from 1) that equals `value`. REQUIRES that there are so many.
inline size_t FindEqual(const float* row, size_t count, float value, size_t rank) {
  const auto wanted = hn::Set(FloatTag(), value);
  size_t first = 0;
  for (; first + kLaneCount <= count; first += kLaneCount) {
    const FloatLanes x = LoadLanes(row + first);
    size_t equal = 0;
    KVASIR_FOR_PARTS(i) equal += hn::CountTrue(FloatTag(), hn::Eq(x.part[i], wanted));
    if (equal >= rank) break;
    rank -= equal;
  }
  while (row[first] != value || --rank > 0) ++first;
  return first;
}

// What lies on the two sides of a pivot.
struct RowSplit {
  double measure = 0;        // of the values above the pivot: their sum, or their count
  size_t count = 0;          // of the values above
  float smallest_above = 0;  // +inf when there is none
  float largest_below = 0;   // of those not above; -inf when there is none
};

// Every value measures 1, or, with kMass, itself.
template <bool kMass>
inline RowSplit SplitRow(const float* row, size_t count, float pivot) {
  const auto pivots = hn::Set(FloatTag(), pivot);
  const auto infinity = hn::Set(FloatTag(), kRowInfinity);
  const auto minus_infinity = hn::Set(FloatTag(), -kRowInfinity);
  FloatLanes smallest = SetLanes(kRowInfinity), largest = SetLanes(-kRowInfinity);
  LaneSums sums;
  IntLanes counts;
  KVASIR_FOR_PARTS(i) counts.part[i] = hn::Zero(IntTag());
  for (size_t first = 0; first < count; first += kLaneCount) {
    const FloatLanes x = LoadRun(row, first, count);
    FloatLanes kept, low, high;
    KVASIR_FOR_PARTS(i) {
      const FloatMask above = hn::Gt(x.part[i], pivots);
      kept.part[i] = hn::IfThenElseZero(above, x.part[i]);
      high.part[i] = hn::IfThenElse(above, x.part[i], infinity);
      low.part[i] = hn::IfThenElse(above, minus_infinity, x.part[i]);
      counts.part[i] =
          hn::Sub(counts.part[i], hn::VecFromMask(IntTag(), hn::RebindMask(IntTag(), above)));
    }
    smallest = MinIgnoringNan(high, smallest);
    largest = MaxIgnoringNan(low, largest);
    if constexpr (kMass) sums.Add(kept);
  }
  RowSplit split;
  alignas(64) int32_t lane_counts[kLaneCount];
  KVASIR_FOR_PARTS(i) hn::StoreU(counts.part[i], IntTag(), lane_counts + i * kPartLanes);
  for (const int32_t lane_count : lane_counts) split.count += static_cast<size_t>(lane_count);
  split.measure = kMass ? sums.Total() : static_cast<double>(split.count);
  auto least = smallest.part[0];
  KVASIR_FOR_PARTS(i) least = hn::Min(least, smallest.part[i]);
  split.smallest_above = hn::GetLane(hn::MinOfLanes(FloatTag(), least));
  split.largest_below = MaxOfLanes(largest);
  return split;
}

// A bit for each of the sixteen lanes of a comparison.
HWY_INLINE uint32_t BitsOfMasks(const FloatMask (&masks)[kParts]) {
  uint32_t all = 0;
  KVASIR_FOR_PARTS(i) {
    uint8_t bytes[8] = {};  // StoreMaskBits may write as many
    hn::StoreMaskBits(FloatTag(), masks[i], bytes);
    all |= (bytes[0] | uint32_t{bytes[1]} << 8) << (i * kPartLanes);
  }
  return all;
}

// Writes the values for which keep(x, index) holds, lane by lane, and the ids beside them in the
// same order; returns how many. `ids` null: a value's id is its index. Indices start from
// `first_index`. The outputs need a run of room behind their ends, and may be the inputs.
template <typename Keep>
inline size_t KeepValues(const float* row, const TokenId* ids, size_t count, size_t first_index,
                         const Keep& keep, float* out_values, TokenId* out_ids) {
  size_t kept = 0;
  for (size_t first = 0; first < count; first += kLaneCount) {
    const FloatLanes x = LoadRun(row, first, count);
    IntLanes id;
    FloatMask masks[kParts];
    KVASIR_FOR_PARTS(i) {
      const size_t at = first + i * kPartLanes;
      id.part[i] = hn::Iota(IntTag(), static_cast<int32_t>(first_index + at));
      masks[i] = keep(x.part[i], id.part[i]);
    }
#if HWY_TARGET == HWY_AVX3_DL
    if (hn::AllFalse(FloatTag(), masks[0])) continue;
    if (ids != nullptr) id.part[0] = hn::LoadU(IntTag(), ids + first);
    // Not CompressStore: Zen 4 takes over a hundred cycles for a compressing store to memory.
    hn::StoreU(hn::Compress(x.part[0], masks[0]), FloatTag(), out_values + kept);
    const auto id_mask = hn::RebindMask(IntTag(), masks[0]);
    hn::StoreU(hn::Compress(id.part[0], id_mask), IntTag(), out_ids + kept);
    kept += hn::CountTrue(FloatTag(), masks[0]);
#else
    // Without an instruction for it, one by one is as fast as permutations from a table: few are
    // kept. (Highway 1.0.3 copies its table to the stack at each use.)
    for (uint32_t bits = BitsOfMasks(masks); bits != 0; bits &= bits - 1) {
      const size_t at = first + static_cast<size_t>(std::countr_zero(bits));
      out_values[kept] = row[at];
      out_ids[kept] = ids == nullptr ? static_cast<TokenId>(first_index + at) : ids[at];
      ++kept;
    }
#endif
  }
  return kept;
}

// e^x for x <= 0 to a unit in the last place: exactly 1 at 0, 0 below the smallest normal float and
// for NaN. The polynomial is that of exp-inl.h, whose fused operations make its bits differ from
// target to target; here a token hangs on the last bit, so nothing is fused.
HWY_INLINE FloatLanes ReproducibleExp(const FloatLanes& x) {
  const FloatLanes rounder = SetLanes(0x1.8p23f);  // adding it rounds to an integer
  const FloatLanes shifted = Add(Mul(x, SetLanes(1.44269502f)), rounder);  // x / ln 2
  const FloatLanes n = Sub(shifted, rounder);
  // ln 2 in two parts: the first has 9 bits, so that n times it is exact. |r| <= ln(2) / 2.
  const FloatLanes r =
      Sub(Sub(x, Mul(n, SetLanes(0.693359375f))), Mul(n, SetLanes(-2.12194440e-4f)));
  // e^r = 1 + r + r^2 p(r), in pairs of terms: a chain of 8 operations in place of 12.
  const FloatLanes square = Mul(r, r);
  const FloatLanes low = Add(Mul(r, SetLanes(0.166665211f)), SetLanes(0.499999940f));
  const FloatLanes middle = Add(Mul(r, SetLanes(8.36874545e-3f)), SetLanes(4.16683890e-2f));
  const FloatLanes high = Add(Mul(square, SetLanes(1.38145406e-3f)), middle);
  const FloatLanes p = Add(Mul(square, high), low);
  const FloatLanes exp = Add(Add(Mul(square, p), r), SetLanes(1.0f));
  FloatLanes result;
  KVASIR_FOR_PARTS(i) {
    // The low bits of `shifted` hold n: in the place of the exponent they multiply by 2^n.
    const auto bits = hn::Add(hn::BitCast(IntTag(), shifted.part[i]), hn::Set(IntTag(), 127));
    const auto power = hn::BitCast(FloatTag(), hn::ShiftLeft<23>(bits));
    const auto in_range = hn::Ge(x.part[i], hn::Set(FloatTag(), -87.0f));  // e^-87 = 1.6e-38
    result.part[i] = hn::IfThenElseZero(in_range, hn::Mul(exp.part[i], power));
  }
  return result;
}

// exp((x - largest) / temperature), by the reciprocal, which is cheaper than a division and rounds
// the exponent once more, to 2^-24 of itself. It is kept finite, so that the largest has weight 1
// at any temperature. REQUIRES a finite largest.
class LogitWeight {
 public:
  LogitWeight(float largest, float temperature)
      : largest_(largest), inverse_temperature_(HWY_MIN(1 / temperature, kFloatMax)) {}
  HWY_INLINE FloatLanes operator()(const FloatLanes& x) const {
    return ReproducibleExp(Mul(Sub(x, SetLanes(largest_)), SetLanes(inverse_temperature_)));
  }

 private:
  float largest_, inverse_temperature_;
};

// The value itself; 0 for NaN and negatives.
struct ProbWeight {
  HWY_INLINE FloatLanes operator()(const FloatLanes& x) const {
    return MaxIgnoringNan(x, ZeroLanes());
  }
};

// 1 for +inf, 0 for everything else: where there is a +inf, nothing else has a chance.
struct InfinityWeight {
  HWY_INLINE FloatLanes operator()(const FloatLanes& x) const {
    const auto infinity = hn::Set(FloatTag(), kRowInfinity);
    FloatLanes weight;
    KVASIR_FOR_PARTS(i) {
      const auto is_infinite = hn::Eq(x.part[i], infinity);
      weight.part[i] = hn::IfThenElseZero(is_infinite, hn::Set(FloatTag(), 1.0f));
    }
    return weight;
  }
};

// Writes weigh(x) of a row, unless `weights` is null, and returns the sum. `weights` has room for
// whole runs, filled up with 0, and may be the row.
template <typename Weigh>
inline double WeighRow(const float* row, size_t count, const Weigh& weigh, float* weights) {
  LaneSums sums;
  for (size_t first = 0; first < count; first += kLaneCount) {
    const FloatLanes weight = weigh(LoadRun(row, first, count));
    if (weights != nullptr) StoreLanes(weight, weights + first);
    sums.Add(weight);
  }
  return sums.Total();
}

}  // namespace HWY_NAMESPACE
}  // namespace kvasir
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
