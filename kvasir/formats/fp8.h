// fp8.h: the two 8-bit floating-point formats of the Open Compute Project, e4m3 and e5m2, to and
// from f32, one number at a time. Rounding is to nearest, ties to even; what is too large becomes
// the largest finite number, as caches of keys and values do elsewhere; a NaN stays a NaN. Pure
// functions over bit patterns. Kernels have vector code of their own and are tested against these.

#ifndef KVASIR_FORMATS_FP8_H_
#define KVASIR_FORMATS_FP8_H_

#include <bit>
#include <cstdint>

namespace kvasir {

//  e4m3: sign 1 | exponent 4, bias  7 | mantissa 3; no infinity, S.1111.111 is NaN, largest 448
//  e5m2: sign 1 | exponent 5, bias 15 | mantissa 2; the upper half of an f16, largest 57344
struct Fp8Spec {
  int mantissa_bits;
  int bias;
  uint8_t largest;  // finite, as a code
  uint8_t nan;
};
inline constexpr Fp8Spec kFp8E4M3 = {3, 7, 0x7E, 0x7F};
inline constexpr Fp8Spec kFp8E5M2 = {2, 15, 0x7B, 0x7F};
inline constexpr float kFp8E4M3Max = 448;
inline constexpr float kFp8E5M2Max = 57344;

inline float F32FromFp8(const Fp8Spec& spec, uint8_t code) {
  const uint32_t sign = uint32_t{code & 0x80u} << 24;
  const uint32_t magnitude = code & 0x7Fu;
  if (magnitude > spec.largest) {
    // e5m2 alone has an infinity, right above its largest number.
    const bool is_infinity = magnitude == 0x7Cu && spec.mantissa_bits == 2;
    return std::bit_cast<float>(sign | (is_infinity ? 0x7F800000u : 0x7FC00000u));
  }
  // The exponent and the mantissa at their places in an f32 are a number that is too small by
  // 2^(127 - bias), subnormal where the code is; multiplying by powers of two is exact.
  const float small = std::bit_cast<float>(magnitude << (23 - spec.mantissa_bits));
  const float scale = std::bit_cast<float>(uint32_t(127 + 127 - spec.bias) << 23);
  return std::bit_cast<float>(std::bit_cast<uint32_t>(small * scale) | sign);
}

inline uint8_t Fp8FromF32(const Fp8Spec& spec, float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const uint32_t sign = (bits >> 24) & 0x80u;
  const uint32_t magnitude = bits & 0x7FFFFFFFu;
  if (magnitude > 0x7F800000u) return uint8_t(sign | spec.nan);
  const int shift = 23 - spec.mantissa_bits;
  const uint32_t rebias = uint32_t(127 - spec.bias) << 23;
  uint32_t code;
  if (magnitude < rebias + (1u << 23)) {
    // Below the smallest normal number 2^(1 - bias) the result is a multiple of
    // 2^(1 - bias - mantissa_bits). A power of two whose f32 neighbours are that far apart makes
    // the addition round to such a multiple, ties to even.
    const uint32_t magic = uint32_t(127 + 1 - spec.bias - spec.mantissa_bits + 23) << 23;
    const float sum = std::bit_cast<float>(magnitude) + std::bit_cast<float>(magic);
    code = std::bit_cast<uint32_t>(sum) - magic;
  } else {
    // A carry out of the mantissa rises into the exponent, as it should.
    const uint32_t half = (1u << (shift - 1)) - 1 + ((magnitude >> shift) & 1u);
    code = (magnitude + half - rebias) >> shift;
  }
  if (code > spec.largest) code = spec.largest;
  return uint8_t(sign | code);
}

}  // namespace kvasir

#endif  // KVASIR_FORMATS_FP8_H_
