// KV encode: a complete tile of bf16 keys or values (formats/kv_block_layout.h) becomes a tile of
// codes and scales, the same bytes as EncodeKvTile of formats/kv_codec.h makes of the same numbers,
// on every target. Pure functions, any thread.

#ifndef KVASIR_KERNELS_KV_ENCODE_H_
#define KVASIR_KERNELS_KV_ENCODE_H_

#include <cstddef>

#include "kvasir/formats/kv_block_layout.h"

namespace kvasir {

// The most head dimensions of an encoded tile: those that attention takes.
inline constexpr uint32_t kKvEncodeDimMax = 576;

// `open` is a bf16 tile of to.side and to.head_dim; writes to.bytes() at `bytes`, both 64-byte
// aligned. A bf16 tile is copied. REQUIRES a format other than f32.
void EncodeOpenKvTile(const KvTile& to, const std::byte* open, std::byte* bytes);

}  // namespace kvasir

#endif  // KVASIR_KERNELS_KV_ENCODE_H_
