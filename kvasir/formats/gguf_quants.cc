#include "kvasir/formats/gguf_quants.h"

#include <algorithm>
#include <cmath>

#include "kvasir/base/check.h"
#include "kvasir/formats/block_encoder.h"
#include "kvasir/formats/float16.h"

namespace kvasir {

namespace {

int At(const std::byte* p, size_t i) { return std::to_integer<int>(p[i]); }

// The nibble of number i in the 16 bytes of a 32-number block.
int Nibble32(const std::byte* nibbles, size_t i) {
  return i < 16 ? At(nibbles, i) & 15 : At(nibbles, i - 16) >> 4;
}

void DequantizeQ8_0(const std::byte* block, float* x) {
  using L = Q8_0Layout;
  const float d = LoadF16(block + L::kScale);
  for (size_t i = 0; i < L::kElements; ++i) {
    x[i] = d * static_cast<float>(static_cast<int8_t>(block[L::kCodes + i]));
  }
}

void DequantizeQ4_0(const std::byte* block, float* x) {
  using L = Q4_0Layout;
  const float d = LoadF16(block + L::kScale);
  for (size_t i = 0; i < L::kElements; ++i) {
    x[i] = d * static_cast<float>(Nibble32(block + L::kNibbles, i) - 8);
  }
}

void DequantizeQ4_1(const std::byte* block, float* x) {
  using L = Q4_1Layout;
  const float d = LoadF16(block + L::kScale), m = LoadF16(block + L::kMin);
  for (size_t i = 0; i < L::kElements; ++i) {
    x[i] = d * static_cast<float>(Nibble32(block + L::kNibbles, i)) + m;
  }
}

// The 5-bit code of number i.
int Code5(const std::byte* nibbles, uint32_t high_bits, size_t i) {
  return Nibble32(nibbles, i) | static_cast<int>((high_bits >> i & 1) << 4);
}

void DequantizeQ5_0(const std::byte* block, float* x) {
  using L = Q5_0Layout;
  const float d = LoadF16(block + L::kScale);
  const uint32_t high_bits = LoadU32(block + L::kHighBits);
  for (size_t i = 0; i < L::kElements; ++i) {
    x[i] = d * static_cast<float>(Code5(block + L::kNibbles, high_bits, i) - 16);
  }
}

void DequantizeQ5_1(const std::byte* block, float* x) {
  using L = Q5_1Layout;
  const float d = LoadF16(block + L::kScale), m = LoadF16(block + L::kMin);
  const uint32_t high_bits = LoadU32(block + L::kHighBits);
  for (size_t i = 0; i < L::kElements; ++i) {
    x[i] = d * static_cast<float>(Code5(block + L::kNibbles, high_bits, i)) + m;
  }
}

// Q4_K and Q5_K differ in the high bits only; `high_bits` is null for Q4_K.
void DequantizeK45(const std::byte* block, const std::byte* high_bits, const std::byte* nibbles,
                   float* x) {
  using L = Q4_KLayout;
  static_assert(L::kScale == Q5_KLayout::kScale && L::kMin == Q5_KLayout::kMin &&
                L::kGroupScales == Q5_KLayout::kGroupScales);
  const float d = LoadF16(block + L::kScale), dmin = LoadF16(block + L::kMin);
  for (size_t j = 0; j < L::kElements / L::kGroupElements; ++j) {
    const KScale group = UnpackKScale(block + L::kGroupScales, j);
    const float scale = d * static_cast<float>(group.scale);
    const float min = dmin * static_cast<float>(group.min);
    for (size_t l = 0; l < L::kGroupElements; ++l) {
      int code = At(nibbles, 32 * (j / 2) + l) >> (4 * (j % 2)) & 15;
      if (high_bits != nullptr) code |= (At(high_bits, l) >> j & 1) << 4;
      x[L::kGroupElements * j + l] = scale * static_cast<float>(code) - min;
    }
  }
}

void DequantizeQ4_K(const std::byte* block, float* x) {
  DequantizeK45(block, nullptr, block + Q4_KLayout::kNibbles, x);
}

void DequantizeQ5_K(const std::byte* block, float* x) {
  DequantizeK45(block, block + Q5_KLayout::kHighBits, block + Q5_KLayout::kNibbles, x);
}

void DequantizeQ6_K(const std::byte* block, float* x) {
  using L = Q6_KLayout;
  const float d = LoadF16(block + L::kScale);
  for (size_t i = 0; i < L::kElements; ++i) {
    const size_t half = i / 128, quarter = i / 32 % 4, l = i % 32;
    const int nibble =
        At(block + L::kNibbles, 64 * half + 32 * (quarter % 2) + l) >> (4 * (quarter / 2)) & 15;
    const int pair = At(block + L::kHighPairs, 32 * half + l) >> (2 * quarter) & 3;
    const float scale =
        d * static_cast<float>(static_cast<int8_t>(block[L::kGroupScales + i / L::kGroupElements]));
    x[i] = scale * static_cast<float>((nibble | pair << 4) - 32);
  }
}

// 1 / d, or 0 for a block of zeros, whose codes are then all zero.
float Inverse(float d) { return d == 0 ? 0 : 1 / d; }

void QuantizeQ8_0(const float* x, std::byte* block) {
  using L = Q8_0Layout;
  float magnitude_max = 0;
  for (size_t i = 0; i < L::kElements; ++i) {
    magnitude_max = std::max(magnitude_max, std::fabs(x[i]));
  }
  const float d = magnitude_max / 127, inverse = Inverse(d);
  StoreU16(block + L::kScale, F16FromF32(d));
  for (size_t i = 0; i < L::kElements; ++i) {
    const float code = std::clamp(std::round(x[i] * inverse), -127.0f, 127.0f);
    block[L::kCodes + i] = static_cast<std::byte>(static_cast<int8_t>(code));
  }
}

// Nibbles round(x * inverse + shift), number i beside number i + 16.
void StoreNibbles32(const float* x, float inverse, float shift, std::byte* nibbles) {
  const auto code = [&](float v) {
    return static_cast<int>(std::clamp((v * inverse + shift) + 0.5f, 0.0f, 15.0f));
  };
  for (size_t i = 0; i < 16; ++i) {
    nibbles[i] = static_cast<std::byte>(code(x[i]) | code(x[i + 16]) << 4);
  }
}

void QuantizeQ4_0(const float* x, std::byte* block) {
  using L = Q4_0Layout;
  // The number of the largest magnitude becomes code 0, that is -8 * d, whatever its sign: the side
  // that matters has eight steps, the other seven.
  float extreme = 0;
  for (size_t i = 0; i < L::kElements; ++i) {
    if (std::fabs(x[i]) > std::fabs(extreme)) extreme = x[i];
  }
  const float d = extreme / -8;
  StoreU16(block + L::kScale, F16FromF32(d));
  StoreNibbles32(x, Inverse(d), 8.0f, block + L::kNibbles);
}

void QuantizeQ4_1(const float* x, std::byte* block) {
  using L = Q4_1Layout;
  const auto [low, high] = std::minmax_element(x, x + L::kElements);
  const float d = (*high - *low) / 15, m = *low;
  StoreU16(block + L::kScale, F16FromF32(d));
  StoreU16(block + L::kMin, F16FromF32(m));
  float above[L::kElements];
  for (size_t i = 0; i < L::kElements; ++i) above[i] = x[i] - m;
  StoreNibbles32(above, Inverse(d), 0.0f, block + L::kNibbles);
}

void QuantizeQ5_0(const float* x, std::byte* block) {
  using L = Q5_0Layout;
  float extreme = 0;  // becomes code 0, as in Q4_0
  for (size_t i = 0; i < L::kElements; ++i) {
    if (std::fabs(x[i]) > std::fabs(extreme)) extreme = x[i];
  }
  const float d = extreme / -16, inverse = Inverse(d);
  std::memset(block, 0, L::kBytes);
  StoreU16(block + L::kScale, F16FromF32(d));
  for (size_t i = 0; i < L::kElements; ++i) {
    const int code = static_cast<int>(std::clamp((x[i] * inverse + 16.0f) + 0.5f, 0.0f, 31.0f));
    block[L::kNibbles + i % 16] |= static_cast<std::byte>((code & 15) << (i < 16 ? 0 : 4));
    block[L::kHighBits + i / 8] |= static_cast<std::byte>(code >> 4 << (i % 8));
  }
}

void QuantizeQ4_K(const float* x, std::byte* block) {
  BlockEncoder encoder(DType::kQ4_K);
  encoder.Begin(x, block);
  for (size_t i = 0; i < Q4_KLayout::kElements;) {
    const CodeGrid grid = encoder.Group(i / kEncoderGroup);
    for (size_t l = 0; l < kEncoderGroup; ++l, ++i) encoder.Store(i, grid.Nearest(x[i]));
  }
}

// The scale of 16 numbers for codes -32 to 31: the best, by least squares, of 19 slightly different
// spacings.
float FitQ6_KGroup(const float* x) {
  constexpr int kStepsEachWay = 9;
  constexpr size_t kCount = Q6_KLayout::kGroupElements;
  float extreme = 0;
  for (size_t i = 0; i < kCount; ++i) {
    if (std::fabs(x[i]) > std::fabs(extreme)) extreme = x[i];
  }
  if (extreme == 0) return 0;
  float best = 0, best_gain = -1;
  for (int step = -kStepsEachWay; step <= kStepsEachWay; ++step) {
    const float inverse = -(32.0f + 0.1f * static_cast<float>(step)) / extreme;
    float sum_qx = 0, sum_qq = 0;
    for (size_t i = 0; i < kCount; ++i) {
      const float q = std::clamp(std::round(x[i] * inverse), -32.0f, 31.0f);
      sum_qx += q * x[i];
      sum_qq += q * q;
    }
    // With the scale qx / qq the squared error is the sum of x^2 less this.
    const float gain = sum_qq > 0 ? sum_qx * (sum_qx / sum_qq) : 0;
    if (gain > best_gain) {
      best_gain = gain;
      best = sum_qq > 0 ? sum_qx / sum_qq : 0;
    }
  }
  return best;
}

void QuantizeQ6_K(const float* x, std::byte* block) {
  using L = Q6_KLayout;
  constexpr size_t kGroups = L::kElements / L::kGroupElements;
  float scales[kGroups], largest = 0;
  for (size_t k = 0; k < kGroups; ++k) {
    scales[k] = FitQ6_KGroup(x + k * L::kGroupElements);
    largest = std::max(largest, std::fabs(scales[k]));
  }
  std::memset(block, 0, L::kBytes);
  StoreU16(block + L::kScale, F16FromF32(largest / 127));
  const float d = LoadF16(block + L::kScale), inverse = Inverse(d);
  for (size_t i = 0; i < L::kElements; ++i) {
    const size_t half = i / 128, quarter = i / 32 % 4, l = i % 32, k = i / L::kGroupElements;
    const float multiple = std::clamp(std::round(scales[k] * inverse), -127.0f, 127.0f);
    block[L::kGroupScales + k] = static_cast<std::byte>(static_cast<int8_t>(multiple));
    const float code = std::round(x[i] * Inverse(d * multiple));
    const int biased = static_cast<int>(std::clamp(code, -32.0f, 31.0f)) + 32;
    block[L::kNibbles + 64 * half + 32 * (quarter % 2) + l] |=
        static_cast<std::byte>((biased & 15) << (quarter / 2 * 4));
    block[L::kHighPairs + 32 * half + l] |= static_cast<std::byte>(biased >> 4 << (2 * quarter));
  }
}

using DequantizeBlock = void (*)(const std::byte* block, float* x);
using QuantizeBlock = void (*)(const float* x, std::byte* block);

DequantizeBlock DequantizerOf(DType dtype) {
  switch (dtype) {
    case DType::kF32:
      return [](const std::byte* p, float* x) { *x = LoadF32(p); };
    case DType::kF16:
      return [](const std::byte* p, float* x) { *x = LoadF16(p); };
    case DType::kBF16:
      return [](const std::byte* p, float* x) { *x = LoadBF16(p); };
    case DType::kQ8_0:
      return DequantizeQ8_0;
    case DType::kQ4_0:
      return DequantizeQ4_0;
    case DType::kQ4_1:
      return DequantizeQ4_1;
    case DType::kQ5_0:
      return DequantizeQ5_0;
    case DType::kQ5_1:
      return DequantizeQ5_1;
    case DType::kQ4_K:
      return DequantizeQ4_K;
    case DType::kQ5_K:
      return DequantizeQ5_K;
    case DType::kQ6_K:
      return DequantizeQ6_K;
  }
  return nullptr;
}

QuantizeBlock QuantizerOf(DType dtype) {
  switch (dtype) {
    case DType::kF32:
      return [](const float* x, std::byte* p) { std::memcpy(p, x, sizeof *x); };
    case DType::kF16:
      return [](const float* x, std::byte* p) { StoreU16(p, F16FromF32(*x)); };
    case DType::kBF16:
      return [](const float* x, std::byte* p) { StoreU16(p, BF16FromF32(*x)); };
    case DType::kQ8_0:
      return QuantizeQ8_0;
    case DType::kQ4_0:
      return QuantizeQ4_0;
    case DType::kQ4_1:
      return QuantizeQ4_1;
    case DType::kQ5_0:
      return QuantizeQ5_0;
    case DType::kQ4_K:
      return QuantizeQ4_K;
    case DType::kQ6_K:
      return QuantizeQ6_K;
    default:
      return nullptr;
  }
}

}  // namespace

void DequantizeRow(DType dtype, const std::byte* src, size_t count, float* dst) {
  const DTypeInfo& info = GetDTypeInfo(dtype);
  KVASIR_CHECK(count % info.block_elements == 0);
  const DequantizeBlock dequantize = DequantizerOf(dtype);
  for (size_t i = 0; i < count; i += info.block_elements, src += info.block_bytes) {
    dequantize(src, dst + i);
  }
}

bool CanQuantize(DType dtype) { return QuantizerOf(dtype) != nullptr; }

void QuantizeRow(DType dtype, const float* src, size_t count, std::byte* dst) {
  const DTypeInfo& info = GetDTypeInfo(dtype);
  const QuantizeBlock quantize = QuantizerOf(dtype);
  KVASIR_CHECK(quantize != nullptr && count % info.block_elements == 0);
  for (size_t i = 0; i < count; i += info.block_elements, dst += info.block_bytes) {
    quantize(src + i, dst);
  }
}

}  // namespace kvasir
