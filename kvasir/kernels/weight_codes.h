// The bits of a weight matrix, one group at a time: reads a group of 32 codes and its scales out of
// a GGUF row, and puts or gets single codes in a packed panel. Plain scalar code for packing and
// for embedding look-ups; the kernels have their own vector readers (gemm-inl.h) of the same
// layout.

#ifndef KVASIR_KERNELS_WEIGHT_CODES_H_
#define KVASIR_KERNELS_WEIGHT_CODES_H_

#include <cstddef>
#include <cstdint>

#include "kvasir/formats/dtype.h"

namespace kvasir {

// One group of 32 inputs of one row. Unsigned codes, except Q8_0, whose byte is a signed code.
//   Q4_0, Q5_0: (code - zero) * scale;  Q4_1, Q5_1: code * scale + min;  Q8_0: code * scale
//   Q4_K, Q5_K: code * (scale * sub_scale[0]) - min * sub_min;  Q6_K: (code - 32) * (scale *
//   sub_scale[k / 16])
struct WeightGroup {
  uint8_t codes[32];
  uint16_t scale = 0;  // f16 bits; of the super-block in K-quants
  uint16_t min = 0;
  int8_t sub_scale[2] = {0, 0};  // unsigned 6 bits in Q4_K and Q5_K
  uint8_t sub_min = 0;
};

// Code bits: 4, 5, 6 or 8. REQUIRES a quantised dtype.
size_t CodeBits(DType dtype);

// Bytes of one group's codes of a whole panel (16 rows).
inline size_t GroupCodeBytes(size_t code_bits) { return 64 * code_bits; }

// Reads group `group` of a GGUF row.
void ReadWeightGroup(DType dtype, const std::byte* row, size_t group, WeightGroup* out);

// Puts / gets the code of input `k` (0..31) of `lane` in the codes of one packed group. Putting ORs
// into zeroed bytes.
void PutPackedCode(size_t code_bits, size_t lane, size_t k, uint8_t code, uint8_t* group_codes);
uint8_t GetPackedCode(size_t code_bits, size_t lane, size_t k, const uint8_t* group_codes);

}  // namespace kvasir

#endif  // KVASIR_KERNELS_WEIGHT_CODES_H_
