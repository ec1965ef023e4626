// One row of logits or probabilities -> what may be drawn from it -> a token: the core that
// sampling.h, batch_sampling.h and speculative_sampling.h wrap. No full sort: every filter keeps a
// leading part of the row's ranking (values falling, the lowest id first among equals), so a filter
// is one cut in that ranking, and the cut is found by counting or summing what lies above a pivot,
// sixteen values at a time. All sums are float64 in one fixed order and the exponential has no
// fused operations, so that every instruction set gives the same tokens. Free functions; each call
// needs a scratch of its own.

#ifndef KVASIR_KERNELS_SAMPLE_ROW_H_
#define KVASIR_KERNELS_SAMPLE_ROW_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "kvasir/formats/token_id.h"

namespace kvasir {

enum class FilterApplyOrder : uint8_t {
  kTopKFirst,  // top-p counts the mass of what top-k left, renormalised
  kJoint,      // top-p counts the mass of the whole row; what both keep stays
};

enum class RowKind : uint8_t {
  kLogits,  // weights are exp((x - max) / temperature); +inf takes everything, NaN and -inf nothing
  kProbs,   // weights are the values, any sum; +inf takes everything, NaN and negatives nothing
};

// What may be drawn. Top-k keeps exactly k and top-p the shortest leading part that reaches its
// mass, the lowest ids among equals; min-p keeps what weighs at least min_p times the best, and
// does not change the mass of which top-p is a share. Top-p and min-p go by weights as f32 holds
// them: different logits of the same weight are equals to them. At least one token stays.
struct RowFilter {
  RowKind kind = RowKind::kLogits;
  float temperature = 1;  // of logits; not above 0 or NaN: greedy
  uint32_t top_k = 0;     // 0 = off
  float top_p = 1;        // 1 = off
  float min_p = 0;        // 0 = off
  FilterApplyOrder order = FilterApplyOrder::kTopKFirst;
};

// Memory of one call at a time. Grows to the longest row that it has met and keeps that.
struct SamplingScratch {
  void Reserve(size_t vocab_size);

  // Each has room for the values that its comment says and a run of 16 more, which vector stores
  // may touch.
  std::vector<float> weights;           // the row, or the candidates that top-k left of it
  std::vector<TokenId> ids;             // of the candidates, rising
  std::vector<float> block_maxima;      // of the row, one for each kMaximaBlock values
  std::vector<float> active_values;     // what a search for a cut has not decided yet: a quarter
  std::vector<TokenId> active_indices;  // their places in the searched row
  std::vector<std::pair<float, TokenId>> ranked;  // the last few of them
  std::vector<double> block_sums;                 // of weights, one for each kSumBlock
  std::vector<float> residual, next_residual;     // for speculative_sampling.cc, which sizes them
};

// 64 values, four cache lines: a 50th of them skips all but 2.5 % of a row of 128,256, and the
// maxima of such a row are still 2,004, which cost little to rank.
inline constexpr size_t kMaximaBlock = 64;
// A draw finds the block first and then the token in it: about the square root of the row.
inline constexpr size_t kSumBlock = 512;

// The token under the point `uniform` (in [0, 1)) of a line on which the kept tokens, in order of
// their ids, each take a stretch of their weight. 0 when nothing has weight.
TokenId SampleRow(const RowFilter& filter, std::span<const float> row, double uniform,
                  SamplingScratch* scratch);

// The probabilities from which SampleRow draws, 0 for what is cut: all 0 when nothing has weight.
// REQUIRES out to be as long as the row; it may be the row.
void RenormRow(const RowFilter& filter, std::span<const float> row, SamplingScratch* scratch,
               std::span<float> out);

// Copies the `top_k` best logits (0 = all) and writes -inf for the others and for NaN. `out` like
// RenormRow's.
void TopKMaskRow(uint32_t top_k, std::span<const float> row, SamplingScratch* scratch,
                 std::span<float> out);

// residual[i] = max(0, weights[i] / mass - draft[i]), 0 where one is NaN; returns their sum.
// `residual` may be `weights`.
double SubtractDraft(std::span<const float> weights, double mass, const float* draft,
                     float* residual);

// The lowest index of the largest value; NaN counts as -inf; 0 when all are -inf.
TokenId ArgMaxRow(std::span<const float> row);

}  // namespace kvasir

#endif  // KVASIR_KERNELS_SAMPLE_ROW_H_
