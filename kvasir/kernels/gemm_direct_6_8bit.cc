// GEMM tiles that unpack 6- and 8-bit weights in registers, for few rows.
#include "kvasir/base/check.h"
#include "kvasir/kernels/gemm_tiles.h"
#include "kvasir/kernels/highway_targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kvasir/kernels/gemm_direct_6_8bit.cc"
#include <hwy/foreach_target.h>
// The tiles need the target chosen above.
#include "kvasir/kernels/gemm-inl.h"

HWY_BEFORE_NAMESPACE();
namespace kvasir {
namespace HWY_NAMESPACE {

void TileQ6_K(const GemmInput& input, const GemmOutput& output, const GemmTileRange& range,
              std::byte*) {
  RunPair<Q6KReader>(input, output, range);
}
void TileQ8_0(const GemmInput& input, const GemmOutput& output, const GemmTileRange& range,
              std::byte*) {
  RunPair<Q8_0Reader>(input, output, range);
}

}  // namespace HWY_NAMESPACE
}  // namespace kvasir
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace kvasir {

HWY_EXPORT(TileQ6_K);
HWY_EXPORT(TileQ8_0);

GemmTileFn DirectTileFn68(DType dtype) {
  switch (dtype) {
    case DType::kQ6_K:
      return HWY_DYNAMIC_DISPATCH(TileQ6_K);
    case DType::kQ8_0:
      return HWY_DYNAMIC_DISPATCH(TileQ8_0);
    default:
      KVASIR_CHECK(false && "not a 6- or 8-bit dtype");
      return nullptr;
  }
}

}  // namespace kvasir
#endif  // HWY_ONCE
