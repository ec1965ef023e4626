// float16.h: IEEE half precision (f16) and bfloat16 (bf16) to and from f32, one number at a time,
// exact. Rounding is to nearest, ties to even; too large becomes infinity; a NaN stays a (quiet)
// NaN. Pure functions over bit patterns, little-endian in memory. Kernels have vector code of their
// own and are tested against these.

#ifndef KVASIR_FORMATS_FLOAT16_H_
#define KVASIR_FORMATS_FLOAT16_H_

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace kvasir {

//  f32:  sign 1 | exponent 8, bias 127 | mantissa 23
//  f16:  sign 1 | exponent 5, bias  15 | mantissa 10
//  bf16: sign 1 | exponent 8, bias 127 | mantissa  7, the upper half of an f32

inline float F32FromF16(uint16_t half) {
  const uint32_t sign = uint32_t{half & 0x8000u} << 16;
  const uint32_t exponent = (half >> 10) & 0x1Fu;
  const uint32_t mantissa = half & 0x3FFu;
  if (exponent == 0) {
    // Zero and subnormals are mantissa * 2^-24, which f32 holds exactly as a normal number.
    const float magnitude = static_cast<float>(mantissa) * 0x1p-24f;
    return std::bit_cast<float>(std::bit_cast<uint32_t>(magnitude) | sign);
  }
  if (exponent == 31) return std::bit_cast<float>(sign | 0x7F800000u | (mantissa << 13));
  return std::bit_cast<float>(sign | ((exponent + (127 - 15)) << 23) | (mantissa << 13));
}

inline uint16_t F16FromF32(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const uint16_t sign = static_cast<uint16_t>((bits >> 16) & 0x8000u);
  const uint32_t magnitude = bits & 0x7FFFFFFFu;
  if (magnitude > 0x7F800000u) {
    return static_cast<uint16_t>(sign | 0x7E00u | ((magnitude >> 13) & 0x3FFu));
  }
  // 65520 lies half way between the largest f16 (65504) and the next power of two: it and all above
  // round to infinity.
  if (magnitude >= 0x477FF000u) return sign | 0x7C00u;
  if (magnitude < 0x38800000u) {
    // Below 2^-14 the result is subnormal, a multiple of 2^-24. 0.5 in f32 has steps of 2^-24, so
    // that the addition rounds to such a multiple, ties to even, and its lowest bits are the
    // result.
    const float sum = std::bit_cast<float>(magnitude) + 0.5f;
    return static_cast<uint16_t>(sign | (std::bit_cast<uint32_t>(sum) - 0x3F000000u));
  }
  // A carry out of the mantissa rises into the exponent, as it should.
  const uint32_t rounded = magnitude + 0xFFFu + ((magnitude >> 13) & 1u);
  return static_cast<uint16_t>(sign | ((rounded - (uint32_t{127 - 15} << 23)) >> 13));
}

inline float F32FromBF16(uint16_t half) { return std::bit_cast<float>(uint32_t{half} << 16); }

inline uint16_t BF16FromF32(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  if ((bits & 0x7FFFFFFFu) > 0x7F800000u) return static_cast<uint16_t>((bits >> 16) | 0x40u);
  return static_cast<uint16_t>((bits + 0x7FFFu + ((bits >> 16) & 1u)) >> 16);
}

// Little-endian numbers at any address.
inline uint16_t LoadU16(const std::byte* p) {
  uint16_t v;
  std::memcpy(&v, p, sizeof v);
  return v;
}
inline uint32_t LoadU32(const std::byte* p) {
  uint32_t v;
  std::memcpy(&v, p, sizeof v);
  return v;
}
inline float LoadF32(const std::byte* p) { return std::bit_cast<float>(LoadU32(p)); }
inline float LoadF16(const std::byte* p) { return F32FromF16(LoadU16(p)); }
inline float LoadBF16(const std::byte* p) { return F32FromBF16(LoadU16(p)); }
inline void StoreU16(std::byte* p, uint16_t v) { std::memcpy(p, &v, sizeof v); }

}  // namespace kvasir

#endif  // KVASIR_FORMATS_FLOAT16_H_
