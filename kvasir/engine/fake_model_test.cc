// The implementation of FakeModel stands in a test file so that it is linked into engine_test
// alone.

#include "kvasir/engine/fake_model.h"

#include <bit>
#include <cstring>
#include <set>

#include <gtest/gtest.h>

namespace kvasir {
namespace {

// bf16 holds the integers up to 256 exactly: so many token ids, and positions modulo a prime below.
constexpr uint32_t kVocabSize = 200;
constexpr uint32_t kPositionModulus = 251;

// SplitMix64 (Steele et al. 2014), for its mixing.
uint64_t Mix(uint64_t x) {
  x += 0x9E3779B97F4A7C15u;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
  return x ^ (x >> 31);
}

void StoreNumber(KvFormat format, std::byte* tile, size_t element, uint32_t value) {
  const uint32_t bits = std::bit_cast<uint32_t>(static_cast<float>(value));
  const uint16_t high = static_cast<uint16_t>(bits >> 16);
  if (format == KvFormat::kF32) std::memcpy(tile + element * 4, &bits, 4);
  if (format == KvFormat::kBF16) std::memcpy(tile + element * 2, &high, 2);
}

uint32_t LoadNumber(KvFormat format, const std::byte* tile, size_t element) {
  uint32_t bits = 0;
  uint16_t high = 0;
  if (format == KvFormat::kF32) std::memcpy(&bits, tile + element * 4, 4);
  if (format == KvFormat::kBF16) {
    std::memcpy(&high, tile + element * 2, 2);
    bits = uint32_t{high} << 16;
  }
  return static_cast<uint32_t>(std::bit_cast<float>(bits));
}

// Where a position of sequence `b` lies: the token in a key of the last layer, the position in a
// value of the first one.
struct Slot {
  std::byte* key_tile;
  std::byte* value_tile;
  size_t key_element;
  size_t value_element;
  KvFormat format;

  void Store(TokenId token, uint32_t position) const {
    StoreNumber(format, key_tile, key_element, uint32_t(token));
    StoreNumber(format, value_tile, value_element, position % kPositionModulus);
  }
};

// In a page. "Encoded" are the 32 numbers of a tile as bf16, one behind another.
Slot PageSlotOf(const PagedKv& kv, size_t b, size_t position) {
  const size_t entry = kv.kv_indptr[b] + position / kKvBlockTokens;
  const uint32_t token = position % kKvBlockTokens;
  std::byte* page = kv.Page(kv.kv_indices[entry]);
  Slot slot = {page + kv.layout.KTileOffset(1, 1), page + kv.layout.VTileOffset(0, 1), token, token,
               KvFormat::kBF16};
  if (kv.layout.quantized()) return slot;
  slot.format = kv.layout.format.k;
  slot.key_element = kv.layout.KElement(token, 3);
  slot.value_element = kv.layout.VElement(token, 2);
  return slot;
}

// Where the rows of this batch find it: in a page, or unencoded in a slot of the open blocks.
Slot SlotOf(const PagedKv& kv, size_t b, size_t position) {
  const auto block = static_cast<int32_t>(position / kKvBlockTokens);
  if (!kv.open || block < kv.open->first_own_block[b]) return PageSlotOf(kv, b, position);
  const KvBlockLayout& layout = kv.open->layout;
  const int32_t slot = kv.open->Slot(b, block);
  const uint32_t token = position % kKvBlockTokens;
  return {kv.open->Tiles(slot, 1) + layout.tile_bytes(),
          kv.open->Tiles(slot, 0) + (layout.kv_head_count + 1) * layout.tile_bytes(),
          layout.KElement(token, 3), layout.VElement(token, 2), KvFormat::kBF16};
}

// The fake has two layers and writes one number into each, so its staging slots may be used for
// both. Copies what earlier batches began in the open slots when the last group needs those.
void MoveOpenBlocks(const PagedKv& kv, size_t b, size_t first_position) {
  if (!kv.open || kv.open->own_indptr[b + 1] == kv.open->own_indptr[b]) return;
  const auto group = int32_t(kv.layout.open_blocks);
  const int32_t first = kv.open->first_own_block[b];
  const int32_t last = (kv.KvLen(b) - 1) / int32_t{kKvBlockTokens} / group * group;
  if (first == last) return;
  const KvBlockLayout& layout = kv.open->layout;
  const size_t value_offset = (layout.kv_head_count + 1) * layout.tile_bytes();
  for (int32_t block = first; size_t(block) * kKvBlockTokens < first_position; ++block) {
    const int32_t from = kv.open->Slot(b, last) + block - first, to = kv.open->Slot(b, block);
    std::memcpy(kv.open->Tiles(to, 1) + layout.tile_bytes(),
                kv.open->Tiles(from, 1) + layout.tile_bytes(), layout.tile_bytes());
    std::memcpy(kv.open->Tiles(to, 0) + value_offset, kv.open->Tiles(from, 0) + value_offset,
                layout.tile_bytes());
  }
}

// "Encodes" the blocks that are complete now.
void SealBlocks(const PagedKv& kv, size_t b, size_t first_position) {
  if (!kv.open) return;
  const size_t first = first_position / kKvBlockTokens * kKvBlockTokens;
  const size_t end = size_t(kv.KvLen(b)) / kKvBlockTokens * kKvBlockTokens;
  for (size_t position = first; position < end; ++position) {
    const Slot from = SlotOf(kv, b, position), to = PageSlotOf(kv, b, position);
    to.Store(TokenId(LoadNumber(from.format, from.key_tile, from.key_element)),
             LoadNumber(from.format, from.value_tile, from.value_element));
  }
}

uint64_t HashStep(uint64_t hash, TokenId token) { return Mix(hash ^ uint64_t(token + 1)); }

void WriteLogits(uint64_t hash, std::span<float> logits) {
  for (size_t id = 0; id < logits.size(); ++id) {
    logits[id] = static_cast<float>(Mix(hash + id) >> 40) * 0x1p-22f;  // [0, 4)
  }
}

// Several sequences may read a page, but not while one of them writes into it.
void ExpectWrittenPagesAreNotShared(const Batch& batch) {
  const PagedKv& kv = batch.kv;
  std::multiset<int32_t> pages(kv.kv_indices.begin(), kv.kv_indices.end());
  for (size_t b = 0; b < kv.batch_size(); ++b) {
    const int32_t q_len = batch.qo_indptr[b + 1] - batch.qo_indptr[b];
    const int32_t first_written = (kv.KvLen(b) - q_len) / int32_t{kKvBlockTokens};
    for (int32_t entry = kv.kv_indptr[b] + first_written; entry < kv.kv_indptr[b + 1]; ++entry) {
      ASSERT_EQ(pages.count(kv.kv_indices[entry]), 1) << "a page is written that others read";
    }
  }
}

// Quantised layouts: each block of the groups that rows lie in has a slot of its own, those of the
// last group open slots, one behind another.
void ExpectOwnSlotsAreDistinct(const Batch& batch) {
  const PagedKv& kv = batch.kv;
  ASSERT_EQ(kv.open.has_value(), kv.layout.quantized());
  if (!kv.open) return;
  const std::set<int32_t> slots(kv.open->own_slots.begin(), kv.open->own_slots.end());
  ASSERT_EQ(slots.size(), kv.open->own_slots.size());
  ASSERT_EQ(kv.open->own_indptr.size(), kv.batch_size() + 1);
  ASSERT_EQ(kv.open->first_own_block.size(), kv.batch_size());
  for (size_t b = 0; b < kv.batch_size(); ++b) {
    const auto group = int32_t(kv.layout.open_blocks);
    const int32_t first =
        batch.positions[batch.qo_indptr[b]] / int32_t{kKvBlockTokens} / group * group;
    const int32_t last = (kv.KvLen(b) - 1) / int32_t{kKvBlockTokens};
    const int32_t last_group = last / group * group;
    ASSERT_EQ(kv.open->first_own_block[b], first);
    ASSERT_EQ(kv.open->own_indptr[b + 1] - kv.open->own_indptr[b], last - first + 1);
    for (int32_t block = first; block <= last; ++block) {
      ASSERT_EQ(kv.open->Slot(b, block) >= 0, block >= last_group);
      if (block < last_group) continue;
      ASSERT_EQ(kv.open->Slot(b, block), kv.open->Slot(b, last_group) + block - last_group);
    }
  }
}

// What model/batch.h promises, read literally.
void ExpectWellFormed(const Batch& batch, const FakeModel& model) {
  const PagedKv& kv = batch.kv;
  const size_t batch_size = kv.batch_size();
  ASSERT_EQ(batch.positions.size(), batch.tokens.size());
  ASSERT_EQ(batch.qo_indptr.size(), batch_size + 1);
  ASSERT_EQ(kv.kv_indptr.size(), batch_size + 1);
  ASSERT_EQ(batch.qo_indptr.front(), 0);
  ASSERT_EQ(kv.kv_indptr.front(), 0);
  ASSERT_EQ(size_t(batch.qo_indptr.back()), batch.tokens.size());
  ASSERT_EQ(size_t(kv.kv_indptr.back()), kv.kv_indices.size());
  ASSERT_LE(batch.tokens.size(), model.row_count_max());
  for (size_t b = 0; b < batch_size; ++b) {
    const int32_t q_len = batch.qo_indptr[b + 1] - batch.qo_indptr[b];
    ASSERT_GT(q_len, 0);
    ASSERT_GE(kv.KvLen(b), q_len);
    ASSERT_GE(kv.kv_last_page_len[b], 1);
    ASSERT_LE(kv.kv_last_page_len[b], int32_t{kKvBlockTokens});
    for (int32_t i = 0; i < q_len; ++i) {
      ASSERT_EQ(batch.positions[batch.qo_indptr[b] + i], kv.KvLen(b) - q_len + i);
    }
  }
  for (int32_t page : kv.kv_indices) ASSERT_TRUE(page >= 0 && size_t(page) < kv.page_count);
  ExpectWrittenPagesAreNotShared(batch);
  ASSERT_NO_FATAL_FAILURE(ExpectOwnSlotsAreDistinct(batch));
  for (size_t i = 0; i < batch.logit_rows.size(); ++i) {
    ASSERT_LT(size_t(batch.logit_rows[i]), batch.tokens.size());
    if (i > 0) {
      ASSERT_GT(batch.logit_rows[i], batch.logit_rows[i - 1]);
    }
  }
}

}  // namespace

FakeModel::FakeModel(uint32_t context_length, size_t row_count_max)
    : row_count_max_(row_count_max) {
  spec_.family = "fake";
  spec_.layer_count = 2;
  spec_.q_head_count = 2;
  spec_.kv_head_count = 2;
  spec_.head_dim = 5;  // odd: keys in bf16 are padded
  spec_.vocab_size = kVocabSize;
  spec_.context_length = context_length;
}

KvBlockLayout FakeModel::KvLayout(KvFormats formats) const {
  return {.layer_count = spec_.layer_count,
          .kv_head_count = spec_.kv_head_count,
          .head_dim = spec_.head_dim,
          .format = formats};
}

Status FakeModel::Forward(const Batch& batch, MatrixView<float> logits) {
  ExpectWellFormed(batch, *this);
  if (testing::Test::HasFatalFailure()) return InvalidArgument("the batch is malformed");
  if (on_forward) KVASIR_RETURN_IF_ERROR(on_forward(batch));
  EXPECT_EQ(logits.rows(), batch.logit_rows.size());
  EXPECT_EQ(logits.cols(), kVocabSize);
  size_t logit_row = 0;
  for (size_t b = 0; b < batch.kv.batch_size(); ++b) {
    const int32_t rows_begin = batch.qo_indptr[b], rows_end = batch.qo_indptr[b + 1];
    MoveOpenBlocks(batch.kv, b, size_t(batch.positions[rows_begin]));
    for (int32_t row = rows_begin; row < rows_end; ++row) {
      SlotOf(batch.kv, b, batch.positions[row])
          .Store(batch.tokens[row], uint32_t(batch.positions[row]));
    }
    SealBlocks(batch.kv, b, size_t(batch.positions[rows_begin]));
    uint64_t hash = 0;
    int32_t row = rows_begin - batch.positions[rows_begin];  // of position 0, perhaps negative
    for (int32_t position = 0; row < rows_end; ++row, ++position) {
      const Slot slot = SlotOf(batch.kv, b, position);
      EXPECT_EQ(LoadNumber(slot.format, slot.value_tile, slot.value_element),
                position % kPositionModulus);
      hash = HashStep(hash, LoadNumber(slot.format, slot.key_tile, slot.key_element));
      if (logit_row < batch.logit_rows.size() && batch.logit_rows[logit_row] == row) {
        WriteLogits(hash, logits.row_span(logit_row++));
      }
    }
  }
  EXPECT_EQ(logit_row, batch.logit_rows.size());
  return OkStatus();
}

std::vector<float> FakeModel::LogitsAfter(std::span<const TokenId> tokens) {
  uint64_t hash = 0;
  for (TokenId token : tokens) hash = HashStep(hash, token);
  std::vector<float> logits(kVocabSize);
  WriteLogits(hash, logits);
  return logits;
}

// The fake must notice what it is there to notice.
TEST(FakeModel, ReadsWhatThePagesSay) {
  FakeModel model;
  const KvBlockLayout layout = model.KvLayout(KvFormat::kBF16);
  std::vector<std::byte> memory(3 * layout.block_bytes());
  const std::vector<int32_t> qo_indptr = {0, 2}, kv_indptr = {0, 1}, last_page_len = {2};
  const std::vector<int32_t> pages = {2}, positions = {0, 1}, logit_rows = {1};
  const std::vector<TokenId> tokens = {17, 199};
  Batch batch{.tokens = tokens,
              .positions = positions,
              .qo_indptr = qo_indptr,
              .kv = {.layout = layout,
                     .base = memory.data(),
                     .page_count = 3,
                     .kv_indptr = kv_indptr,
                     .kv_indices = pages,
                     .kv_last_page_len = last_page_len},
              .logit_rows = logit_rows};
  std::vector<float> logits(kVocabSize);
  ASSERT_TRUE(model.Forward(batch, {logits.data(), 1, kVocabSize}).ok());
  EXPECT_EQ(logits, FakeModel::LogitsAfter(tokens));

  // The next token, over a page on which somebody else has written.
  const std::vector<int32_t> next_qo = {0, 1}, next_position = {2}, next_len = {3}, first_row = {0};
  const std::vector<TokenId> next_token = {5};
  batch.tokens = next_token;
  batch.positions = next_position;
  batch.qo_indptr = next_qo;
  batch.kv.kv_last_page_len = next_len;
  batch.logit_rows = first_row;
  ASSERT_TRUE(model.Forward(batch, {logits.data(), 1, kVocabSize}).ok());
  EXPECT_EQ(logits, FakeModel::LogitsAfter(std::vector<TokenId>{17, 199, 5}));
  const Slot slot = SlotOf(batch.kv, 0, 1);
  StoreNumber(slot.format, slot.key_tile, slot.key_element, 198);
  ASSERT_TRUE(model.Forward(batch, {logits.data(), 1, kVocabSize}).ok());
  EXPECT_NE(logits, FakeModel::LogitsAfter(std::vector<TokenId>{17, 199, 5}));
}

}  // namespace kvasir
