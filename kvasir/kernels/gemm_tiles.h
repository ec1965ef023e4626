// The seams inside the GEMM: gemm.cc cuts a product into row ranges x pairs of panels and calls one
// of these for each; each is one .cc that instantiates gemm-inl.h for some formats, so that the
// parts compile side by side.

#ifndef KVASIR_KERNELS_GEMM_TILES_H_
#define KVASIR_KERNELS_GEMM_TILES_H_

#include <cstddef>

#include "kvasir/kernels/gemm.h"

namespace kvasir {

// Up to this many rows quantised weights are unpacked in registers for each tile of rows; above, a
// pair of panels is unpacked once into scratch and read by all tiles. (Unpacking 4-bit codes costs
// about as much as multiplying two rows.)
inline constexpr size_t kDirectRowsMax = 7;
// The same for 4-bit codes: 8 rows are two tiles, 8 % faster unpacked twice with AVX-512, as fast
// as before with AVX2.
inline constexpr size_t kDirectRowsMax4Bit = 8;

// Rows [row_begin, row_end) of one product, outputs of panels 2 * pair and 2 * pair + 1.
struct GemmTileRange {
  size_t row_begin = 0;
  size_t row_end = 0;
  size_t pair = 0;
};

using GemmTileFn = void (*)(const GemmInput& input, const GemmOutput& output,
                            const GemmTileRange& range, std::byte* scratch);

// The functions on the target in force. Only UnpackedTileFn's needs scratch:
// UnpackedScratchBytes(inputs), 64-byte aligned; the others ignore it. REQUIRES a dtype of the
// group named.
GemmTileFn PlainTileFn(DType dtype);     // f32, f16, bf16
GemmTileFn DirectTileFn4(DType dtype);   // 4-bit codes
GemmTileFn DirectTileFn5(DType dtype);   // 5-bit codes
GemmTileFn DirectTileFn68(DType dtype);  // 6- and 8-bit codes
GemmTileFn UnpackedTileFn();             // any quantised dtype
size_t UnpackedScratchBytes(size_t cols);

}  // namespace kvasir

#endif  // KVASIR_KERNELS_GEMM_TILES_H_
