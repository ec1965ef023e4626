// GEMM tiles that unpack 5-bit weights in registers, for few rows.
#include "kvasir/base/check.h"
#include "kvasir/kernels/gemm_tiles.h"
#include "kvasir/kernels/highway_targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kvasir/kernels/gemm_direct_5bit.cc"
#include <hwy/foreach_target.h>
// The tiles need the target chosen above.
#include "kvasir/kernels/gemm-inl.h"

HWY_BEFORE_NAMESPACE();
namespace kvasir {
namespace HWY_NAMESPACE {

void TileQ5_0(const GemmInput& input, const GemmOutput& output, const GemmTileRange& range,
              std::byte*) {
  RunPair<Q5_0Reader>(input, output, range);
}
void TileQ5_1(const GemmInput& input, const GemmOutput& output, const GemmTileRange& range,
              std::byte*) {
  RunPair<Q5_1Reader>(input, output, range);
}
void TileQ5_K(const GemmInput& input, const GemmOutput& output, const GemmTileRange& range,
              std::byte*) {
  RunPair<Q5KReader>(input, output, range);
}

}  // namespace HWY_NAMESPACE
}  // namespace kvasir
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace kvasir {

HWY_EXPORT(TileQ5_0);
HWY_EXPORT(TileQ5_1);
HWY_EXPORT(TileQ5_K);

GemmTileFn DirectTileFn5(DType dtype) {
  switch (dtype) {
    case DType::kQ5_0:
      return HWY_DYNAMIC_DISPATCH(TileQ5_0);
    case DType::kQ5_1:
      return HWY_DYNAMIC_DISPATCH(TileQ5_1);
    case DType::kQ5_K:
      return HWY_DYNAMIC_DISPATCH(TileQ5_K);
    default:
      KVASIR_CHECK(false && "not a 5-bit dtype");
      return nullptr;
  }
}

}  // namespace kvasir
#endif  // HWY_ONCE
