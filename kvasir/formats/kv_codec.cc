#include "kvasir/formats/kv_codec.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "kvasir/base/check.h"
#include "kvasir/formats/float16.h"
#include "kvasir/formats/fp8.h"

namespace kvasir {

namespace {

const Fp8Spec& Fp8Of(KvFormat format) { return format == KvFormat::kFp8E4M3 ? kFp8E4M3 : kFp8E5M2; }

float LargestMagnitude(std::span<const float> numbers) {
  float largest = 0;
  for (const float x : numbers) largest = std::max(largest, std::fabs(x));
  return largest;
}

// 1 / scale; 0 for the scale 0, so that all codes are those of 0.
float Inverse(float scale) { return scale == 0 ? 0 : 1 / scale; }

// The index of the level nearest to `x`, the lower one half way.
uint8_t NearestLevel(float x) {
  uint8_t index = 0;
  for (const float bound : kKvInt4Bounds) index = uint8_t(index + (x > bound ? 1 : 0));
  return index;
}

// The f16 scale of a group of int4 codes.
uint16_t Int4Scale(std::span<const float> numbers) {
  const float largest = LargestMagnitude(numbers);
  if (largest == 0) return 0;
  float best_score = -1, best_scale = 0;
  for (const float reach : kKvInt4Reaches) {
    const float inverse = reach / largest;
    // Against levels c, the scale of least squares is sum(x c) / sum(c c), and the squared error it
    // leaves is sum(x x) - sum(x c)^2 / sum(c c).
    float xc = 0, cc = 0;
    for (const float x : numbers) {
      const float level = kKvInt4Levels[NearestLevel(x * inverse)];
      xc += x * level;
      cc += level * level;
    }
    const float score = xc * xc / cc;
    if (score > best_score) {
      best_score = score;
      best_scale = xc / cc;
    }
  }
  return F16FromF32(best_scale);
}

uint16_t ScaleOf(KvFormat format, std::span<const float> numbers) {
  if (format == KvFormat::kInt4) return Int4Scale(numbers);
  const float reach = format == KvFormat::kInt8 ? 127 : kKvFp8Reach;
  return F16RoundedUp(LargestMagnitude(numbers) / reach);
}

uint8_t CodeOf(KvFormat format, float scaled) {
  switch (format) {
    case KvFormat::kInt8:
      return uint8_t(int8_t(std::nearbyintf(scaled)));
    case KvFormat::kInt4:
      return NearestLevel(scaled);
    default:
      return Fp8FromF32(Fp8Of(format), scaled);
  }
}

float NumberOf(KvFormat format, uint8_t code) {
  switch (format) {
    case KvFormat::kInt8:
      return int8_t(code);
    case KvFormat::kInt4:
      return kKvInt4Levels[code & 15];
    default:
      return F32FromFp8(Fp8Of(format), code);
  }
}

void StoreNumber(const KvTile& tile, float value, uint32_t token, uint32_t dim, std::byte* to) {
  const size_t index = tile.Element(token, dim);
  if (tile.format == KvFormat::kF32) {
    std::memcpy(to + 4 * index, &value, sizeof value);
  } else {
    StoreU16(to + 2 * index, BF16FromF32(value));
  }
}

}  // namespace

uint16_t F16RoundedUp(float value) {
  const uint16_t nearest = F16FromF32(value);
  return F32FromF16(nearest) < value ? uint16_t(nearest + 1) : nearest;
}

void EncodeKvTile(const KvTile& tile, const float* values, std::byte* to) {
  std::memset(to, 0, tile.bytes());
  std::vector<float> group;  // numbers that share a scale
  for (uint32_t token = 0; token < kKvBlockTokens; ++token) {
    const float* row = values + size_t{token} * tile.head_dim;
    if (!tile.quantized()) {
      for (uint32_t dim = 0; dim < tile.head_dim; ++dim)
        StoreNumber(tile, row[dim], token, dim, to);
      continue;
    }
    for (uint32_t first = 0; first < tile.head_dim; first += tile.scale_dims()) {
      const uint32_t count = std::min(tile.scale_dims(), tile.head_dim - first);
      group.resize(count);
      for (uint32_t i = 0; i < count; ++i) group[i] = KvEncodable(row[first + i]);
      const uint16_t scale = ScaleOf(tile.format, group);
      StoreU16(to + tile.ScaleByte(token, first), scale);
      const float inverse = Inverse(F32FromF16(scale));
      for (uint32_t i = 0; i < count; ++i) {
        const uint8_t code = CodeOf(tile.format, group[i] * inverse);
        to[tile.CodeByte(token, first + i)] |= std::byte(code << tile.CodeShift(token));
      }
    }
  }
}

float DecodeKvNumber(const KvTile& tile, const std::byte* from, uint32_t token, uint32_t dim) {
  if (tile.format == KvFormat::kF32) return LoadF32(from + 4 * tile.Element(token, dim));
  if (tile.format == KvFormat::kBF16) return LoadBF16(from + 2 * tile.Element(token, dim));
  const auto code = uint8_t(uint8_t(from[tile.CodeByte(token, dim)]) >> tile.CodeShift(token));
  return NumberOf(tile.format, code) * LoadF16(from + tile.ScaleByte(token, dim));
}

void DecodeKvTile(const KvTile& tile, const std::byte* from, float* values) {
  for (uint32_t token = 0; token < kKvBlockTokens; ++token) {
    for (uint32_t dim = 0; dim < tile.head_dim; ++dim) {
      *values++ = DecodeKvNumber(tile, from, token, dim);
    }
  }
}

void DequantizeKvBlock(const KvBlockLayout& layout, const std::byte* block, uint32_t layer,
                       std::span<float> k, std::span<float> v) {
  const size_t tile_numbers = size_t{kKvBlockTokens} * layout.head_dim;
  KVASIR_CHECK(k.size() == layout.kv_head_count * tile_numbers && v.size() == k.size());
  for (uint32_t head = 0; head < layout.kv_head_count; ++head) {
    DecodeKvTile(layout.KTile(layer), block + layout.KTileOffset(layer, head),
                 k.data() + head * tile_numbers);
    DecodeKvTile(layout.VTile(layer), block + layout.VTileOffset(layer, head),
                 v.data() + head * tile_numbers);
  }
}

}  // namespace kvasir
