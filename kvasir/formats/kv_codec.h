// KV codec: how a complete tile of keys or values (kv_block_layout.h) becomes codes and scales, and
// numbers again. This is the definition, in plain C++: the vector encoders of kernels/kv_encode.h
// give the same bytes, the attention kernels read the codes in place, and DequantizeKvBlock exists
// for tests and export only. Encoding is a pure function of the 32 * head_dim numbers.
//
//   int8   one scale a token, f16, the largest magnitude / 127 rounded up; a code is the nearest
//          multiple, in [-127, 127]
//   int4   one scale a token and 32 dims, f16, perhaps negative; a code is the index of one of 16
//          levels (kKvInt4Levels), the one nearest to the number / scale. Of a few first scales the
//          one is taken whose levels, rescaled by least squares, leave the smallest error
//   fp8    one scale a token, f16, the largest magnitude / 448 rounded up; a code is a number of
//          formats/fp8.h
//
// NaN counts as 0, magnitudes above kKvMagnitudeMax (infinity too) as kKvMagnitudeMax, below
// kKvMagnitudeMin as 0. f32 and bf16 tiles are copied number by number.

#ifndef KVASIR_FORMATS_KV_CODEC_H_
#define KVASIR_FORMATS_KV_CODEC_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "kvasir/formats/kv_block_layout.h"

namespace kvasir {

// Rises with every change of the bytes that the same numbers become: part of a block's identity.
inline constexpr uint32_t kKvCodecVersion = 1;

// Names what RotatesKeys and RotatesValues stand for (kernels/hadamard.h), likewise.
inline constexpr std::string_view kKvRotationName = "hadamard";

// The levels of int4, rising. They minimise the squared error of normally distributed numbers,
// which rotated keys and values are close to, in groups of 32 whose scale is found as below
// (Lloyd's iteration, tests/oracle/kv_codebook.py). Not symmetric: the sign of the scale decides
// which end reaches farther, which is worth 0.4 dB.
inline constexpr int8_t kKvInt4Levels[16] = {-127, -99, -79, -62, -47, -34, -21, -9,
                                             3,    15,  28,  41,  55,  72,  93,  122};
// Half way between them, where the nearest level changes; exact in f32.
inline constexpr float kKvInt4Bounds[15] = {-113, -89,   -70.5f, -54.5f, -40.5f, -27.5f, -15,   -3,
                                            9,    21.5f, 34.5f,  48,     63.5f,  82.5f,  107.5f};
// The first scales put the largest magnitude of a group at these numbers, which lie from 0.85 to
// 1.05 times the farthest level apart.
inline constexpr float kKvInt4Reaches[6] = {-108, 108, -120.5f, 120.5f, -133.5f, 133.5f};

inline constexpr float kKvFp8Reach = 448;          // of both fp8 formats
inline constexpr float kKvMagnitudeMax = 0x1p22f;  // so that scales are finite f16
inline constexpr float kKvMagnitudeMin =
    0x1p-40f;  // far below what the smallest f16 scale resolves

// `value` as the codec sees it.
inline float KvEncodable(float value) {
  const float magnitude = value < 0 ? -value : value;
  if (!(magnitude >= kKvMagnitudeMin)) return 0;
  if (magnitude <= kKvMagnitudeMax) return value;
  return value < 0 ? -kKvMagnitudeMax : kKvMagnitudeMax;
}

// The smallest f16 that is not below `value`. REQUIRES 0 <= value <= 65504.
uint16_t F16RoundedUp(float value);

// values[token * head_dim + dim], 32 tokens -> tile.bytes() bytes at `to`, padding included.
void EncodeKvTile(const KvTile& tile, const float* values, std::byte* to);
// And back.
void DecodeKvTile(const KvTile& tile, const std::byte* from, float* values);
// The number of one place.
float DecodeKvNumber(const KvTile& tile, const std::byte* from, uint32_t token, uint32_t dim);

// One layer of a block as rows: k and v [kv_head_count, 32 tokens, head_dim]. Where the model
// rotates keys or values (kernels/hadamard.h) they are the rotated ones.
void DequantizeKvBlock(const KvBlockLayout& layout, const std::byte* block, uint32_t layer,
                       std::span<float> k, std::span<float> v);

}  // namespace kvasir

#endif  // KVASIR_FORMATS_KV_CODEC_H_
