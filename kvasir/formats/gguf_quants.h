// gguf_quants.h: the bytes of GGUF's quantised blocks, and scalar conversion of rows to and from
// f32. The layout constants are for everybody who repacks weights: only this file knows the
// offsets. Pure functions; the conversions are the truth that vector kernels are tested against,
// not fast.
//
// A row is a sequence of blocks without gaps. All numbers are little-endian; blocks may lie at any
// address. `d` is the scale, `m` the minimum (both f16), x[i] the i-th number of a block.
//
//   Q8_0  | d 2 | codes 32 |                         x[i] = d * int8 codes[i]
//   Q4_0  | d 2 | nibbles 16 |                       x[i] = d * (n[i] - 8)
//   Q4_1  | d 2 | m 2 | nibbles 16 |                 x[i] = d * n[i] + m
//   Q5_0  | d 2 | high bits 4 | nibbles 16 |         x[i] = d * (n[i] + 16 * h[i] - 16)
//   Q5_1  | d 2 | m 2 | high bits 4 | nibbles 16 |   x[i] = d * (n[i] + 16 * h[i]) + m
//
// In those, n[i] is the low nibble of byte i for i < 16 and the high nibble of byte i - 16 above;
// h[i] is bit i of the 32-bit little-endian number `high bits`.
//
// The K types have 256 numbers in a block. Q4_K and Q5_K: 8 groups j of 32, group scale s[j] and
// minimum t[j] of 6 bits each, packed into 12 bytes (UnpackKScale):
//
//   Q4_K  | d 2 | dmin 2 | s,t 12 | nibbles 128 |               x = (d * s[j]) * n - dmin * t[j]
//   Q5_K  | d 2 | dmin 2 | s,t 12 | high 32 | nibbles 128 |     the same with n + 16 * h
//
// Number l of group j has its nibble in byte 32 * (j / 2) + l, low for even j, high for odd j, and
// its high bit in bit j of byte l of `high`.
//
//   Q6_K  | low nibbles 128 | high pairs 64 | int8 s 16 | d 2 |  x = (d * s[k]) * (n + 16 * h - 32)
//
// Q6_K has 16 groups k of 16. Number l < 32 of quarter q < 4 of half g < 2 (i = 128 g + 32 q + l)
// has its nibble in byte 64 g + 32 (q % 2) + l, low for q < 2, its two high bits at bit 2 q of byte
// 32 g + l of `high pairs`, and k = i / 16.

#ifndef KVASIR_FORMATS_GGUF_QUANTS_H_
#define KVASIR_FORMATS_GGUF_QUANTS_H_

#include <cstddef>
#include <cstdint>

#include "kvasir/formats/dtype.h"

namespace kvasir {

// Byte offsets inside a block, the numbers it holds and its size in bytes.
struct Q8_0Layout {
  static constexpr size_t kScale = 0, kCodes = 2, kBytes = 34, kElements = 32;
};
struct Q4_0Layout {
  static constexpr size_t kScale = 0, kNibbles = 2, kBytes = 18, kElements = 32;
};
struct Q4_1Layout {
  static constexpr size_t kScale = 0, kMin = 2, kNibbles = 4, kBytes = 20, kElements = 32;
};
struct Q5_0Layout {
  static constexpr size_t kScale = 0, kHighBits = 2, kNibbles = 6, kBytes = 22, kElements = 32;
};
struct Q5_1Layout {
  static constexpr size_t kScale = 0, kMin = 2, kHighBits = 4, kNibbles = 8;
  static constexpr size_t kBytes = 24, kElements = 32;
};
struct Q4_KLayout {
  static constexpr size_t kScale = 0, kMin = 2, kGroupScales = 4, kNibbles = 16;
  static constexpr size_t kBytes = 144, kElements = 256, kGroupElements = 32;
};
struct Q5_KLayout {
  static constexpr size_t kScale = 0, kMin = 2, kGroupScales = 4, kHighBits = 16, kNibbles = 48;
  static constexpr size_t kBytes = 176, kElements = 256, kGroupElements = 32;
};
struct Q6_KLayout {
  static constexpr size_t kNibbles = 0, kHighPairs = 128, kGroupScales = 192, kScale = 208;
  static constexpr size_t kBytes = 210, kElements = 256, kGroupElements = 16;
};

// Scale and minimum, [0, 63] each, of group j < 8 from the 12 bytes `packed` of Q4_K and Q5_K:
//
//   byte 0-3:  bits 0-5 s[0..3], bits 6-7 the upper two bits of s[4..7]
//   byte 4-7:  bits 0-5 t[0..3], bits 6-7 the upper two bits of t[4..7]
//   byte 8-11: low nibble s[4..7], high nibble t[4..7], their lower four bits
struct KScale {
  uint8_t scale;
  uint8_t min;
};
inline KScale UnpackKScale(const std::byte* packed, size_t j) {
  const auto at = [packed](size_t i) { return std::to_integer<uint8_t>(packed[i]); };
  if (j < 4) {
    return {static_cast<uint8_t>(at(j) & 63), static_cast<uint8_t>(at(j + 4) & 63)};
  }
  return {static_cast<uint8_t>((at(j + 4) & 15) | (at(j - 4) >> 6 << 4)),
          static_cast<uint8_t>((at(j + 4) >> 4) | (at(j) >> 6 << 4))};
}

// Writes the `count` numbers that lie at `src` to dst[0, count). Bit-exact with ggml's reference.
// REQUIRES count to be a multiple of the dtype's block_elements.
void DequantizeRow(DType dtype, const std::byte* src, size_t count, float* dst);

// True for the types that QuantizeRow writes: F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q4_K, Q6_K.
bool CanQuantize(DType dtype);

// The reverse, each block by itself and each number to the nearest code. The types with 32 numbers
// in a block get the scale that the extremes give and are bit-exact with ggml's reference; Q4_K and
// Q6_K search scales (and minima) of small squared error, a search of our own. REQUIRES finite
// numbers, CanQuantize(dtype), count a multiple of block_elements, and DTypeBytes(dtype, count)
// bytes at `dst`.
void QuantizeRow(DType dtype, const float* src, size_t count, std::byte* dst);

}  // namespace kvasir

#endif  // KVASIR_FORMATS_GGUF_QUANTS_H_
