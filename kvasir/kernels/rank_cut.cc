#include "kvasir/kernels/rank_cut.h"

#include <algorithm>
#include <bit>

namespace kvasir {
namespace {

constexpr uint32_t kSignBit = 0x80000000u;

// Integers in the order of the floats: negative ones count backwards from 0, and -0 is 0.
uint32_t OrderOfFloat(float x) {
  const uint32_t bits = std::bit_cast<uint32_t>(x);
  return bits & kSignBit ? kSignBit - (bits & ~kSignBit) : kSignBit + bits;
}
float FloatOfOrder(uint32_t order) {
  return order < kSignBit ? std::bit_cast<float>(kSignBit | (kSignBit - order))
                          : std::bit_cast<float>(order - kSignBit);
}

}  // namespace

RankCut Shorter(const RankCut& a, const RankCut& b) {
  if (a.value != b.value) return a.value > b.value ? a : b;
  return a.last_index < b.last_index ? a : b;
}

float MiddleFloat(float lower, float upper) {
  const uint32_t first = OrderOfFloat(lower), last = OrderOfFloat(upper);
  return FloatOfOrder(first + (last - first) / 2);
}

float MeanFloat(float lower, float upper) {
  const float mean = lower / 2 + upper / 2;  // their sum could be infinite
  return mean >= lower && mean < upper ? mean : MiddleFloat(lower, upper);
}

RankCut CutAmongFew(const float* values, const TokenId* indices, size_t count, bool is_mass,
                    double measure_above, double target,
                    std::vector<std::pair<float, TokenId>>* ranked) {
  ranked->clear();
  for (size_t i = 0; i < count; ++i) {
    ranked->push_back({values[i], indices == nullptr ? static_cast<TokenId>(i) : indices[i]});
  }
  std::sort(ranked->begin(), ranked->end(), [](const auto& a, const auto& b) {
    return a.first != b.first ? a.first > b.first : a.second < b.second;
  });
  double measure = measure_above;
  for (const auto& [value, index] : *ranked) {
    measure += is_mass ? double{value} : 1.0;
    if (measure >= target) return {value, index};
  }
  return {ranked->back().first, ranked->back().second};
}

}  // namespace kvasir
