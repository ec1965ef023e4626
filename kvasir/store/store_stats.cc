#include "kvasir/store/store_stats.h"

namespace kvasir {

std::string_view StoreStateName(StoreState state) {
  switch (state) {
    case StoreState::kReady:
      return "ready";
    case StoreState::kReadOnly:
      return "read-only";
    case StoreState::kNotStoring:
      return "not storing";
    case StoreState::kOutOfOrder:
      return "out of order";
  }
  return "unknown";
}

std::span<const double> StoreSecondsBounds() {
  static constexpr double kBounds[] = {0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025,
                                       0.05,   0.1,     0.25,   0.5,   1,      2.5,   5,    10};
  return kBounds;
}

std::span<const double> StoreBytesBounds() {
  static constexpr double kBounds[] = {65536,   131072,  262144,   524288,   1048576, 2097152,
                                       4194304, 8388608, 16777216, 33554432, 67108864};
  return kBounds;
}

}  // namespace kvasir
