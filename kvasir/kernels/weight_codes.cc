#include "kvasir/kernels/weight_codes.h"

#include <cstring>

#include "kvasir/base/check.h"
#include "kvasir/formats/gguf_quants.h"

namespace kvasir {

namespace {

uint16_t ReadU16(const std::byte* bytes) {
  uint16_t value;
  std::memcpy(&value, bytes, sizeof(value));
  return value;
}

uint8_t ToU8(std::byte byte) { return std::to_integer<uint8_t>(byte); }

// 16 bytes whose low nibbles are inputs 0..15 and whose high nibbles are inputs 16..31.
void ReadNibbles(const std::byte* bytes, uint8_t* codes) {
  for (size_t j = 0; j < 16; ++j) {
    codes[j] = ToU8(bytes[j]) & 0x0F;
    codes[j + 16] = ToU8(bytes[j]) >> 4;
  }
}

// Adds bit 4 of code k from bit k of a 32-bit word.
void AddFifthBits(const std::byte* word, uint8_t* codes) {
  uint32_t bits;
  std::memcpy(&bits, word, sizeof(bits));
  for (size_t k = 0; k < 32; ++k) codes[k] |= ((bits >> k) & 1) << 4;
}

template <typename Layout>
void ReadSuperHeader(const std::byte* block, size_t group, WeightGroup* out) {
  const KScale scale = UnpackKScale(block + Layout::kGroupScales, group);
  out->scale = ReadU16(block + Layout::kScale);
  out->min = ReadU16(block + Layout::kMin);
  out->sub_scale[0] = static_cast<int8_t>(scale.scale);
  out->sub_min = scale.min;
}

void ReadSuperNibbles(const std::byte* nibbles, size_t group, uint8_t* codes) {
  const std::byte* run = nibbles + group / 2 * 32;
  for (size_t k = 0; k < 32; ++k) {
    codes[k] = group % 2 == 0 ? ToU8(run[k]) & 0x0F : ToU8(run[k]) >> 4;
  }
}

void ReadQ6K(const std::byte* block, size_t group, WeightGroup* out) {
  const size_t half = group / 4, quarter = group % 4;
  const std::byte* low = block + Q6_KLayout::kNibbles + half * 64 + quarter % 2 * 32;
  const std::byte* high = block + Q6_KLayout::kHighPairs + half * 32;
  for (size_t k = 0; k < 32; ++k) {
    const uint8_t nibble = quarter < 2 ? ToU8(low[k]) & 0x0F : ToU8(low[k]) >> 4;
    out->codes[k] = nibble | ((ToU8(high[k]) >> (2 * quarter)) & 3) << 4;
  }
  std::memcpy(out->sub_scale, block + Q6_KLayout::kGroupScales + 2 * group, 2);
  out->scale = ReadU16(block + Q6_KLayout::kScale);
}

}  // namespace

size_t CodeBits(DType dtype) {
  switch (dtype) {
    case DType::kQ4_0:
    case DType::kQ4_1:
    case DType::kQ4_K:
      return 4;
    case DType::kQ5_0:
    case DType::kQ5_1:
    case DType::kQ5_K:
      return 5;
    case DType::kQ6_K:
      return 6;
    case DType::kQ8_0:
      return 8;
    default:
      KVASIR_CHECK(false && "not a quantised dtype");
      return 0;
  }
}

void ReadWeightGroup(DType dtype, const std::byte* row, size_t group, WeightGroup* out) {
  const DTypeInfo& info = GetDTypeInfo(dtype);
  const size_t groups_per_block = info.block_elements / 32;
  const std::byte* block = row + group / groups_per_block * info.block_bytes;
  const size_t j = group % groups_per_block;
  *out = WeightGroup();
  switch (dtype) {
    case DType::kQ4_0:
      out->scale = ReadU16(block + Q4_0Layout::kScale);
      ReadNibbles(block + Q4_0Layout::kNibbles, out->codes);
      break;
    case DType::kQ4_1:
      out->scale = ReadU16(block + Q4_1Layout::kScale);
      out->min = ReadU16(block + Q4_1Layout::kMin);
      ReadNibbles(block + Q4_1Layout::kNibbles, out->codes);
      break;
    case DType::kQ5_0:
      out->scale = ReadU16(block + Q5_0Layout::kScale);
      ReadNibbles(block + Q5_0Layout::kNibbles, out->codes);
      AddFifthBits(block + Q5_0Layout::kHighBits, out->codes);
      break;
    case DType::kQ5_1:
      out->scale = ReadU16(block + Q5_1Layout::kScale);
      out->min = ReadU16(block + Q5_1Layout::kMin);
      ReadNibbles(block + Q5_1Layout::kNibbles, out->codes);
      AddFifthBits(block + Q5_1Layout::kHighBits, out->codes);
      break;
    case DType::kQ8_0:
      out->scale = ReadU16(block + Q8_0Layout::kScale);
      std::memcpy(out->codes, block + Q8_0Layout::kCodes, 32);
      break;
    case DType::kQ4_K:
      ReadSuperHeader<Q4_KLayout>(block, j, out);
      ReadSuperNibbles(block + Q4_KLayout::kNibbles, j, out->codes);
      break;
    case DType::kQ5_K:
      ReadSuperHeader<Q5_KLayout>(block, j, out);
      ReadSuperNibbles(block + Q5_KLayout::kNibbles, j, out->codes);
      for (size_t k = 0; k < 32; ++k) {
        out->codes[k] |= ((ToU8(block[Q5_KLayout::kHighBits + k]) >> j) & 1) << 4;
      }
      break;
    case DType::kQ6_K:
      ReadQ6K(block, j, out);
      break;
    default:
      KVASIR_CHECK(false && "not a quantised dtype");
  }
}

void PutPackedCode(size_t code_bits, size_t lane, size_t k, uint8_t code, uint8_t* group_codes) {
  const size_t quad = k / 4, byte = lane * 4 + k % 4;
  if (code_bits == 8) {
    group_codes[quad * 64 + byte] = code;
    return;
  }
  group_codes[quad % 4 * 64 + byte] |= (code & 0x0F) << (quad / 4 * 4);
  if (code_bits == 5) group_codes[256 + byte] |= (code >> 4) << quad;
  if (code_bits == 6) group_codes[256 + quad / 4 * 64 + byte] |= (code >> 4) << (quad % 4 * 2);
}

uint8_t GetPackedCode(size_t code_bits, size_t lane, size_t k, const uint8_t* group_codes) {
  const size_t quad = k / 4, byte = lane * 4 + k % 4;
  if (code_bits == 8) return group_codes[quad * 64 + byte];
  uint8_t code = (group_codes[quad % 4 * 64 + byte] >> (quad / 4 * 4)) & 0x0F;
  if (code_bits == 5) code |= ((group_codes[256 + byte] >> quad) & 1) << 4;
  if (code_bits == 6) {
    code |= ((group_codes[256 + quad / 4 * 64 + byte] >> (quad % 4 * 2)) & 3) << 4;
  }
  return code;
}

}  // namespace kvasir
