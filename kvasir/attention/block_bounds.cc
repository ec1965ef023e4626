#include "kvasir/attention/block_bounds.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "kvasir/formats/float16.h"
#include "kvasir/kernels/highway_targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kvasir/attention/block_bounds.cc"
#include <hwy/foreach_target.h>
// The lanes need the target chosen above.
#include "kvasir/kernels/lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace kvasir {
namespace HWY_NAMESPACE {

// Query heads whose sums share a load of the bounds: four chains of fused operations hide their
// latency, and with two registers a sum, eight of the 16 are left for q and the bounds.
constexpr size_t kHeadsMax = 4;

struct Extremes {
  float min;
  float max;
};

// Of one dim, whose 32 numbers are in two halves of sixteen lanes.
HWY_INLINE Extremes ExtremesOf(const FloatLanes& a, const FloatLanes& b) {
  const FloatLanes low = Min(a, b), high = Max(a, b);
  auto smallest = low.part[0];
  KVASIR_FOR_PARTS(i) smallest = hn::Min(smallest, low.part[i]);
  return {hn::GetLane(hn::MinOfLanes(FloatTag(), smallest)), MaxOfLanes(high)};
}

void SummarizeF32(const KvBlockLayout& layout, const std::byte* k_tile, std::byte* summary) {
  const float* k = reinterpret_cast<const float*>(k_tile);
  const size_t padded_dim = PaddedSummaryDim(layout), half = layout.KElement(kKvLaneTokens, 0);
  float* minima = reinterpret_cast<float*>(summary);
  for (uint32_t d = 0; d < layout.head_dim; ++d, k += kLaneCount) {
    const Extremes extremes = ExtremesOf(LoadLanes(k), LoadLanes(k + half));
    minima[d] = extremes.min;
    minima[padded_dim + d] = extremes.max;
  }
}

void SummarizeBF16(const KvBlockLayout& layout, const std::byte* k_tile, std::byte* summary) {
  const uint16_t* k = reinterpret_cast<const uint16_t*>(k_tile);
  const size_t padded_dim = PaddedSummaryDim(layout), half = layout.KElement(kKvLaneTokens, 0);
  uint16_t* minima = reinterpret_cast<uint16_t*>(summary);
  const auto store = [&](uint32_t d, const Extremes& extremes) {
    minima[d] = BF16FromF32(extremes.min);
    minima[padded_dim + d] = BF16FromF32(extremes.max);
  };
  for (uint32_t d = 0; d < layout.head_dim; d += 2, k += 2 * kLaneCount) {
    FloatLanes low[2], high[2];
    LoadBF16Pairs(k, &low[0], &high[0]);
    LoadBF16Pairs(k + half, &low[1], &high[1]);
    store(d, ExtremesOf(low[0], low[1]));
    if (d + 1 < layout.head_dim) store(d + 1, ExtremesOf(high[0], high[1]));
  }
}

void SummarizeKeys(const KvBlockLayout& layout, const std::byte* k_tile, std::byte* summary) {
  const auto summarize = layout.format == KvFormat::kF32 ? SummarizeF32 : SummarizeBF16;
  summarize(layout, k_tile, summary);
}

HWY_INLINE FloatLanes LoadBounds(const float* from) { return LoadLanes(from); }
HWY_INLINE FloatLanes LoadBounds(const uint16_t* from) { return LoadBF16Lanes(from); }

// Lanes i and i + kWidth / 2, and so on: SumOfLanes' tree, without going through memory for the
// wide steps.
template <size_t kWidth>
HWY_INLINE float FoldVector(hn::Vec<hn::CappedTag<float, kWidth>> v) {
  if constexpr (kWidth > 4) {
    const hn::CappedTag<float, kWidth / 2> half;
    return FoldVector<kWidth / 2>(hn::Add(hn::LowerHalf(half, v), hn::UpperHalf(half, v)));
  } else {
    alignas(16) float x[4];
    hn::Store(v, hn::CappedTag<float, 4>(), x);
    return (x[0] + x[2]) + (x[1] + x[3]);
  }
}
HWY_INLINE float FoldLanes(FloatLanes a) {
  for (size_t width = kParts / 2; width > 0; width /= 2) {
    for (size_t i = 0; i < width; ++i) a.part[i] = hn::Add(a.part[i], a.part[i + width]);
  }
  return FoldVector<kPartLanes>(a.part[0]);
}

// Raises *bound to the largest sum of kHeads split queries with one summary. Of a dim's two
// products one is 0, so that adding both adds the larger one.
template <size_t kHeads, typename Number>
HWY_INLINE void RaiseBound(const float* q, size_t padded_dim, const Number* minima, float* bound) {
  FloatLanes sums[kHeads];
  HWY_UNROLL(4)
  for (size_t h = 0; h < kHeads; ++h) sums[h] = ZeroLanes();
  for (size_t d = 0; d < padded_dim; d += kLaneCount) {
    const FloatLanes low = LoadBounds(minima + d), high = LoadBounds(minima + padded_dim + d);
    HWY_UNROLL(4)
    for (size_t h = 0; h < kHeads; ++h) {
      const float* split = q + h * 2 * padded_dim + d;
      sums[h] = MulAdd(LoadLanes(split), low, sums[h]);
      sums[h] = MulAdd(LoadLanes(split + padded_dim), high, sums[h]);
    }
  }
  HWY_UNROLL(4)
  for (size_t h = 0; h < kHeads; ++h) {
    const float sum = FoldLanes(sums[h]);
    // Not a number: keys or a query that attention itself has no answer for.
    *bound = std::max(*bound, std::isnan(sum) ? std::numeric_limits<float>::infinity() : sum);
  }
}

template <size_t kHeads, typename Number>
void RaiseBounds(const float* q, size_t padded_dim, const std::byte* summaries, size_t stride_bytes,
                 std::span<const int32_t> pages, float* bounds) {
  for (size_t i = 0; i < pages.size(); ++i) {
    const std::byte* summary = summaries + size_t(pages[i]) * stride_bytes;
    RaiseBound<kHeads>(q, padded_dim, reinterpret_cast<const Number*>(summary), &bounds[i]);
  }
}

template <typename Number>
void BoundPagesOf(size_t padded_dim, size_t head_count, const float* q, const std::byte* summaries,
                  size_t stride_bytes, std::span<const int32_t> pages, float* bounds) {
  using Raise =
      void (*)(const float*, size_t, const std::byte*, size_t, std::span<const int32_t>, float*);
  constexpr Raise kRaise[kHeadsMax] = {RaiseBounds<1, Number>, RaiseBounds<2, Number>,
                                       RaiseBounds<3, Number>, RaiseBounds<4, Number>};
  std::fill_n(bounds, pages.size(), -std::numeric_limits<float>::infinity());
  for (size_t head = 0; head < head_count; head += kHeadsMax) {
    const size_t heads = std::min(kHeadsMax, head_count - head);
    kRaise[heads - 1](q + head * 2 * padded_dim, padded_dim, summaries, stride_bytes, pages,
                      bounds);
  }
}

void BoundPages(const KvBlockLayout& layout, size_t head_count, const float* split_queries,
                const std::byte* summaries, size_t stride_bytes, std::span<const int32_t> pages,
                float* bounds) {
  const auto bound_pages =
      layout.format == KvFormat::kF32 ? BoundPagesOf<float> : BoundPagesOf<uint16_t>;
  bound_pages(PaddedSummaryDim(layout), head_count, split_queries, summaries, stride_bytes, pages,
              bounds);
}

}  // namespace HWY_NAMESPACE
}  // namespace kvasir
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace kvasir {

HWY_EXPORT(SummarizeKeys);
HWY_EXPORT(BoundPages);

void SummarizeKeys(const KvBlockLayout& layout, const std::byte* k_tile, std::byte* summary) {
  HWY_DYNAMIC_DISPATCH(SummarizeKeys)(layout, k_tile, summary);
}

void SplitQuery(std::span<const float> q, size_t padded_dim, float* out) {
  std::fill_n(out, 2 * padded_dim, 0.0f);
  for (size_t d = 0; d < q.size(); ++d) out[q[d] < 0 ? d : padded_dim + d] = q[d];
}

void BoundPages(const KvBlockLayout& layout, size_t head_count, const float* split_queries,
                const std::byte* summaries, size_t stride_bytes, std::span<const int32_t> pages,
                float* bounds) {
  HWY_DYNAMIC_DISPATCH(BoundPages)
  (layout, head_count, split_queries, summaries, stride_bytes, pages, bounds);
}

}  // namespace kvasir
#endif  // HWY_ONCE
