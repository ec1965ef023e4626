#include "kvasir/formats/kv_block_layout.h"

#include <gtest/gtest.h>

#include <vector>

namespace kvasir {
namespace {

std::vector<KvBlockLayout> Layouts() {
  std::vector<KvBlockLayout> layouts;
  for (const KvFormat format : {KvFormat::kF32, KvFormat::kBF16}) {
    for (const uint32_t head_dim : {1u, 7u, 8u, 40u, 64u, 80u, 128u, 576u}) {
      layouts.push_back(
          {.layer_count = 3, .kv_head_count = 5, .head_dim = head_dim, .format = format});
    }
  }
  return layouts;
}

TEST(KvBlockLayoutTest, TilesAreAlignedAndDoNotOverlap) {
  for (const KvBlockLayout& layout : Layouts()) {
    EXPECT_EQ(layout.tile_bytes() % 64, 0u);
    EXPECT_EQ(layout.block_bytes() % 4096, 0u);
    size_t expected = 0;  // every tile begins where the one before it ends
    for (uint32_t layer = 0; layer < layout.layer_count; ++layer) {
      for (uint32_t head = 0; head < layout.kv_head_count; ++head) {
        EXPECT_EQ(layout.KTileOffset(layer, head), expected);
        expected += layout.tile_bytes();
      }
      for (uint32_t head = 0; head < layout.kv_head_count; ++head) {
        EXPECT_EQ(layout.VTileOffset(layer, head), expected);
        expected += layout.tile_bytes();
      }
    }
    EXPECT_LE(expected, layout.block_bytes());
    EXPECT_LT(layout.block_bytes(), expected + 4096);
  }
}

TEST(KvBlockLayoutTest, EveryNumberHasAnElementOfItsOwn) {
  for (const KvBlockLayout& layout : Layouts()) {
    const size_t element_count = layout.tile_bytes() / layout.element_bytes();
    std::vector<int> k_uses(element_count), v_uses(element_count);
    for (uint32_t token = 0; token < kKvBlockTokens; ++token) {
      for (uint32_t dim = 0; dim < layout.head_dim; ++dim) {
        ASSERT_LT(layout.KElement(token, dim), element_count);
        ASSERT_LT(layout.VElement(token, dim), element_count);
        EXPECT_EQ(++k_uses[layout.KElement(token, dim)], 1);
        EXPECT_EQ(++v_uses[layout.VElement(token, dim)], 1);
      }
    }
  }
}

// The format of stored blocks: these figures may never change without a new format version.
TEST(KvBlockLayoutTest, ThePlacesAreFixed) {
  const KvBlockLayout f32 = {2, 3, 64, KvFormat::kF32};
  EXPECT_EQ(f32.tile_bytes(), 8192u);
  EXPECT_EQ(f32.block_bytes(), 98304u);
  EXPECT_EQ(f32.KElement(17, 5), 1105u);  // second half, dim 5, lane 1
  EXPECT_EQ(f32.VElement(17, 5), 1093u);
  const KvBlockLayout bf16 = {2, 3, 64, KvFormat::kBF16};
  EXPECT_EQ(bf16.tile_bytes(), 4096u);
  EXPECT_EQ(bf16.KTileOffset(1, 2), 32768u);
  EXPECT_EQ(bf16.VTileOffset(1, 2), 45056u);
  EXPECT_EQ(bf16.KElement(17, 5), 1091u);  // second half, dims 4 and 5, lane 1, the higher one
  EXPECT_EQ(bf16.VElement(17, 5), 1035u);  // tokens 16 and 17, dim 5, the higher one
  EXPECT_EQ(bf16.bytes_per_token(), 1536.0);
}

TEST(KvBlockLayoutTest, FormatNamesGoBothWays) {
  for (const KvFormat format : kKvFormats) {
    EXPECT_EQ(KvFormatFromName(KvFormatName(format)), format);
  }
  EXPECT_FALSE(KvFormatFromName("fp16").has_value());
  EXPECT_FALSE(KvFormatFromName("").has_value());
}

TEST(KvBlockLayoutTest, PairsOfFormatsHaveNames) {
  constexpr KvFormats kMix = {KvFormat::kInt8, KvFormat::kInt4};
  EXPECT_EQ(KvFormatsName(kMix), "int8/int4");
  EXPECT_EQ(KvFormatsFromName("int8/int4"), kMix);
  EXPECT_EQ(KvFormatsFromName("k8v4"), kMix);
  EXPECT_EQ(KvFormatsName(KvFormat::kInt8), "int8");
  EXPECT_EQ(KvFormatsFromName("int8"), KvFormats(KvFormat::kInt8));
  EXPECT_EQ(KvFormatsFromName("int8/int8"), KvFormats(KvFormat::kInt8));
  for (const char* name : {"", "/", "int8/", "/int4", "int8/int4/int4", "f32/int8", "bf16/f32"}) {
    EXPECT_FALSE(KvFormatsFromName(name).has_value()) << name;
  }
}

std::vector<KvTile> QuantizedTiles() {
  std::vector<KvTile> tiles;
  for (const KvFormat format : kKvFormats) {
    for (const KvSide side : {KvSide::kKey, KvSide::kValue}) {
      for (const uint32_t head_dim : {1u, 7u, 40u, 64u, 80u, 128u, 576u}) {
        if (IsQuantized(format)) tiles.push_back({format, side, head_dim});
      }
    }
  }
  return tiles;
}

TEST(KvTileTest, EveryCodeAndScaleHasAPlaceOfItsOwn) {
  for (const KvTile& tile : QuantizedTiles()) {
    EXPECT_EQ(tile.code_bytes() % 64, 0u);
    EXPECT_EQ(tile.bytes() % 64, 0u);
    const uint32_t width = tile.format == KvFormat::kInt4 ? 4 : 8;
    std::vector<int> bits(8 * tile.bytes());
    for (uint32_t token = 0; token < kKvBlockTokens; ++token) {
      for (uint32_t dim = 0; dim < tile.head_dim; ++dim) {
        ASSERT_LT(tile.CodeByte(token, dim), tile.code_bytes());
        for (uint32_t bit = 0; bit < width; ++bit) {
          ASSERT_EQ(++bits[8 * tile.CodeByte(token, dim) + tile.CodeShift(token) + bit], 1);
        }
        if (dim % tile.scale_dims() != 0) continue;
        ASSERT_LE(tile.ScaleByte(token, dim) + 2, tile.bytes());
        for (uint32_t bit = 0; bit < 16; ++bit) {
          ASSERT_EQ(++bits[8 * tile.ScaleByte(token, dim) + bit], 1);
        }
      }
    }
  }
}

// The format of stored blocks, as above; the places are those of the figures in the header.
TEST(KvTileTest, ThePlacesAreFixed) {
  const KvTile k8 = {KvFormat::kInt8, KvSide::kKey, 64}, v8 = {KvFormat::kInt8, KvSide::kValue, 64};
  EXPECT_EQ(k8.bytes(), 2112u);
  EXPECT_EQ(v8.bytes(), 2112u);
  EXPECT_EQ(k8.CodeByte(17, 5), 1024u + 64 + 4 + 1);
  EXPECT_EQ(v8.CodeByte(17, 5), 4u * 256 + 20 + 1);
  EXPECT_EQ(k8.ScaleByte(17, 5), 2048u + 34);
  const KvTile k4 = {KvFormat::kInt4, KvSide::kKey, 64}, v4 = {KvFormat::kInt4, KvSide::kValue, 64};
  EXPECT_EQ(k4.bytes(), 1152u);
  EXPECT_EQ(v4.bytes(), 1152u);
  EXPECT_EQ(k4.CodeByte(17, 5), 64u + 4 + 1);
  EXPECT_EQ(k4.CodeShift(17), 4u);
  EXPECT_EQ(v4.CodeByte(17, 5), 2u * 256 + 20 + 1);
  EXPECT_EQ(v4.CodeShift(17), 0u);
  EXPECT_EQ(v4.CodeShift(20), 4u);
  EXPECT_EQ(k4.ScaleByte(17, 33), 1024u + 64 + 34);
  // Odd head dimensions are padded in codes: K to 4, V to 16.
  EXPECT_EQ((KvTile{KvFormat::kInt8, KvSide::kKey, 41}).code_bytes(), 32u * 44);
  EXPECT_EQ((KvTile{KvFormat::kInt8, KvSide::kValue, 41}).code_bytes(), 32u * 48);
}

TEST(KvBlockLayoutTest, BitsIncludeScales) {
  // Tiles of 64 dims; enough of them that the padding of the block does not count.
  const auto bits = [](KvFormats formats) {
    return KvBlockLayout{1, 4096, 64, formats}.bits_per_element();
  };
  EXPECT_EQ(bits(KvFormat::kBF16), 16);
  EXPECT_EQ(bits(KvFormat::kInt8), 8.25);
  EXPECT_EQ(bits(KvFormat::kFp8E4M3), 8.25);
  EXPECT_EQ(bits(KvFormat::kInt4), 4.5);
  EXPECT_EQ(bits({KvFormat::kInt8, KvFormat::kInt4}), 6.375);
}

TEST(KvBlockLayoutTest, LayersMayHaveFormatsOfTheirOwn) {
  const KvFormats formats[] = {
      KvFormat::kBF16, {KvFormat::kInt8, KvFormat::kInt4}, KvFormat::kInt4};
  const KvBlockLayout layout = MixedKvLayout({3, 2, 64}, formats);
  size_t expected = 0;
  for (uint32_t layer = 0; layer < 3; ++layer) {
    EXPECT_EQ(layout.formats(layer), formats[layer]);
    EXPECT_EQ(layout.LayerOffset(layer), expected);
    for (uint32_t head = 0; head < 2; ++head) {
      EXPECT_EQ(layout.KTileOffset(layer, head), expected);
      expected += layout.KTile(layer).bytes();
    }
    for (uint32_t head = 0; head < 2; ++head) {
      EXPECT_EQ(layout.VTileOffset(layer, head), expected);
      expected += layout.VTile(layer).bytes();
    }
  }
  EXPECT_EQ(layout.block_bytes(), (expected + 4095) / 4096 * 4096);
  EXPECT_TRUE(layout.quantized());
  EXPECT_EQ(layout.OpenLayout(), (KvBlockLayout{3, 2, 64, KvFormat::kBF16}));
}

TEST(KvBlockLayoutTest, LayoutsAreComparedByTheirFormats) {
  const KvFormats mix[] = {KvFormat::kInt8, KvFormat::kInt4};
  const KvFormats same[] = {KvFormat::kInt8, KvFormat::kInt8};
  const KvBlockLayout plain = {2, 2, 64, KvFormat::kInt8};
  EXPECT_EQ(MixedKvLayout(plain, same), plain);
  EXPECT_EQ(MixedKvLayout(plain, mix), MixedKvLayout({2, 2, 64}, mix));
  EXPECT_NE(MixedKvLayout(plain, mix), plain);
  EXPECT_NE(plain, (KvBlockLayout{2, 2, 64, KvFormat::kBF16}));
  EXPECT_FALSE((KvBlockLayout{2, 2, 64, KvFormat::kBF16}).quantized());
}

}  // namespace
}  // namespace kvasir
