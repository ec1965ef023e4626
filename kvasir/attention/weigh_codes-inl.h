// The weighted sum of quantised values over the tiles of one split, as integers: sums += weight
// code x value code, exact in any order. Weights carry the values' scales (code_rows-inl.h), so
// that a split ends with one multiplication for each number of the output. Included once per
// target.
//
// Lanes are dims, as in weigh-inl.h. A sum fits 32 bits: 256 tokens * 127 * 32767 < 2^31.

#if defined(KVASIR_ATTENTION_WEIGH_CODES_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef KVASIR_ATTENTION_WEIGH_CODES_INL_H_
#undef KVASIR_ATTENTION_WEIGH_CODES_INL_H_
#else
#define KVASIR_ATTENTION_WEIGH_CODES_INL_H_
#endif

#include <cstddef>
#include <cstdint>

#include "kvasir/attention/quad_codes-inl.h"
#include "kvasir/attention/score-inl.h"

HWY_BEFORE_NAMESPACE();
namespace kvasir {
namespace HWY_NAMESPACE {

// A V tile.
struct ValueCodes {
  const uint8_t* codes;
  size_t blocks;    // of sixteen dims
  ptrdiff_t ahead;  // from here to the tile that will be wanted later
};

// Adds the 32 tokens of a tile to sums [kRows, stride], dims of the lane blocks [block, block +
// kVectors). weights: the rows' chunks of this tile.
template <class Codes, int kRows, int kVectors>
HWY_INLINE void WeighCodeBlocks(const ValueCodes& tile, size_t block, const int16_t* weights,
                                int32_t* sums, size_t stride) {
  constexpr int kNibbles = Codes::kIsInt4 ? 2 : 1;
  IntLanes acc[kRows][kVectors];
  const auto place = [&](int r, int v) {
    return sums + size_t(r) * stride + (block + size_t(v)) * kLaneCount;
  };
  HWY_UNROLL(8)
  for (int r = 0; r < kRows; ++r) {
    HWY_UNROLL(4)
    for (int v = 0; v < kVectors; ++v) {
      KVASIR_FOR_PARTS(i) { acc[r][v].part[i] = hn::LoadU(IntTag(), place(r, v) + i * kPartLanes); }
    }
  }
  const uint8_t* at = tile.codes + block * Codes::kBytes;
  for (size_t quad = 0; quad < kChunkQuads; quad += kNibbles, at += tile.blocks * Codes::kBytes) {
    HWY_UNROLL(2)
    for (int nibble = 0; nibble < kNibbles; ++nibble, weights += 4) {
      AddQuad<Codes, kRows, kVectors>(at, Codes::kBytes, tile.ahead, nibble, 0, weights, acc);
    }
  }
  HWY_UNROLL(8)
  for (int r = 0; r < kRows; ++r) {
    HWY_UNROLL(4)
    for (int v = 0; v < kVectors; ++v) {
      KVASIR_FOR_PARTS(i) { hn::StoreU(acc[r][v].part[i], IntTag(), place(r, v) + i * kPartLanes); }
    }
  }
}

// Adds a tile to the sums of `rows` <= kRows rows. group_blocks: how many lane blocks share a group
// of weights, whose chunks lie group_stride numbers apart.
template <class Codes, int kRows = int{kBlockRowsMax}>
void WeighCodes(size_t rows, const ValueCodes& tile, const int16_t* weights, size_t group_blocks,
                size_t group_stride, int32_t* sums, size_t stride) {
  if constexpr (kRows > 1) {
    if (rows < size_t{kRows}) {
      return WeighCodes<Codes, kRows - 1>(rows, tile, weights, group_blocks, group_stride, sums,
                                          stride);
    }
  }
  constexpr int kWanted = int{SumsMax<Codes>() / (kRows * kParts)};
  constexpr int kVectors = kWanted >= 4 ? 4 : kWanted >= 2 ? 2 : 1;
  for (size_t group = 0; group < tile.blocks; group += group_blocks, weights += group_stride) {
    const size_t end = std::min(group + group_blocks, tile.blocks);
    size_t block = group;
    for (; block + kVectors <= end; block += kVectors) {
      WeighCodeBlocks<Codes, kRows, kVectors>(tile, block, weights, sums, stride);
    }
    if constexpr (kVectors == 4) {
      for (; block + 2 <= end; block += 2) {
        WeighCodeBlocks<Codes, kRows, 2>(tile, block, weights, sums, stride);
      }
    }
    for (; block < end; ++block) {
      WeighCodeBlocks<Codes, kRows, 1>(tile, block, weights, sums, stride);
    }
  }
}

// The codes of a V tile as WideCodes.
template <class Codes>
void WidenValueCodes(const ValueCodes& tile, uint8_t* to) {
  constexpr int kNibbles = Codes::kIsInt4 ? 2 : 1;
  const uint8_t* from = tile.codes;
  for (size_t quad = 0; quad < kChunkQuads; quad += kNibbles) {
    for (size_t block = 0; block < tile.blocks; ++block, from += Codes::kBytes) {
      __builtin_prefetch(from + tile.ahead, 0, 2);
      for (int nibble = 0; nibble < kNibbles; ++nibble) {
        const size_t index = (quad + size_t(nibble)) * tile.blocks + block;
        WidenRegister<Codes>(from, nibble, to + index * WideCodes::kBytes);
      }
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace kvasir
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
