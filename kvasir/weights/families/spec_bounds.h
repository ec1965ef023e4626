// The bounds of every number in a ModelSpec: wider than any model that exists, narrow enough that
// products of them fit 64 bits and nothing is allocated for a nonsensical file.

#ifndef KVASIR_WEIGHTS_FAMILIES_SPEC_BOUNDS_H_
#define KVASIR_WEIGHTS_FAMILIES_SPEC_BOUNDS_H_

#include <cstdint>

#include "kvasir/weights/field_reader.h"

namespace kvasir {

inline constexpr Bounds<uint32_t> kLayerCountBounds = {1, 1024};
inline constexpr Bounds<uint32_t> kHiddenSizeBounds = {1, 1 << 17};
inline constexpr Bounds<uint32_t> kFfnSizeBounds = {1, 1 << 20};
inline constexpr Bounds<uint32_t> kHeadCountBounds = {1, 1024};
inline constexpr Bounds<uint32_t> kHeadDimBounds = {1, 576};  // what attention/ can do
inline constexpr Bounds<uint32_t> kVocabSizeBounds = {1, 4 << 20};
inline constexpr Bounds<uint32_t> kContextBounds = {1, 1 << 30};
inline constexpr Bounds<uint32_t> kWindowBounds = {1, 1 << 30};
inline constexpr Bounds<float> kEpsBounds = {1e-12f, 0.1f};
inline constexpr Bounds<float> kRopeThetaBounds = {1.0f, 1e12f};
inline constexpr Bounds<float> kRopeFactorBounds = {1e-3f, 1e6f};
inline constexpr Bounds<float> kScaleBounds = {1e-6f, 1e6f};
inline constexpr Bounds<float> kSoftCapBounds = {0.0f, 1e6f};

}  // namespace kvasir

#endif  // KVASIR_WEIGHTS_FAMILIES_SPEC_BOUNDS_H_
