// Blocks of quantised layouts, as attend-inl.h reads what is read as f32: the unencoded tiles of
// the blocks that the queries lie in, and fp8, whose codes are widened, times their scales, into
// scratch. The interface is that of block_source-inl.h. int8 and int4 are read as integers
// (encoded_attend-inl.h). Included once per target.

#if defined(KVASIR_ATTENTION_ENCODED_SOURCE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef KVASIR_ATTENTION_ENCODED_SOURCE_INL_H_
#undef KVASIR_ATTENTION_ENCODED_SOURCE_INL_H_
#else
#define KVASIR_ATTENTION_ENCODED_SOURCE_INL_H_
#endif

#include <algorithm>

#include "kvasir/attention/block_source-inl.h"
#include "kvasir/attention/item-inl.h"
#include "kvasir/formats/float16.h"
#include "kvasir/formats/fp8.h"

HWY_BEFORE_NAMESPACE();
namespace kvasir {
namespace HWY_NAMESPACE {

// The own blocks of the item's sequence, in bf16.
struct OwnSource : BlockSource<PagedBF16Tile> {
  // Rows are in order of position: those that read a block unencoded come before those for which it
  // is an earlier block, whose scores are there already.
  static constexpr bool kSharesScores = true;

  static const std::byte* Key(const Item& item, size_t tile) {
    return Tiles(item, tile) + item.run.kv.open->layout.KTileOffset(0, uint32_t(item.kv_head));
  }
  static const std::byte* Value(const Item& item, size_t tile) {
    return Tiles(item, tile) + item.run.kv.open->layout.VTileOffset(0, uint32_t(item.kv_head));
  }

 private:
  static const std::byte* Tiles(const Item& item, size_t tile) {
    const OpenKv& open = *item.run.kv.open;
    return open.Tiles(open.Slot(size_t(item.work.sequence), int32_t(tile)), item.run.layer);
  }
};

// Sixteen fp8 codes, each in a lane, as numbers: exponent and mantissa are brought to their places
// in an f32, whose exponent is then too small by a constant (F32FromFp8). The encoder makes no NaN.
template <KvFormat kFormat>
HWY_INLINE hn::Vec<FloatTag> NumbersOfFp8(hn::Vec<IntTag> codes) {
  constexpr Fp8Spec kSpec = kFormat == KvFormat::kFp8E4M3 ? kFp8E4M3 : kFp8E5M2;
  const auto magnitude = hn::And(codes, hn::Set(IntTag(), 0x7F));
  const auto sign = hn::ShiftLeft<24>(hn::And(codes, hn::Set(IntTag(), 0x80)));
  const auto small = hn::BitCast(FloatTag(), hn::ShiftLeft<23 - kSpec.mantissa_bits>(magnitude));
  const float scale = std::bit_cast<float>(uint32_t(127 + 127 - kSpec.bias) << 23);
  return hn::Or(hn::Mul(small, hn::Set(FloatTag(), scale)), hn::BitCast(FloatTag(), sign));
}

template <KvFormat kFormat>
struct Fp8Source : BlockSource<PagedBF16Tile> {
  static bool StreamsKeys(const Item&) { return false; }
  static bool StreamsValues(const Item&) { return false; }

  // Codes of four dims share a lane, tokens are lanes.
  static void WidenKeys(const Item& item, const TilePointer& tile, const TilePlace&) {
    const KvTile places = item.run.kv.layout.KTile(item.run.layer);
    const auto* scales = reinterpret_cast<const uint16_t*>(tile.data + places.code_bytes());
    const auto* from = reinterpret_cast<const uint8_t*>(tile.data);
    float* to = item.scratch.k_tile;
    for (size_t half = 0; half < kHalvesPerTile; ++half) {
      const FloatLanes scale = LoadF16Lanes(scales + half * kLaneCount);
      for (size_t d = 0; d < item.head_dim; d += 4, from += 4 * kLaneCount) {
        PrefetchSameOffset<PagedBF16Tile>(tile, from);
        FloatLanes numbers[4];
        WidenQuads(from, numbers);
        const size_t count = std::min(item.head_dim - d, size_t{4});
        for (size_t i = 0; i < count; ++i, to += kLaneCount) StoreLanes(Mul(numbers[i], scale), to);
      }
    }
  }

  // Codes of four tokens share a lane, dims are lanes.
  static void WidenValues(const Item& item, const TilePointer& tile, const TilePlace&, size_t begin,
                          size_t end) {
    const KvTile places = item.run.kv.layout.VTile(item.run.layer);
    const size_t dims = item.padded_v_dim;
    const auto* scales = reinterpret_cast<const uint16_t*>(tile.data + places.code_bytes());
    for (size_t quad = begin / 4; quad < (end + 3) / 4; ++quad) {
      const auto* from = reinterpret_cast<const uint8_t*>(tile.data) + quad * dims * 4;
      float* to = item.scratch.v_tile + 4 * quad * dims;
      for (size_t d = 0; d < dims; d += kLaneCount, from += 4 * kLaneCount, to += kLaneCount) {
        PrefetchSameOffset<PagedBF16Tile>(tile, from);
        FloatLanes numbers[4];
        WidenQuads(from, numbers);
        for (size_t i = 0; i < 4; ++i) {
          const FloatLanes scale = SetLanes(F32FromF16(scales[4 * quad + i]));
          StoreLanes(Mul(numbers[i], scale), to + i * dims);
        }
      }
    }
  }

 private:
  // Number i of each of sixteen quads.
  HWY_INLINE static void WidenQuads(const uint8_t* from, FloatLanes (&numbers)[4]) {
    const Bytes64 bytes = LoadBytes(from);
    KVASIR_FOR_PARTS(part) {
      auto codes = hn::BitCast(IntTag(), bytes.part[part]);
      for (size_t i = 0; i < 4; ++i, codes = hn::ShiftRight<8>(codes)) {
        numbers[i].part[part] = NumbersOfFp8<kFormat>(codes);
      }
    }
  }
};

}  // namespace HWY_NAMESPACE
}  // namespace kvasir
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
