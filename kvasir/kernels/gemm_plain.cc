// GEMM tiles of plain weights: f32, f16 and bf16, widened in registers.
#include "kvasir/base/check.h"
#include "kvasir/kernels/gemm_tiles.h"
#include "kvasir/kernels/highway_targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kvasir/kernels/gemm_plain.cc"
#include <hwy/foreach_target.h>
// The tiles need the target chosen above.
#include "kvasir/kernels/gemm-inl.h"

HWY_BEFORE_NAMESPACE();
namespace kvasir {
namespace HWY_NAMESPACE {

void TileF32(const GemmInput& input, const GemmOutput& output, const GemmTileRange& range,
             std::byte*) {
  RunPair<F32Panel>(input, output, range);
}
void TileF16(const GemmInput& input, const GemmOutput& output, const GemmTileRange& range,
             std::byte*) {
  RunPair<F16Panel>(input, output, range);
}
void TileBF16(const GemmInput& input, const GemmOutput& output, const GemmTileRange& range,
              std::byte*) {
  RunPair<BF16Panel>(input, output, range);
}

}  // namespace HWY_NAMESPACE
}  // namespace kvasir
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace kvasir {

HWY_EXPORT(TileF32);
HWY_EXPORT(TileF16);
HWY_EXPORT(TileBF16);

GemmTileFn PlainTileFn(DType dtype) {
  switch (dtype) {
    case DType::kF32:
      return HWY_DYNAMIC_DISPATCH(TileF32);
    case DType::kF16:
      return HWY_DYNAMIC_DISPATCH(TileF16);
    case DType::kBF16:
      return HWY_DYNAMIC_DISPATCH(TileBF16);
    default:
      KVASIR_CHECK(false && "not a plain dtype");
      return nullptr;
  }
}

}  // namespace kvasir
#endif  // HWY_ONCE
