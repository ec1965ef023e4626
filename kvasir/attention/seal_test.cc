#include "kvasir/attention/seal.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <tuple>
#include <utility>
#include <vector>

#include "kvasir/attention/append.h"
#include "kvasir/base/aligned_buffer.h"
#include "kvasir/formats/float16.h"
#include "kvasir/formats/kv_codec.h"

namespace kvasir {
namespace {

constexpr uint32_t kHeads = 2, kDim = 32, kColumns = kHeads * kDim;
constexpr size_t kTokens = 150;  // of the longer sequence

// Two sequences of random keys and values, appended in steps of any lengths.
class SealTest : public testing::TestWithParam<std::tuple<KvFormats, int32_t>> {
 protected:
  void SetUp() override {
    std::mt19937 random(3);
    std::normal_distribution<float> normal;
    for (auto* numbers : {&k_, &v_}) {
      numbers->resize(2 * kTokens * kColumns);
      for (float& x : *numbers) x = normal(random);
    }
    pages_ = std::move(AlignedBuffer::Allocate(10 * layout_.block_bytes())).value();
    const size_t layer_bytes = layout_.OpenLayout().layer_bytes(0);
    open_ = std::move(AlignedBuffer::Allocate(2 * 2 * 8 * layer_bytes)).value();
    staging_ = std::move(AlignedBuffer::Allocate(16 * layer_bytes)).value();
  }

  // Appends q_lens[b] tokens to sequence b, in both layers as a model does.
  void Append(const std::vector<int32_t>& q_lens) {
    std::vector<int32_t> qo_indptr = {0}, kv_indptr = {0}, pages, last, own_indptr = {0}, own,
                         first;
    std::vector<float> k, v;
    for (size_t b = 0; b < 2; ++b) {
      const int32_t begin = lens_[b], end = lens_[b] += q_lens[b];
      const auto from = ptrdiff_t((b * kTokens + size_t(begin)) * kColumns);
      const auto to = ptrdiff_t((b * kTokens + size_t(end)) * kColumns);
      k.insert(k.end(), k_.begin() + from, k_.begin() + to);
      v.insert(v.end(), v_.begin() + from, v_.begin() + to);
      qo_indptr.push_back(qo_indptr.back() + q_lens[b]);
      for (int32_t page = 0; page * 32 < end; ++page) pages.push_back(int32_t(b) + 2 * page);
      kv_indptr.push_back(int32_t(pages.size()));
      last.push_back((end - 1) % 32 + 1);
      const int32_t group = std::get<1>(GetParam());
      const int32_t last_group = (end - 1) / 32 / group * group;
      first.push_back(begin / 32 / group * group);
      for (int32_t block = first.back(); block < last_group; ++block) {
        own.push_back(-1 - int32_t(own.size()));
      }
      for (int32_t block = last_group; block <= (end - 1) / 32; ++block) {
        own.push_back(int32_t(b) * group + block - last_group);
      }
      own_indptr.push_back(int32_t(own.size()));
    }
    const PagedKv kv{.layout = layout_,
                     .base = pages_.data(),
                     .page_count = 10,
                     .kv_indptr = kv_indptr,
                     .kv_indices = pages,
                     .kv_last_page_len = last,
                     .open = OpenKv{layout_.OpenLayout(), open_.data(), staging_.data(), own_indptr,
                                    own, first}};
    const size_t rows = k.size() / kColumns;
    for (const uint32_t layer : {0u, 1u}) {
      AppendPagedKv(kv, layer, qo_indptr, {k.data(), rows, kColumns}, {v.data(), rows, kColumns},
                    pool_);
      SealPagedKv(kv, layer, qo_indptr, pool_);
    }
  }

  // The complete blocks of the sequence hold what the codec makes of its numbers.
  void ExpectSealed(size_t b) const {
    for (size_t block = 0; block < size_t(lens_[b]) / 32; ++block) {
      const std::byte* page = pages_.data() + (b + 2 * block) * layout_.block_bytes();
      for (const uint32_t layer : {0u, 1u}) {
        for (uint32_t head = 0; head < kHeads; ++head) {
          ExpectTile(layout_.KTile(layer), k_, b, block, head,
                     page + layout_.KTileOffset(layer, head));
          ExpectTile(layout_.VTile(layer), v_, b, block, head,
                     page + layout_.VTileOffset(layer, head));
        }
      }
    }
  }

  static void ExpectTile(const KvTile& tile, const std::vector<float>& numbers, size_t b,
                         size_t block, uint32_t head, const std::byte* actual) {
    std::vector<float> rows;
    for (size_t token = 0; token < 32; ++token) {
      const float* row =
          numbers.data() + (b * kTokens + 32 * block + token) * kColumns + head * kDim;
      for (size_t d = 0; d < kDim; ++d) rows.push_back(F32FromBF16(BF16FromF32(row[d])));
    }
    std::vector<std::byte> expected(tile.bytes());
    EncodeKvTile(tile, rows.data(), expected.data());
    ASSERT_TRUE(std::equal(expected.begin(), expected.end(), actual)) << "block " << block;
  }

  const KvBlockLayout layout_ = {.layer_count = 2,
                                 .kv_head_count = kHeads,
                                 .head_dim = kDim,
                                 .format = std::get<0>(GetParam()),
                                 .open_blocks = uint32_t(std::get<1>(GetParam()))};
  ThreadPool pool_{2};
  std::vector<float> k_, v_;  // [2, kTokens, kColumns]
  AlignedBuffer pages_, open_, staging_;
  std::vector<int32_t> lens_ = {0, 0};
};

TEST_P(SealTest, PagesHoldWhatTheCodecMakesWhateverTheSteps) {
  // Within a block, over one bound, over several, to a bound exactly, token by token.
  for (const std::vector<int32_t>& q_lens :
       std::vector<std::vector<int32_t>>{{20, 1}, {5, 31}, {30, 32}, {60, 1}, {1, 31}, {12, 54}}) {
    Append(q_lens);
    ASSERT_NO_FATAL_FAILURE(ExpectSealed(0));
    ASSERT_NO_FATAL_FAILURE(ExpectSealed(1));
  }
  EXPECT_EQ(lens_, (std::vector<int32_t>{128, 150}));
}

TEST_P(SealTest, OneTokenAtATime) {
  for (int i = 0; i < 70; ++i) Append({1, 1});
  ExpectSealed(0);
  ExpectSealed(1);
}

INSTANTIATE_TEST_SUITE_P(
    Formats, SealTest,
    testing::Combine(testing::Values(KvFormats(KvFormat::kInt8), KvFormats(KvFormat::kInt4),
                                     KvFormats(KvFormat::kFp8E5M2),
                                     KvFormats(KvFormat::kBF16, KvFormat::kInt8)),
                     testing::Values(1, 2, 4, 8)));

}  // namespace
}  // namespace kvasir
