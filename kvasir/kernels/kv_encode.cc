#include "kvasir/kernels/kv_encode.h"

#include <algorithm>
#include <cstring>

#include "kvasir/base/check.h"
#include "kvasir/formats/float16.h"
#include "kvasir/formats/fp8.h"
#include "kvasir/formats/kv_codec.h"
#include "kvasir/kernels/highway_targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kvasir/kernels/kv_encode.cc"
#include <hwy/foreach_target.h>
// The lanes need the target chosen above.
#include "kvasir/kernels/lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace kvasir {
namespace HWY_NAMESPACE {

// Lanes are tokens throughout, so that each one does what the scalar codec does for its token: the
// tile is unpacked to f32, one dim after another, its 32 tokens side by side, encoded in registers,
// and the codes, still 32 bits each, are packed into their places.
//
// Scratch of one tile, [dim][32 tokens]: numbers, then their codes.
union Scratch {
  float numbers[kKvEncodeDimMax * kKvBlockTokens];
  int32_t codes[kKvEncodeDimMax * kKvBlockTokens];
};

using Floats = hn::Vec<FloatTag>;
using Ints = hn::Vec<IntTag>;

// KvEncodable.
HWY_INLINE Floats Encodable(Floats x) {
  const FloatTag tag;
  const auto magnitude = hn::Abs(x);
  const auto bounded = hn::CopySign(hn::Min(magnitude, hn::Set(tag, kKvMagnitudeMax)), x);
  // False for NaN.
  return hn::IfThenElseZero(hn::Ge(magnitude, hn::Set(tag, kKvMagnitudeMin)), bounded);
}

void UnpackKeys(const KvTile& tile, const uint16_t* open, float* numbers) {
  const size_t pair_count = (tile.head_dim + 1) / 2;
  for (size_t half = 0; half < 2; ++half) {
    for (size_t pair = 0; pair < pair_count; ++pair) {
      FloatLanes low, high;
      LoadBF16Pairs(open + (half * pair_count + pair) * 2 * kLaneCount, &low, &high);
      float* to = numbers + 2 * pair * kKvBlockTokens + half * kLaneCount;
      KVASIR_FOR_PARTS(i) {
        low.part[i] = Encodable(low.part[i]);
        high.part[i] = Encodable(high.part[i]);
      }
      StoreLanes(low, to);
      StoreLanes(high, to + kKvBlockTokens);
    }
  }
}

void UnpackValues(const KvTile& tile, const uint16_t* open, float* numbers) {
  // A pair of tokens is copied at a time, sixteen dims of all pairs, so that each dim's tokens lie
  // side by side.
  alignas(64) uint16_t turned[kLaneCount][kKvBlockTokens];
  for (size_t first = 0; first < tile.head_dim; first += kLaneCount) {
    const size_t count = std::min(tile.head_dim - first, kLaneCount);
    for (size_t token = 0; token < kKvBlockTokens; token += 2) {
      const uint16_t* pairs = open + token * tile.head_dim + 2 * first;
      for (size_t dim = 0; dim < count; ++dim) {
        std::memcpy(&turned[dim][token], pairs + 2 * dim, 2 * sizeof(uint16_t));
      }
    }
    for (size_t dim = 0; dim < count; ++dim) {
      float* to = numbers + (first + dim) * kKvBlockTokens;
      for (size_t token = 0; token < kKvBlockTokens; token += kLaneCount) {
        FloatLanes x = LoadBF16Lanes(turned[dim] + token);
        KVASIR_FOR_PARTS(i) x.part[i] = Encodable(x.part[i]);
        StoreLanes(x, to + token);
      }
    }
  }
}

// Numbers that share scales: `count` dims from `numbers` on, kPartLanes tokens of each.
struct Group {
  const float* numbers;
  size_t count;

  HWY_INLINE Floats Load(size_t dim) const {
    return hn::Load(FloatTag(), numbers + dim * kKvBlockTokens);
  }
};

HWY_INLINE Floats LargestMagnitude(const Group& group) {
  Floats largest = hn::Zero(FloatTag());
  for (size_t dim = 0; dim < group.count; ++dim) {
    largest = hn::Max(largest, hn::Abs(group.Load(dim)));
  }
  return largest;
}

// The bounds as a search tree: node 1 is the middle one, nodes 2i and 2i + 1 those on either side
// of node i. One step from a node to the next is a look-up, which registers of eight lanes and more
// have, a comparison and two additions: four steps take a third of what fifteen comparisons do.
alignas(64) constexpr float kBoundTree[16] = {0,
                                              kKvInt4Bounds[7],
                                              kKvInt4Bounds[3],
                                              kKvInt4Bounds[11],
                                              kKvInt4Bounds[1],
                                              kKvInt4Bounds[5],
                                              kKvInt4Bounds[9],
                                              kKvInt4Bounds[13],
                                              kKvInt4Bounds[0],
                                              kKvInt4Bounds[2],
                                              kKvInt4Bounds[4],
                                              kKvInt4Bounds[6],
                                              kKvInt4Bounds[8],
                                              kKvInt4Bounds[10],
                                              kKvInt4Bounds[12],
                                              kKvInt4Bounds[14]};

struct LevelTable {
  alignas(64) float levels[16];
  constexpr LevelTable() : levels() {
    for (size_t i = 0; i < 16; ++i) levels[i] = kKvInt4Levels[i];
  }
};
constexpr LevelTable kLevelTable;

// from[lane]. REQUIRES lanes of 0 .. kPartLanes - 1.
HWY_INLINE Floats LookUp(const float* from, Ints lane) {
  return hn::TableLookupLanes(hn::Load(FloatTag(), from), hn::IndicesFromVec(FloatTag(), lane));
}

// The bounds of nodes of the depth that begins with node kFirst.
template <size_t kFirst>
HWY_INLINE Floats BoundsOfNodes(Ints node) {
  if constexpr (kFirst < kPartLanes) return LookUp(kBoundTree, node);
  return LookUp(kBoundTree + kFirst, hn::And(node, hn::Set(IntTag(), kFirst - 1)));
}

// The levels with the indices 0 .. 15.
HWY_INLINE Floats LevelsAt(Ints index) {
  if constexpr (kPartLanes == 16) return LookUp(kLevelTable.levels, index);
  const auto is_upper = hn::BitCast(FloatTag(), hn::ShiftLeft<28>(index));
  const auto lane = hn::And(index, hn::Set(IntTag(), 7));
  return hn::IfNegativeThenElse(is_upper, LookUp(kLevelTable.levels + 8, lane),
                                LookUp(kLevelTable.levels, lane));
}

// The index of the level nearest to `x` by the tree: how many bounds are below it.
HWY_INLINE Ints SearchIndex(Floats x) {
  const IntTag tag;
  const auto child = [&](Ints node, Floats bounds) {
    // A comparison that holds is -1.
    const auto above = hn::VecFromMask(FloatTag(), hn::Gt(x, bounds));
    return hn::Sub(hn::Add(node, node), hn::BitCast(tag, above));
  };
  Ints node = child(hn::Set(tag, 1), hn::Set(FloatTag(), kKvInt4Bounds[7]));
  node = child(node, BoundsOfNodes<2>(node));
  node = child(node, BoundsOfNodes<4>(node));
  node = child(node, BoundsOfNodes<8>(node));
  return hn::And(node, hn::Set(tag, 15));
}

// The sum of what each bound below `x` adds, exact in any order: for registers too short for the
// tree. Three chains of five additions hide their latency, one of fifteen would not.
template <typename Step>
HWY_INLINE Floats SumOfBoundsBelow(Floats x, const Step& step) {
  const FloatTag tag;
  Floats sums[3] = {hn::Zero(tag), hn::Zero(tag), hn::Zero(tag)};
  HWY_UNROLL(15) for (size_t i = 0; i < 15; ++i) {
    const auto above = hn::Gt(x, hn::Set(tag, kKvInt4Bounds[i]));
    sums[i % 3] = hn::Add(sums[i % 3], hn::IfThenElseZero(above, hn::Set(tag, step(i))));
  }
  return hn::Add(hn::Add(sums[0], sums[1]), sums[2]);
}

constexpr bool kSearches = kPartLanes >= 8;

// The level nearest to `x`, as a number.
HWY_INLINE Floats NearestLevel(Floats x) {
  if constexpr (kSearches) return LevelsAt(SearchIndex(x));
  const auto step = [](size_t i) { return float(kKvInt4Levels[i + 1] - kKvInt4Levels[i]); };
  return hn::Add(hn::Set(FloatTag(), kKvInt4Levels[0]), SumOfBoundsBelow(x, step));
}

// Its index.
HWY_INLINE Ints NearestIndex(Floats x) {
  if constexpr (kSearches) return SearchIndex(x);
  return hn::ConvertTo(IntTag(), SumOfBoundsBelow(x, [](size_t) { return 1.0f; }));
}

// The scales of int4 groups, not rounded: Int4Scale of the codec.
Floats Int4Scales(const Group& group) {
  const FloatTag tag;
  const Floats largest = LargestMagnitude(group);
  Floats best_score = hn::Set(tag, -1), best_scale = hn::Zero(tag);
  for (const float reach : kKvInt4Reaches) {
    const Floats inverse = hn::Div(hn::Set(tag, reach), largest);
    Floats xc = hn::Zero(tag), cc = hn::Zero(tag);
    for (size_t dim = 0; dim < group.count; ++dim) {
      const Floats x = group.Load(dim);
      const Floats level = NearestLevel(hn::Mul(x, inverse));
      // Not fused: the codec rounds the product.
      xc = hn::Add(xc, hn::Mul(x, level));
      cc = hn::Add(cc, hn::Mul(level, level));
    }
    const Floats score = hn::Div(hn::Mul(xc, xc), cc);
    const auto better = hn::Gt(score, best_score);
    best_score = hn::IfThenElse(better, score, best_score);
    best_scale = hn::IfThenElse(better, hn::Div(xc, cc), best_scale);
  }
  return hn::IfThenElseZero(hn::Gt(largest, hn::Zero(tag)), best_scale);
}

HWY_INLINE Ints Fp8Codes(const Fp8Spec& spec, Floats x) {
  const IntTag tag;
  const auto set = [&](uint32_t bits) { return hn::Set(tag, int32_t(bits)); };
  const auto bits = hn::BitCast(tag, x);
  const auto magnitude = hn::And(bits, set(0x7FFFFFFFu));
  const auto sign = hn::And(hn::ShiftRight<24>(bits), set(0x80u));
  const uint32_t rebias = uint32_t(127 - spec.bias) << 23;
  const uint32_t magic = uint32_t(127 + 1 - spec.bias - spec.mantissa_bits + 23) << 23;
  const auto sum = hn::Add(hn::BitCast(FloatTag(), magnitude), hn::BitCast(FloatTag(), set(magic)));
  const auto subnormal = hn::Sub(hn::BitCast(tag, sum), set(magic));
  const int shift = 23 - spec.mantissa_bits;
  const auto last = hn::And(hn::ShiftRightSame(magnitude, shift), set(1));
  const auto rounded = hn::Add(magnitude, hn::Add(last, set((1u << (shift - 1)) - 1 - rebias)));
  const auto normal = hn::ShiftRightSame(rounded, shift);
  const auto is_small = hn::Lt(magnitude, set(rebias + (1u << 23)));
  const auto code = hn::IfThenElse(is_small, subnormal, normal);
  return hn::Or(sign, hn::Min(code, set(spec.largest)));
}

HWY_INLINE Ints Codes(KvFormat format, Floats scaled) {
  switch (format) {
    case KvFormat::kInt8:
      return hn::NearestInt(scaled);
    case KvFormat::kInt4:
      return NearestIndex(scaled);
    default:
      return Fp8Codes(format == KvFormat::kFp8E4M3 ? kFp8E4M3 : kFp8E5M2, scaled);
  }
}

// Encodes kPartLanes tokens of a group: their scales to `scales`, their codes in place of the
// numbers.
void EncodeGroup(KvFormat format, size_t count, float* numbers, uint16_t* scales) {
  const FloatTag tag;
  const Group group = {numbers, count};
  alignas(64) float scale[kPartLanes], inverse[kPartLanes];
  if (format == KvFormat::kInt4) {
    hn::Store(Int4Scales(group), tag, scale);
  } else {
    const float reach = format == KvFormat::kInt8 ? 127 : kKvFp8Reach;
    hn::Store(hn::Div(LargestMagnitude(group), hn::Set(tag, reach)), tag, scale);
  }
  for (size_t i = 0; i < kPartLanes; ++i) {
    scales[i] = format == KvFormat::kInt4 ? F16FromF32(scale[i]) : F16RoundedUp(scale[i]);
    const float rounded = F32FromF16(scales[i]);
    inverse[i] = rounded == 0 ? 0 : 1 / rounded;
  }
  const Floats inverses = hn::Load(tag, inverse);
  for (size_t dim = 0; dim < count; ++dim) {
    const Ints codes = Codes(format, hn::Mul(group.Load(dim), inverses));
    hn::Store(hn::And(codes, hn::Set(IntTag(), 0xFF)), IntTag(),
              reinterpret_cast<int32_t*>(numbers + dim * kKvBlockTokens));
  }
}

// Four dims in each 32-bit lane, sixteen tokens side by side; `codes` has zeros up to padded_dim.
void PackKeys(const KvTile& tile, const int32_t* codes, std::byte* bytes) {
  const IntTag tag;
  const auto pack = [&](const int32_t* from) {
    const auto low =
        hn::Or(hn::Load(tag, from), hn::ShiftLeft<8>(hn::Load(tag, from + kKvBlockTokens)));
    const auto high = hn::Or(hn::Load(tag, from + 2 * kKvBlockTokens),
                             hn::ShiftLeft<8>(hn::Load(tag, from + 3 * kKvBlockTokens)));
    return hn::Or(low, hn::ShiftLeft<16>(high));
  };
  const bool is_int4 = tile.format == KvFormat::kInt4;
  for (uint32_t dim = 0; dim < tile.padded_dim(); dim += 4) {
    const int32_t* from = codes + dim * kKvBlockTokens;
    for (uint32_t token = 0; token < kKvLaneTokens; token += kPartLanes) {
      auto* to = reinterpret_cast<int32_t*>(bytes + tile.CodeByte(token, dim));
      const Ints first = pack(from + token), second = pack(from + kKvLaneTokens + token);
      if (is_int4) {
        hn::Store(hn::Or(first, hn::ShiftLeft<4>(second)), tag, to);
      } else {
        hn::Store(first, tag, to);
        hn::Store(second, tag,
                  reinterpret_cast<int32_t*>(bytes + tile.CodeByte(kKvLaneTokens + token, dim)));
      }
    }
  }
}

// Four tokens in each 32-bit word.
void PackValues(const KvTile& tile, const int32_t* codes, std::byte* bytes) {
  const IntTag tag;
  const hn::Rebind<uint8_t, IntTag> byte_tag;
  for (uint32_t dim = 0; dim < tile.padded_dim(); ++dim, codes += kKvBlockTokens) {
    alignas(64) uint32_t words[kKvBlockTokens / 4];
    for (size_t token = 0; token < kKvBlockTokens; token += kPartLanes) {
      hn::StoreU(hn::DemoteTo(byte_tag, hn::Load(tag, codes + token)), byte_tag,
                 reinterpret_cast<uint8_t*>(words) + token);
    }
    const bool is_int4 = tile.format == KvFormat::kInt4;
    for (uint32_t i = 0; i < kKvBlockTokens / 4; i += is_int4 ? 2 : 1) {
      const uint32_t word = is_int4 ? words[i] | words[i + 1] << 4 : words[i];
      std::memcpy(bytes + tile.CodeByte(4 * i, dim), &word, sizeof word);
    }
  }
}

void EncodeTile(const KvTile& tile, const std::byte* open, std::byte* bytes) {
  alignas(64) Scratch scratch;
  const auto* from = reinterpret_cast<const uint16_t*>(open);
  if (tile.is_key()) {
    UnpackKeys(tile, from, scratch.numbers);
  } else {
    UnpackValues(tile, from, scratch.numbers);
  }
  for (uint32_t first = 0; first < tile.head_dim; first += tile.scale_dims()) {
    const size_t count = std::min(tile.scale_dims(), tile.head_dim - first);
    for (uint32_t token = 0; token < kKvBlockTokens; token += kPartLanes) {
      EncodeGroup(tile.format, count, scratch.numbers + first * kKvBlockTokens + token,
                  reinterpret_cast<uint16_t*>(bytes + tile.ScaleByte(token, first)));
    }
  }
  std::fill(scratch.codes + tile.head_dim * kKvBlockTokens,
            scratch.codes + tile.padded_dim() * kKvBlockTokens, 0);
  if (tile.is_key()) {
    PackKeys(tile, scratch.codes, bytes);
  } else {
    PackValues(tile, scratch.codes, bytes);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace kvasir
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace kvasir {

namespace {
HWY_EXPORT(EncodeTile);
}  // namespace

void EncodeOpenKvTile(const KvTile& to, const std::byte* open, std::byte* bytes) {
  KVASIR_CHECK(to.head_dim <= kKvEncodeDimMax && to.format != KvFormat::kF32);
  if (!to.quantized()) {
    std::memcpy(bytes, open, to.bytes());
    return;
  }
  HWY_DYNAMIC_DISPATCH(EncodeTile)(to, open, bytes);
}

}  // namespace kvasir
#endif  // HWY_ONCE
