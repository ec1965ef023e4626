// KvBlockLayout: where each key and value lies inside a KV block. This file alone knows the
// offsets; the pool, the attention kernels, the cache and the record format all ask it.
//
// A block holds kKvBlockTokens tokens of all KV layers:
//
//   layer 0                                       layer 1 ...
//   | K head 0 | K head 1 | ... | V head 0 | ... || K head 0 | ...
//
// each tile 64-byte aligned, the block a multiple of 4 KiB.
//
// A tile is the 32 tokens of one KV head, 32 * head_dim numbers, in the order that lets one vector
// register serve 16 lanes without sums across lanes:
//
//   K f32:   [token/16][dim]   [token%16]           lanes are tokens, a register holds one dim
//   K bf16:  [token/16][dim/2] [token%16] [dim%2]   lanes are tokens, two dims in each 32-bit lane
//   V f32:   [token]   [dim]                        lanes are dims: row-major
//   V bf16:  [token/2] [dim]   [token%2]            lanes are dims, two tokens in each 32-bit lane
//
// The two halves of a 32-bit lane widen to f32 with one shift (low half) or one mask (high half).
// An odd head_dim is padded to the next even one in bf16 K tiles. Both formats encode each number
// by itself, so a block's bytes do not depend on when it was filled, and the open (incomplete)
// block has the layout of a sealed one.

#ifndef KVASIR_FORMATS_KV_BLOCK_LAYOUT_H_
#define KVASIR_FORMATS_KV_BLOCK_LAYOUT_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace kvasir {

inline constexpr uint32_t kKvBlockTokens = 32;
inline constexpr uint32_t kKvLaneTokens = 16;  // tokens that share a register in a K tile

enum class KvFormat : uint8_t { kF32, kBF16 };
std::string_view KvFormatName(KvFormat format);  // "f32", "bf16"
std::optional<KvFormat> KvFormatFromName(std::string_view name);

struct KvBlockLayout {
  uint32_t layer_count = 0;
  uint32_t kv_head_count = 0;
  uint32_t head_dim = 0;
  KvFormat format = KvFormat::kBF16;

  size_t element_bytes() const { return format == KvFormat::kF32 ? 4 : 2; }
  // Bytes of one K or V tile, a multiple of 64.
  size_t tile_bytes() const {
    const size_t padded_dim = head_dim + head_dim % 2;
    return (kKvBlockTokens * padded_dim * element_bytes() + 63) / 64 * 64;
  }
  size_t layer_bytes() const { return 2 * size_t{kv_head_count} * tile_bytes(); }
  // Bytes of a whole block, a multiple of 4096.
  size_t block_bytes() const { return (layer_count * layer_bytes() + 4095) / 4096 * 4096; }
  // Bytes of keys and values per token, padding included.
  double bytes_per_token() const { return double(block_bytes()) / kKvBlockTokens; }

  // Offset of a tile from the start of the block, in bytes.
  size_t KTileOffset(uint32_t layer, uint32_t kv_head) const {
    return layer * layer_bytes() + kv_head * tile_bytes();
  }
  size_t VTileOffset(uint32_t layer, uint32_t kv_head) const {
    return layer * layer_bytes() + (size_t{kv_head_count} + kv_head) * tile_bytes();
  }

  // Index of one number inside its tile, in elements.
  size_t KElement(uint32_t token, uint32_t dim) const {
    const size_t half = token / kKvLaneTokens, lane = token % kKvLaneTokens;
    if (format == KvFormat::kF32) return (half * head_dim + dim) * kKvLaneTokens + lane;
    const size_t dim_pairs = (head_dim + 1) / 2;
    return ((half * dim_pairs + dim / 2) * kKvLaneTokens + lane) * 2 + dim % 2;
  }
  size_t VElement(uint32_t token, uint32_t dim) const {
    if (format == KvFormat::kF32) return size_t{token} * head_dim + dim;
    return (size_t{token / 2} * head_dim + dim) * 2 + token % 2;
  }

  bool operator==(const KvBlockLayout&) const = default;
};

}  // namespace kvasir

#endif  // KVASIR_FORMATS_KV_BLOCK_LAYOUT_H_
