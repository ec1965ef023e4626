// KvBlockLayout: where each key and value lies inside a KV block, and in which format. This file
// alone knows the offsets; the pool, the attention kernels, the cache and the record format all ask
// it. docs/kv_formats.md draws the tiles.
//
// A block holds kKvBlockTokens tokens of all KV layers:
//
//   layer 0                                       layer 1 ...
//   | K head 0 | K head 1 | ... | V head 0 | ... || K head 0 | ...
//
// each tile 64-byte aligned, the block a multiple of 4 KiB. Formats are chosen for each layer and,
// within it, for K and for V.
//
// A tile is the 32 tokens of one KV head, 32 * head_dim numbers, in the order that lets one vector
// register serve 16 lanes without sums across lanes:
//
//   K f32:   [token/16][dim]   [token%16]           lanes are tokens, a register holds one dim
//   K bf16:  [token/16][dim/2] [token%16] [dim%2]   lanes are tokens, two dims in each 32-bit lane
//   K int8:  [token/16][dim/4] [token%16] [dim%4]   lanes are tokens, four dims in each
//   K int4:            [dim/4] [token%16] [dim%4]   low nibbles: tokens 0-15, high nibbles: 16-31
//   V f32:   [token]   [dim]                        lanes are dims: row-major
//   V bf16:  [token/2] [dim]   [token%2]            lanes are dims, two tokens in each 32-bit lane
//   V int8:  [token/4] [dim]   [token%4]            lanes are dims, four tokens in each
//   V int4:  [token/8] [dim]   [token%4]            low nibbles: token%8 < 4, high nibbles: the
//   rest
//
// fp8 codes lie where int8's do. The two halves of a 32-bit bf16 lane widen to f32 with one shift
// (low half) or one mask (high half). head_dim is padded to an even number in bf16 K tiles, to a
// multiple of 4 in K tiles of codes and of 16 in V tiles of codes; padding is 0.
//
// Behind the codes, 64-byte aligned, lie their scales, f16:
//
//   int8, fp8:  [32 tokens]
//   int4:       [head_dim/32] [32 tokens]           one for each token and 32 dims
//
// f32 and bf16 encode each number by itself, so a block's bytes do not depend on when it was
// filled. The other formats (kv_codec.h) encode a tile as a whole, once, when its block is
// complete; until then it lies elsewhere, unencoded.

#ifndef KVASIR_FORMATS_KV_BLOCK_LAYOUT_H_
#define KVASIR_FORMATS_KV_BLOCK_LAYOUT_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace kvasir {

inline constexpr uint32_t kKvBlockTokens = 32;
inline constexpr uint32_t kKvLaneTokens = 16;  // tokens that share a register in a K tile

enum class KvFormat : uint8_t { kF32, kBF16, kInt8, kInt4, kFp8E4M3, kFp8E5M2 };
inline constexpr KvFormat kKvFormats[] = {KvFormat::kF32,  KvFormat::kBF16,    KvFormat::kInt8,
                                          KvFormat::kInt4, KvFormat::kFp8E4M3, KvFormat::kFp8E5M2};
// "f32", "bf16", "int8", "int4", "fp8_e4m3", "fp8_e5m2"
std::string_view KvFormatName(KvFormat format);
std::optional<KvFormat> KvFormatFromName(std::string_view name);
// Whether tiles hold codes and scales.
inline constexpr bool IsQuantized(KvFormat format) {
  return format != KvFormat::kF32 && format != KvFormat::kBF16;
}

inline constexpr bool IsInteger(KvFormat format) {
  return format == KvFormat::kInt8 || format == KvFormat::kInt4;
}

enum class KvSide : uint8_t { kKey, kValue };

// The formats of one layer.
struct KvFormats {
  KvFormat k = KvFormat::kBF16;
  KvFormat v = KvFormat::kBF16;

  constexpr KvFormats() = default;
  constexpr KvFormats(KvFormat both) : k(both), v(both) {}  // NOLINT: both in one format
  constexpr KvFormats(KvFormat key, KvFormat value) : k(key), v(value) {}

  bool quantized() const { return IsQuantized(k) || IsQuantized(v); }
  bool operator==(const KvFormats&) const = default;
};
// "int8" when both are the same, "int8/int4" (K before V) when not.
std::string KvFormatsName(KvFormats formats);
// Reads those, and "k8v4" for int8/int4. Absent for other names, and for f32 beside another format:
// the block that is not complete yet is kept in one format for both, f32 alone or bf16.
std::optional<KvFormats> KvFormatsFromName(std::string_view name);
// What KvFormatsFromName reads, for messages: "f32|bf16|...|K/V".
std::string KvFormatsHelp();

// The places inside one tile.
struct KvTile {
  KvFormat format = KvFormat::kBF16;
  KvSide side = KvSide::kKey;
  uint32_t head_dim = 0;

  bool is_key() const { return side == KvSide::kKey; }
  bool quantized() const { return IsQuantized(format); }
  // head_dim with its padding.
  uint32_t padded_dim() const {
    const uint32_t multiple = PaddingMultiple();
    return (head_dim + multiple - 1) / multiple * multiple;
  }
  // Bytes of the numbers or codes, a multiple of 64.
  size_t code_bytes() const {
    const size_t numbers = size_t{kKvBlockTokens} * padded_dim();
    const size_t bytes = format == KvFormat::kF32    ? 4 * numbers
                         : format == KvFormat::kBF16 ? 2 * numbers
                         : format == KvFormat::kInt4 ? numbers / 2
                                                     : numbers;
    return (bytes + 63) / 64 * 64;
  }
  // Scales of one token.
  uint32_t scale_count() const {
    if (!quantized()) return 0;
    return format == KvFormat::kInt4 ? (head_dim + kInt4GroupDims - 1) / kInt4GroupDims : 1;
  }
  // Dims that share a scale.
  uint32_t scale_dims() const { return format == KvFormat::kInt4 ? kInt4GroupDims : head_dim; }
  // Bytes of the tile, a multiple of 64.
  size_t bytes() const {
    return code_bytes() + size_t{scale_count()} * kKvBlockTokens * sizeof(uint16_t);
  }

  // f32 and bf16: the index of a number inside the tile, in numbers.
  size_t Element(uint32_t token, uint32_t dim) const {
    const size_t half = token / kKvLaneTokens, lane = token % kKvLaneTokens;
    if (format == KvFormat::kF32) {
      return is_key() ? (half * head_dim + dim) * kKvLaneTokens + lane
                      : size_t{token} * head_dim + dim;
    }
    return is_key() ? ((half * (padded_dim() / 2) + dim / 2) * kKvLaneTokens + lane) * 2 + dim % 2
                    : (size_t{token / 2} * head_dim + dim) * 2 + token % 2;
  }
  // The others: the byte with the code of a number, and by how many bits it is shifted there.
  size_t CodeByte(uint32_t token, uint32_t dim) const {
    const size_t padded = padded_dim();
    if (format == KvFormat::kInt4) {
      return is_key() ? (dim / 4) * 64 + (token % kKvLaneTokens) * 4 + dim % 4
                      : (size_t{token / 8} * padded + dim) * 4 + token % 4;
    }
    return is_key() ? (token / kKvLaneTokens) * kKvLaneTokens * padded + (dim / 4) * 64 +
                          (token % kKvLaneTokens) * 4 + dim % 4
                    : (size_t{token / 4} * padded + dim) * 4 + token % 4;
  }
  uint32_t CodeShift(uint32_t token) const {
    if (format != KvFormat::kInt4) return 0;
    return is_key() ? token / kKvLaneTokens * 4 : token % 8 / 4 * 4;
  }
  // The byte where the scale of a number begins.
  size_t ScaleByte(uint32_t token, uint32_t dim) const {
    return code_bytes() + sizeof(uint16_t) * (size_t{dim / scale_dims()} * kKvBlockTokens + token);
  }

  bool operator==(const KvTile&) const = default;

  static constexpr uint32_t kInt4GroupDims = 32;

 private:
  uint32_t PaddingMultiple() const {
    if (quantized()) return is_key() ? 4 : 16;
    return 2;  // bf16 K tiles need it; the others are as long as they
  }
};

// The formats of the layers one by one, and where each layer begins: made by MixedKvLayout.
struct KvLayerMap {
  std::vector<KvFormats> formats;  // [layer_count]
  std::vector<size_t> offsets;     // [layer_count + 1], in bytes
};

struct KvBlockLayout {
  uint32_t layer_count = 0;
  uint32_t kv_head_count = 0;
  uint32_t head_dim = 0;
  KvFormats format = KvFormat::kBF16;  // of all layers, without `layers`
  std::shared_ptr<const KvLayerMap> layers = nullptr;
  // Whether integer codes are of rotated keys and values (kernels/hadamard.h).
  bool rotated = true;
  // Of quantised layouts: how many blocks are open together. Blocks b with the same b / open_blocks
  // are a group, and a token reads those of its own group unencoded. 1, 2, 4 or 8: groups do not
  // cross the splits of attention.
  uint32_t open_blocks = 1;

  KvFormats formats(uint32_t layer) const { return layers ? layers->formats[layer] : format; }
  KvTile KTile(uint32_t layer) const { return {formats(layer).k, KvSide::kKey, head_dim}; }
  KvTile VTile(uint32_t layer) const { return {formats(layer).v, KvSide::kValue, head_dim}; }
  // Whether a tile of any layer is encoded as a whole, so that a block that is not complete has to
  // lie elsewhere.
  bool quantized() const;
  // Whether the model rotates keys (and queries) or values (and outputs) of a layer: where codes
  // are integers. fp8 keeps large dims apart by its exponents and gains nothing.
  bool RotatesKeys(uint32_t layer) const { return rotated && IsInteger(formats(layer).k); }
  bool RotatesValues(uint32_t layer) const { return rotated && IsInteger(formats(layer).v); }
  bool rotates() const;
  // The layout of those blocks: everything in bf16.
  KvBlockLayout OpenLayout() const {
    return {layer_count, kv_head_count, head_dim, KvFormat::kBF16};
  }

  size_t layer_bytes(uint32_t layer) const {
    return size_t{kv_head_count} * (KTile(layer).bytes() + VTile(layer).bytes());
  }
  size_t LayerOffset(uint32_t layer) const {
    return layers ? layers->offsets[layer] : layer * layer_bytes(0);
  }
  // Bytes of a whole block, a multiple of 4096.
  size_t block_bytes() const { return (LayerOffset(layer_count) + 4095) / 4096 * 4096; }
  // Bytes of keys and values per token, scales and padding included.
  double bytes_per_token() const { return double(block_bytes()) / kKvBlockTokens; }
  // Bits per key or value, scales and padding included.
  double bits_per_element() const {
    return 8 * bytes_per_token() / (2.0 * layer_count * kv_head_count * head_dim);
  }

  // Offset of a tile from the start of the block, in bytes.
  size_t KTileOffset(uint32_t layer, uint32_t kv_head) const {
    return LayerOffset(layer) + kv_head * KTile(layer).bytes();
  }
  size_t VTileOffset(uint32_t layer, uint32_t kv_head) const {
    return LayerOffset(layer) + kv_head_count * KTile(layer).bytes() +
           kv_head * VTile(layer).bytes();
  }

  // Of layouts in f32 or bf16 alone, all of whose tiles are alike: bytes of a number and of a tile,
  // and the index of one number inside its tile, in numbers.
  size_t element_bytes() const { return format.k == KvFormat::kF32 ? 4 : 2; }
  size_t tile_bytes() const { return KvTile{format.k, KvSide::kKey, head_dim}.bytes(); }
  size_t KElement(uint32_t token, uint32_t dim) const {
    return KvTile{format.k, KvSide::kKey, head_dim}.Element(token, dim);
  }
  size_t VElement(uint32_t token, uint32_t dim) const {
    return KvTile{format.v, KvSide::kValue, head_dim}.Element(token, dim);
  }

  bool operator==(const KvBlockLayout& other) const;
};

inline constexpr uint32_t kKvOpenBlocksMax = 8;
inline constexpr bool IsOpenBlockCount(size_t count) {
  return count >= 1 && count <= kKvOpenBlocksMax && (count & (count - 1)) == 0;
}

// What is in force, for people: "int8", "int8/int4", or "mixed" when layers differ.
std::string KvLayoutName(const KvBlockLayout& layout);

// `layout` with formats of its own for each layer. REQUIRES one for each.
KvBlockLayout MixedKvLayout(const KvBlockLayout& layout, std::span<const KvFormats> formats);

}  // namespace kvasir

#endif  // KVASIR_FORMATS_KV_BLOCK_LAYOUT_H_
