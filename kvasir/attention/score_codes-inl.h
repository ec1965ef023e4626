// Scores of a block of query rows against one quantised K tile: exact integer sums of the codes'
// products, then one multiplication by the scales of the key and of the row. Included once per
// target.
//
//   int8   score = sum_c k q * k_scale[token] * q_scale[row]
//   int4   score = sum over groups of 32 dims of (sum_c k q * k_scale[group][token]), *
//   q_scale[row]
//
// Lanes are tokens, as in score-inl.h. A sum fits 32 bits: 576 dims * 127 * 16383 < 2^31.

#if defined(KVASIR_ATTENTION_SCORE_CODES_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef KVASIR_ATTENTION_SCORE_CODES_INL_H_
#undef KVASIR_ATTENTION_SCORE_CODES_INL_H_
#else
#define KVASIR_ATTENTION_SCORE_CODES_INL_H_
#endif

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "kvasir/attention/quad_codes-inl.h"
#include "kvasir/attention/score-inl.h"

HWY_BEFORE_NAMESPACE();
namespace kvasir {
namespace HWY_NAMESPACE {

// Rows of queries as codes: [chunk of 32 dims][row][32].
struct QueryCodes {
  const int16_t* codes;  // of the first row of the block
  size_t chunk_stride;   // numbers from one chunk to the next
  const float* scales;   // [rows]
};

// A K tile.
struct KeyCodes {
  const uint8_t* codes;
  const uint16_t* scales;  // f16 [32], or [groups][32]
  size_t quads;            // dims / 4, rounded up
  ptrdiff_t ahead;         // from here to the tile that will be wanted later
};

// Calls finish(group, half, h, sums) with the integer sums[row][h] of kRows rows against each of
// kHalves halves of the tile from kHalf on: over all dims, or of each group of 32 dims.
template <class Codes, bool kIsGrouped, int kRows, int kHalf, int kHalves, class Finish>
HWY_INLINE void DotKeyHalves(const KeyCodes& tile, const int16_t* rows, size_t chunk_stride,
                             const Finish& finish) {
  // Both halves share a register of int4.
  const size_t step = Codes::kIsInt4 ? 0 : tile.quads * Codes::kBytes;
  const uint8_t* at = tile.codes + size_t{kHalf} * step;
  IntLanes sums[kRows][kHalves];
  const size_t chunk_count = (tile.quads + kChunkQuads - 1) / kChunkQuads;
  for (size_t chunk = 0; chunk < chunk_count; ++chunk) {
    if (kIsGrouped || chunk == 0) {
      HWY_UNROLL(8)
      for (int r = 0; r < kRows; ++r) {
        HWY_UNROLL(2)
        for (int h = 0; h < kHalves; ++h) {
          KVASIR_FOR_PARTS(i) sums[r][h].part[i] = hn::Zero(IntTag());
        }
      }
    }
    const int16_t* x = rows + chunk * chunk_stride;
    const size_t quads = std::min(tile.quads - chunk * kChunkQuads, kChunkQuads);
    for (size_t quad = 0; quad < quads; ++quad, x += 4, at += Codes::kBytes) {
      AddQuad<Codes, kRows, kHalves>(at, step, tile.ahead, kHalf, 1, x, sums);
    }
    if (!kIsGrouped && chunk + 1 < chunk_count) continue;
    HWY_UNROLL(2)
    for (int h = 0; h < kHalves; ++h) finish(chunk, kHalf + h, h, sums);
  }
}

// scores[r * kScoreStride + 16 * half ..] of kRows rows.
template <class Codes, bool kIsGrouped, int kRows, int kHalf, int kHalves>
HWY_INLINE void ScoreKeyHalves(const KeyCodes& tile, const QueryCodes& q, float* scores) {
  const size_t last = kIsGrouped ? (tile.quads - 1) / kChunkQuads : 0;
  const auto finish = [&](size_t chunk, int half, int h, const IntLanes(&sums)[kRows][kHalves]) {
    const size_t group = kIsGrouped ? chunk : 0;
    float* at = scores + size_t(half) * kLaneCount;
    const FloatLanes scale =
        LoadF16Lanes(tile.scales + group * kKvBlockTokens + size_t(half) * kLaneCount);
    HWY_UNROLL(8)
    for (int r = 0; r < kRows; ++r, at += kScoreStride) {
      const FloatLanes sum = ToFloat(sums[r][h]);
      FloatLanes score = group == 0 ? Mul(sum, scale) : MulAdd(sum, scale, LoadLanes(at));
      if (group == last) score = Mul(score, SetLanes(q.scales[r]));
      StoreLanes(score, at);
    }
  };
  DotKeyHalves<Codes, kIsGrouped, kRows, kHalf, kHalves>(tile, q.codes, q.chunk_stride, finish);
}

// Scores of `rows` <= kRows query rows against the 32 tokens of a tile.
template <class Codes, bool kIsGrouped, int kRows = int{kBlockRowsMax}>
void ScoreKeyCodes(size_t rows, const KeyCodes& tile, const QueryCodes& q, float* scores) {
  if constexpr (kRows > 1) {
    if (rows < size_t{kRows}) {
      return ScoreKeyCodes<Codes, kIsGrouped, kRows - 1>(rows, tile, q, scores);
    }
  }
  if constexpr (kRows * kParts * kHalvesPerTile <= SumsMax<Codes>()) {
    ScoreKeyHalves<Codes, kIsGrouped, kRows, 0, int{kHalvesPerTile}>(tile, q, scores);
  } else {
    ScoreKeyHalves<Codes, kIsGrouped, kRows, 0, 1>(tile, q, scores);
    ScoreKeyHalves<Codes, kIsGrouped, kRows, 1, 1>(tile, q, scores);
  }
}

// The codes of a K tile as WideCodes.
template <class Codes>
void WidenKeyCodes(const KeyCodes& tile, uint8_t* to) {
  for (int half = 0; half < int{kHalvesPerTile}; ++half) {
    const size_t first = Codes::kIsInt4 ? 0 : size_t(half) * tile.quads * Codes::kBytes;
    const uint8_t* from = tile.codes + first;
    for (size_t quad = 0; quad < tile.quads; ++quad) {
      if (!Codes::kIsInt4 || half == 0) __builtin_prefetch(from + tile.ahead, 0, 2);
      WidenRegister<Codes>(from, half, to);
      from += Codes::kBytes;
      to += WideCodes::kBytes;
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace kvasir
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
