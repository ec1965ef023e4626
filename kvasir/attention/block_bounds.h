// Internal to the attention library: the arithmetic of block selection, compiled for each target:
// the bounds of the keys of a block, and what they say about a query. Pure functions.
//
// A summary is | minima | maxima |, one of each for every dim of the keys of one block, layer and
// KV head, in the number type of the block: of numbers of a type the extremes are numbers of that
// type, so nothing is rounded. Both halves are padded with zeros to a multiple of 16 dims.

#ifndef KVASIR_ATTENTION_BLOCK_BOUNDS_H_
#define KVASIR_ATTENTION_BLOCK_BOUNDS_H_

#include <cstddef>
#include <cstdint>
#include <span>

#include "kvasir/formats/kv_block_layout.h"

namespace kvasir {

inline size_t PaddedSummaryDim(const KvBlockLayout& layout) {
  return (size_t{layout.head_dim} + 15) / 16 * 16;
}
inline size_t SummaryBytes(const KvBlockLayout& layout) {
  return 2 * PaddedSummaryDim(layout) * layout.element_bytes();
}

// The summary of the 32 keys of a K tile.
void SummarizeKeys(const KvBlockLayout& layout, const std::byte* k_tile, std::byte* summary);

// Splits one query head into what meets the minima and what meets the maxima: min(q, 0) and
// max(q, 0), each padded as a summary is: out [2, PaddedSummaryDim].
void SplitQuery(std::span<const float> q, size_t padded_dim, float* out);

// bounds[i] = the largest over `head_count` split queries [head_count, 2, PaddedSummaryDim] of
// sum_d max(q_d * min_d, q_d * max_d) with the summary at summaries + pages[i] * stride_bytes: no
// key of the block has a larger q.k, but for rounding. NaN becomes +inf. Sixteen partial sums over
// every sixteenth dim in rising order, added by one tree: the same bits for every target of a
// numerics class.
void BoundPages(const KvBlockLayout& layout, size_t head_count, const float* split_queries,
                const std::byte* summaries, size_t stride_bytes, std::span<const int32_t> pages,
                float* bounds);

}  // namespace kvasir

#endif  // KVASIR_ATTENTION_BLOCK_BOUNDS_H_
