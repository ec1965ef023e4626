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
  for (const KvFormat format : {KvFormat::kF32, KvFormat::kBF16}) {
    EXPECT_EQ(KvFormatFromName(KvFormatName(format)), format);
  }
  EXPECT_FALSE(KvFormatFromName("fp16").has_value());
  EXPECT_FALSE(KvFormatFromName("").has_value());
}

}  // namespace
}  // namespace kvasir
