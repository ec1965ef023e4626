// GEMM tiles that unpack 4-bit weights in registers, for few rows.
#include "kvasir/base/check.h"
#include "kvasir/kernels/gemm_tiles.h"
#include "kvasir/kernels/highway_targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kvasir/kernels/gemm_direct_4bit.cc"
#include <hwy/foreach_target.h>
// The tiles need the target chosen above.
#include "kvasir/kernels/gemm-inl.h"

HWY_BEFORE_NAMESPACE();
namespace kvasir {
namespace HWY_NAMESPACE {

void TileQ4_0(const GemmInput& input, const GemmOutput& output, const GemmTileRange& range,
              std::byte*) {
  RunPair<Q4_0Reader>(input, output, range);
}
void TileQ4_1(const GemmInput& input, const GemmOutput& output, const GemmTileRange& range,
              std::byte*) {
  RunPair<Q4_1Reader>(input, output, range);
}
void TileQ4_K(const GemmInput& input, const GemmOutput& output, const GemmTileRange& range,
              std::byte*) {
  RunPair<Q4KReader>(input, output, range);
}

}  // namespace HWY_NAMESPACE
}  // namespace kvasir
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace kvasir {

HWY_EXPORT(TileQ4_0);
HWY_EXPORT(TileQ4_1);
HWY_EXPORT(TileQ4_K);

GemmTileFn DirectTileFn4(DType dtype) {
  switch (dtype) {
    case DType::kQ4_0:
      return HWY_DYNAMIC_DISPATCH(TileQ4_0);
    case DType::kQ4_1:
      return HWY_DYNAMIC_DISPATCH(TileQ4_1);
    case DType::kQ4_K:
      return HWY_DYNAMIC_DISPATCH(TileQ4_K);
    default:
      KVASIR_CHECK(false && "not a 4-bit dtype");
      return nullptr;
  }
}

}  // namespace kvasir
#endif  // HWY_ONCE
