#include "kvasir/formats/block_encoder.h"

#include <cstring>

#include "kvasir/base/check.h"
#include "kvasir/formats/float16.h"

namespace kvasir {

namespace {

constexpr float kF16Max = 65504;

// Rounds `value` to the f16 that is stored at `p`; too large becomes the largest f16.
float StoreF16(float value, std::byte* p) {
  StoreU16(p, F16FromF32(std::clamp(value, -kF16Max, kF16Max)));
  return LoadF16(p);
}

// The number of the largest magnitude, with its sign.
float Extreme(const float* x, size_t count) {
  float extreme = 0;
  for (size_t i = 0; i < count; ++i) {
    if (std::fabs(x[i]) > std::fabs(extreme)) extreme = x[i];
  }
  return extreme;
}

void OrByte(std::byte* p, int bits) { *p |= static_cast<std::byte>(bits); }

// Number i of 32 beside number i + 16.
void OrNibble32(std::byte* nibbles, size_t i, int code) {
  OrByte(nibbles + i % 16, (code & 15) << (i < 16 ? 0 : 4));
}

// The reverse of UnpackKScale, into bytes that are still zero for group j.
void PackKScale(std::byte* packed, size_t j, int scale, int min) {
  if (j < 4) {
    OrByte(packed + j, scale);
    OrByte(packed + j + 4, min);
    return;
  }
  OrByte(packed + j + 4, (scale & 15) | (min & 15) << 4);
  OrByte(packed + j - 4, scale >> 4 << 6);
  OrByte(packed + j, min >> 4 << 6);
}

// The 6-bit multiple of `unit` that is nearest to `value`.
int SixBits(float value, float unit) {
  return unit == 0 ? 0 : static_cast<int>(std::clamp(std::round(value / unit), 0.0f, 63.0f));
}

}  // namespace

bool HasBlockEncoder(DType dtype) {
  return dtype == DType::kQ8_0 || dtype == DType::kQ4_0 || dtype == DType::kQ5_0 ||
         dtype == DType::kQ4_K;
}

BlockEncoder::BlockEncoder(DType dtype) : dtype_(dtype) { KVASIR_CHECK(HasBlockEncoder(dtype)); }

void BlockEncoder::Begin(const float* x, std::byte* block) {
  block_ = block;
  std::memset(block, 0, GetDTypeInfo(dtype_).block_bytes);
  if (dtype_ == DType::kQ4_K) return BeginQ4_K(x);
  // The scales of QuantizeRow.
  const float extreme = Extreme(x, kEncoderGroup);
  if (dtype_ == DType::kQ8_0) {
    d_ = StoreF16(std::fabs(extreme) / 127, block + Q8_0Layout::kScale);
    grid_ = {d_, 0, -127, 127};
  } else {
    const int half = dtype_ == DType::kQ4_0 ? 8 : 16;
    static_assert(Q4_0Layout::kScale == Q5_0Layout::kScale);
    d_ = StoreF16(extreme / static_cast<float>(-half), block + Q4_0Layout::kScale);
    grid_ = {d_, d_ * static_cast<float>(-half), 0, 2 * half - 1};
  }
}

CodeGrid BlockEncoder::Group(size_t j) {
  return dtype_ == DType::kQ4_K ? GroupQ4_K(j, fits_[j]) : grid_;
}

CodeGrid BlockEncoder::Group(size_t j, const float* x) {
  return dtype_ == DType::kQ4_K ? GroupQ4_K(j, Fit(x)) : grid_;
}

void BlockEncoder::Store(size_t i, int code) {
  switch (dtype_) {
    case DType::kQ8_0:
      block_[Q8_0Layout::kCodes + i] = static_cast<std::byte>(static_cast<int8_t>(code));
      break;
    case DType::kQ4_0:
      OrNibble32(block_ + Q4_0Layout::kNibbles, i, code);
      break;
    case DType::kQ5_0:
      OrNibble32(block_ + Q5_0Layout::kNibbles, i, code);
      OrByte(block_ + Q5_0Layout::kHighBits + i / 8, code >> 4 << (i % 8));
      break;
    default:  // Q4_K: groups 2k and 2k + 1 share 32 bytes
      OrByte(block_ + Q4_KLayout::kNibbles + 32 * (i / 64) + i % 32, code << (i / 32 % 2 * 4));
  }
}

// Tries codes of 21 slightly different spacings between the smallest and the largest number (zero
// always lies between them: a minimum is never negative), takes for each the scale and minimum of
// least squares, and keeps the best.
BlockEncoder::GroupFit BlockEncoder::Fit(const float* x) {
  constexpr int kStepsEachWay = 10;
  constexpr float kCount = kEncoderGroup;
  const auto [smallest, largest] = std::minmax_element(x, x + kEncoderGroup);
  const float low = std::min(*smallest, 0.0f), high = std::max(*largest, low);
  GroupFit best = {(high - low) / 15, -low};
  if (!(high > low)) return {0, -low};
  float sum_x = 0;
  for (size_t i = 0; i < kEncoderGroup; ++i) sum_x += x[i];
  float best_error = INFINITY;
  for (int step = -kStepsEachWay; step <= kStepsEachWay; ++step) {
    const float inverse = (15.0f + 0.1f * static_cast<float>(step)) / (high - low);
    float codes[kEncoderGroup];
    float sum_q = 0, sum_qq = 0, sum_qx = 0;
    for (size_t i = 0; i < kEncoderGroup; ++i) {
      // Not negative, so that adding a half and cutting off rounds.
      const float q =
          static_cast<float>(static_cast<int>(std::min((x[i] - low) * inverse + 0.5f, 15.0f)));
      codes[i] = q;
      sum_q += q;
      sum_qq += q * q;
      sum_qx += q * x[i];
    }
    const float determinant = kCount * sum_qq - sum_q * sum_q;
    GroupFit fit;
    if (determinant > 0) fit.scale = (kCount * sum_qx - sum_q * sum_x) / determinant;
    fit.min = (fit.scale * sum_q - sum_x) / kCount;
    if (fit.min < 0) fit = {sum_qq > 0 ? sum_qx / sum_qq : 0, 0};
    if (!(fit.scale > 0)) continue;
    float error = 0;
    for (size_t i = 0; i < kEncoderGroup; ++i) {
      const float difference = fit.scale * codes[i] - fit.min - x[i];
      error += difference * difference;
    }
    if (error < best_error) {
      best_error = error;
      best = fit;
    }
  }
  return best;
}

void BlockEncoder::BeginQ4_K(const float* x) {
  GroupFit largest;
  for (size_t j = 0; j < fits_.size(); ++j) {
    fits_[j] = Fit(x + j * kEncoderGroup);
    largest.scale = std::max(largest.scale, fits_[j].scale);
    largest.min = std::max(largest.min, fits_[j].min);
  }
  d_ = StoreF16(largest.scale / 63, block_ + Q4_KLayout::kScale);
  dmin_ = StoreF16(largest.min / 63, block_ + Q4_KLayout::kMin);
}

CodeGrid BlockEncoder::GroupQ4_K(size_t j, const GroupFit& fit) {
  const int scale = SixBits(fit.scale, d_), min = SixBits(fit.min, dmin_);
  PackKScale(block_ + Q4_KLayout::kGroupScales, j, scale, min);
  return {d_ * static_cast<float>(scale), -dmin_ * static_cast<float>(min), 0, 15};
}

}  // namespace kvasir
