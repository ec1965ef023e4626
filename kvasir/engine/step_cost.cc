#include "kvasir/engine/step_cost.h"

#include <algorithm>
#include <bit>

namespace kvasir {
namespace {

// The half octave of a size: twice its binary logarithm, one more from 1.5 times the power of two.
size_t SizeIndex(size_t row_count) {
  const size_t octave = static_cast<size_t>(std::bit_width(row_count)) - 1;
  const bool upper = octave > 0 && (row_count >> (octave - 1) & 1) != 0;
  return 2 * octave + upper;
}

// A new step counts for an eighth: a slow one among them passes, a longer context shows after ten.
constexpr double kNewWeight = 0.125;

}  // namespace

void StepCost::Observe(size_t row_count, double seconds) {
  if (row_count == 0) return;
  Size& size = sizes_[std::min(SizeIndex(row_count), sizes_.size() - 1)];
  const double weight = size.row_count == 0 ? 1 : kNewWeight;
  size.row_count += weight * (double(row_count) - size.row_count);
  size.seconds += weight * (seconds - size.seconds);
}

double StepCost::Estimate(size_t row_count) const {
  const double rows = double(row_count);
  const Size* below = nullptr;
  const Size* above = nullptr;
  for (const Size& size : sizes_) {
    if (size.row_count == 0) continue;
    if (size.row_count <= rows) below = &size;
    if (size.row_count >= rows && above == nullptr) above = &size;
  }
  if (below == nullptr && above == nullptr) return 0;
  if (below == nullptr) return above->seconds * rows / above->row_count;
  if (above == nullptr) return below->seconds * rows / below->row_count;
  if (above->row_count <= below->row_count) return below->seconds;
  const double part = (rows - below->row_count) / (above->row_count - below->row_count);
  return below->seconds + part * (above->seconds - below->seconds);
}

size_t StepCost::PromptRows(const PromptBudget& budget, size_t decode_count, size_t prompt_count,
                            size_t rows_max) const {
  const double alone = Estimate(decode_count);
  if (budget.share == 0 || alone == 0 || rows_max <= kPromptRowsMin) return rows_max;
  const double pressure = std::max(1.0, double(prompt_count) / double(decode_count));
  const double seconds = std::min(alone * (1 + budget.share * pressure),
                                  std::max(budget.seconds_max, alone * (1 + budget.share)));
  size_t fits = kPromptRowsMin, too_many = rows_max + 1;
  while (fits + 1 < too_many) {
    const size_t middle = (fits + too_many) / 2;
    (Estimate(decode_count + middle) <= seconds ? fits : too_many) = middle;
  }
  const size_t full = decode_count + rows_max;
  const double row_seconds_max = kRowCostRatioMax * Estimate(full) / double(full);
  while (fits < rows_max &&
         Estimate(decode_count + fits) - alone > row_seconds_max * double(fits)) {
    fits = std::min(2 * fits, rows_max);
  }
  return fits;
}

}  // namespace kvasir
