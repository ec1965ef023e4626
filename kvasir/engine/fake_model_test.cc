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

void StoreNumber(const KvBlockLayout& layout, std::byte* tile, size_t element, uint32_t value) {
  const uint32_t bits = std::bit_cast<uint32_t>(static_cast<float>(value));
  const uint16_t high = static_cast<uint16_t>(bits >> 16);
  if (layout.format == KvFormat::kF32) std::memcpy(tile + element * 4, &bits, 4);
  if (layout.format == KvFormat::kBF16) std::memcpy(tile + element * 2, &high, 2);
}

uint32_t LoadNumber(const KvBlockLayout& layout, const std::byte* tile, size_t element) {
  uint32_t bits = 0;
  uint16_t high = 0;
  if (layout.format == KvFormat::kF32) std::memcpy(&bits, tile + element * 4, 4);
  if (layout.format == KvFormat::kBF16) {
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
};

Slot SlotOf(const PagedKv& kv, size_t b, size_t position) {
  const size_t entry = kv.kv_indptr[b] + position / kKvBlockTokens;
  const uint32_t token = position % kKvBlockTokens;
  std::byte* page = kv.Page(kv.kv_indices[entry]);
  return {page + kv.layout.KTileOffset(1, 1), page + kv.layout.VTileOffset(0, 1),
          kv.layout.KElement(token, 3), kv.layout.VElement(token, 2)};
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

KvBlockLayout FakeModel::KvLayout(KvFormat format) const {
  return {.layer_count = spec_.layer_count,
          .kv_head_count = spec_.kv_head_count,
          .head_dim = spec_.head_dim,
          .format = format};
}

Status FakeModel::Forward(const Batch& batch, MatrixView<float> logits) {
  ExpectWellFormed(batch, *this);
  if (testing::Test::HasFatalFailure()) return InvalidArgument("the batch is malformed");
  if (on_forward) KVASIR_RETURN_IF_ERROR(on_forward(batch));
  EXPECT_EQ(logits.rows(), batch.logit_rows.size());
  EXPECT_EQ(logits.cols(), kVocabSize);
  const KvBlockLayout& layout = batch.kv.layout;
  size_t logit_row = 0;
  for (size_t b = 0; b < batch.kv.batch_size(); ++b) {
    const int32_t rows_begin = batch.qo_indptr[b], rows_end = batch.qo_indptr[b + 1];
    for (int32_t row = rows_begin; row < rows_end; ++row) {
      const Slot slot = SlotOf(batch.kv, b, batch.positions[row]);
      StoreNumber(layout, slot.key_tile, slot.key_element, batch.tokens[row]);
      StoreNumber(layout, slot.value_tile, slot.value_element,
                  batch.positions[row] % kPositionModulus);
    }
    uint64_t hash = 0;
    int32_t row = rows_begin - batch.positions[rows_begin];  // of position 0, perhaps negative
    for (int32_t position = 0; row < rows_end; ++row, ++position) {
      const Slot slot = SlotOf(batch.kv, b, position);
      EXPECT_EQ(LoadNumber(layout, slot.value_tile, slot.value_element),
                position % kPositionModulus);
      hash = HashStep(hash, LoadNumber(layout, slot.key_tile, slot.key_element));
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
  StoreNumber(layout, slot.key_tile, slot.key_element, 198);
  ASSERT_TRUE(model.Forward(batch, {logits.data(), 1, kVocabSize}).ok());
  EXPECT_NE(logits, FakeModel::LogitsAfter(std::vector<TokenId>{17, 199, 5}));
}

}  // namespace kvasir
