#include "kvasir/engine/step_cost.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace kvasir {
namespace {

// The half octave of a size: twice its binary logarithm, one more from 1.5 times the power of two.
size_t SizeIndex(size_t row_count) {
  const size_t octave = static_cast<size_t>(std::bit_width(row_count)) - 1;
  const bool upper = octave > 0 && (row_count >> (octave - 1) & 1) != 0;
  return 2 * octave + upper;
}

// A new step counts for an eighth: a slow one among them passes, a lasting change shows after ten.
constexpr double kNewWeight = 0.125;
// Steps whose keys differ less from the mean say nothing of what keys cost: their times differ by
// more for other reasons. (A lone decode's context is eight tokens ahead of its mean.)
constexpr double kKeyDeviationMin = 512;
// Of what earlier steps said of keys, a new one that says something leaves so much.
constexpr double kKeyMemory = 1 - 1.0 / 256;

}  // namespace

void StepCost::Observe(const StepSize& size, double seconds) {
  if (size.row_count == 0) return;
  Mean& mean = means_[std::min(SizeIndex(size.row_count), means_.size() - 1)];
  if (mean.row_count == 0) {
    mean = {double(size.row_count), size.key_count, seconds};
    return;
  }
  const double key_deviation = size.key_count - mean.key_count;
  if (std::abs(key_deviation) >= kKeyDeviationMin) {
    key_variation_ = kKeyMemory * key_variation_ + key_deviation * key_deviation;
    key_covariation_ = kKeyMemory * key_covariation_ + key_deviation * (seconds - mean.seconds);
    key_seconds_ = std::max(0.0, key_covariation_ / key_variation_);
  }
  mean.row_count += kNewWeight * (double(size.row_count) - mean.row_count);
  mean.key_count += kNewWeight * key_deviation;
  mean.seconds += kNewWeight * (seconds - mean.seconds);
}

double StepCost::RowSeconds(double row_count) const {
  const Mean* below = nullptr;
  const Mean* above = nullptr;
  for (const Mean& mean : means_) {
    if (mean.row_count == 0) continue;
    if (mean.row_count <= row_count) below = &mean;
    if (mean.row_count >= row_count && above == nullptr) above = &mean;
  }
  const auto seconds_of = [this](const Mean& mean) {
    return std::max(0.0, mean.seconds - key_seconds_ * mean.key_count);
  };
  if (below == nullptr && above == nullptr) return 0;
  if (below == nullptr) return seconds_of(*above) * row_count / above->row_count;
  if (above == nullptr) return seconds_of(*below) * row_count / below->row_count;
  if (above->row_count <= below->row_count) return seconds_of(*below);
  const double part = (row_count - below->row_count) / (above->row_count - below->row_count);
  return seconds_of(*below) + part * (seconds_of(*above) - seconds_of(*below));
}

double StepCost::Estimate(const StepSize& size) const {
  return RowSeconds(double(size.row_count)) + key_seconds_ * size.key_count;
}

size_t StepCost::PromptRows(const PromptBudget& budget, const StepDemand& demand) const {
  const size_t rows_max = demand.prompt_rows_max;
  // Seconds of the decodes and `prompt_rows` rows of prompts.
  const auto estimate = [&](size_t prompt_rows) {
    return Estimate({demand.decode_count + prompt_rows,
                     demand.decode_key_count + double(prompt_rows) * demand.prompt_key_count});
  };
  const double alone = estimate(0);
  if (budget.share == 0 || alone == 0 || rows_max <= kPromptRowsMin) return rows_max;
  const double pressure = std::max(1.0, double(demand.prompt_count) / double(demand.decode_count));
  const double seconds = std::min(alone * (1 + budget.share * pressure),
                                  std::max(budget.seconds_max, alone * (1 + budget.share)));
  size_t fits = kPromptRowsMin, too_many = rows_max + 1;
  while (fits + 1 < too_many) {
    const size_t middle = (fits + too_many) / 2;
    (estimate(middle) <= seconds ? fits : too_many) = middle;
  }
  const double row_seconds_max =
      kRowCostRatioMax * estimate(rows_max) / double(demand.decode_count + rows_max);
  while (fits < rows_max && estimate(fits) - alone > row_seconds_max * double(fits)) {
    fits = std::min(2 * fits, rows_max);
  }
  return fits;
}

}  // namespace kvasir
