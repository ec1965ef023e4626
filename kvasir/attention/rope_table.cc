#include "kvasir/attention/rope_table.h"

#include <cmath>
#include <string>

namespace kvasir {

namespace {
constexpr size_t kFinePositions = 16;
}  // namespace

Result<RopeTable> RopeTable::Create(uint32_t rotary_dim, float rope_theta, float rope_scale,
                                    size_t position_count) {
  if (rotary_dim == 0 || rotary_dim % 2 != 0) {
    return InvalidArgument("rotary_dim is " + std::to_string(rotary_dim) +
                           ", allowed are positive even numbers");
  }
  if (!(rope_theta > 0) || !std::isfinite(rope_theta)) {
    return InvalidArgument("rope_theta is " + std::to_string(rope_theta) +
                           ", allowed are positive finite numbers");
  }
  if (!(rope_scale > 0) || !std::isfinite(rope_scale)) {
    return InvalidArgument("rope_scale is " + std::to_string(rope_scale) +
                           ", allowed are positive finite numbers");
  }
  std::vector<double> frequencies(rotary_dim / 2);
  for (size_t d = 0; d < frequencies.size(); ++d) {
    frequencies[d] = std::pow(double(rope_theta), -2.0 * double(d) / rotary_dim) / rope_scale;
  }
  return FromFrequencies(frequencies, position_count);
}

RopeTable RopeTable::FromFrequencies(std::span<const double> frequencies, size_t position_count) {
  RopeTable table;
  table.frequency_count_ = frequencies.size();
  table.position_count_ = position_count;
  for (size_t a = 0; a * kFinePositions < position_count; ++a) {
    for (const double frequency : frequencies) {
      table.coarse_cos_.push_back(float(std::cos(frequency * double(a * kFinePositions))));
      table.coarse_sin_.push_back(float(std::sin(frequency * double(a * kFinePositions))));
    }
  }
  for (const double frequency : frequencies) {
    for (size_t b = 0; b < kFinePositions; ++b) {
      table.fine_cos_.push_back(float(std::cos(frequency * double(b))));
      table.fine_sin_.push_back(float(std::sin(frequency * double(b))));
    }
  }
  return table;
}

}  // namespace kvasir
