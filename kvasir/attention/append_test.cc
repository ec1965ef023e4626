#include "kvasir/attention/append.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <random>
#include <vector>

#include "kvasir/base/aligned_buffer.h"
#include "kvasir/formats/float16.h"

namespace kvasir {
namespace {

// Three sequences over shuffled pages; the middle one has no queries.
struct Fixture {
  Fixture(uint32_t head_dim, KvFormat format, std::vector<int32_t> q_lens)
      : layout{.layer_count = 3, .kv_head_count = 2, .head_dim = head_dim, .format = format},
        pool(std::move(AlignedBuffer::Allocate(kPages * layout.block_bytes())).value()) {
    std::memset(pool.data(), 0x5A, pool.size());
    for (const int32_t q_len : q_lens) qo_indptr.push_back(qo_indptr.back() + q_len);
    kv = {.layout = layout,
          .base = pool.data(),
          .page_count = kPages,
          .kv_indptr = kv_indptr,
          .kv_indices = kv_indices,
          .kv_last_page_len = kv_last_page_len};
    std::mt19937 random(4);
    std::normal_distribution<float> normal;
    k.resize(size_t(qo_indptr.back()) * 2 * head_dim);
    v.resize(k.size());
    for (float& x : k) x = normal(random);
    for (float& x : v) x = normal(random);
  }

  void Append(size_t thread_count) {
    ThreadPool threads(thread_count);
    const size_t rows = size_t(qo_indptr.back()), columns = 2 * size_t{layout.head_dim};
    AppendPagedKv(kv, 1, qo_indptr, MatrixView<const float>(k.data(), rows, columns),
                  MatrixView<const float>(v.data(), rows, columns), threads);
  }

  // Bits of one number, widened to f32.
  float Read(const std::byte* tile, size_t element) const {
    return layout.format == KvFormat::kF32 ? LoadF32(tile + 4 * element)
                                           : LoadBF16(tile + 2 * element);
  }
  float Rounded(float x) const {
    return layout.format == KvFormat::kF32 ? x : F32FromBF16(BF16FromF32(x));
  }

  static constexpr size_t kPages = 9;
  KvBlockLayout layout;
  AlignedBuffer pool;
  std::vector<int32_t> qo_indptr = {0};
  std::vector<int32_t> kv_indptr = {0, 4, 5, 7};
  std::vector<int32_t> kv_indices = {6, 2, 8, 0, 3, 1, 7};
  std::vector<int32_t> kv_last_page_len = {5, 32, 1};  // lengths 101, 32, 33
  PagedKv kv;
  std::vector<float> k, v;
};

void CheckAppend(uint32_t head_dim, KvFormat format, std::vector<int32_t> q_lens,
                 size_t thread_count) {
  Fixture f(head_dim, format, std::move(q_lens));
  f.Append(thread_count);
  std::vector<std::byte> expected(f.pool.size(), std::byte{0x5A});
  size_t numbers = 0;
  for (size_t b = 0; b < 3; ++b) {
    const int32_t q_len = f.qo_indptr[b + 1] - f.qo_indptr[b];
    for (int32_t i = 0; i < q_len; ++i) {
      const uint32_t token = uint32_t(f.kv.KvLen(b) - q_len + i);
      const std::byte* block =
          f.kv.Page(f.kv_indices[size_t(f.kv_indptr[b]) + token / kKvBlockTokens]);
      for (uint32_t head = 0; head < 2; ++head) {
        for (uint32_t d = 0; d < head_dim; ++d, ++numbers) {
          const size_t from = (size_t(f.qo_indptr[b] + i) * 2 + head) * head_dim + d;
          const std::byte* k_tile = block + f.layout.KTileOffset(1, head);
          const std::byte* v_tile = block + f.layout.VTileOffset(1, head);
          ASSERT_EQ(f.Read(k_tile, f.layout.KElement(token % 32, d)), f.Rounded(f.k[from]));
          ASSERT_EQ(f.Read(v_tile, f.layout.VElement(token % 32, d)), f.Rounded(f.v[from]));
        }
      }
    }
  }
  // Nothing else was written: as many bytes changed as numbers (and padding) lie there, at most.
  size_t changed = 0;
  for (size_t i = 0; i < f.pool.size(); ++i) changed += f.pool.data()[i] != std::byte{0x5A};
  const size_t padded = numbers / head_dim * (head_dim + head_dim % 2);
  EXPECT_LE(changed, (numbers + padded) * f.layout.element_bytes());
  for (uint32_t layer : {0u, 2u}) {
    for (size_t page = 0; page < Fixture::kPages; ++page) {
      const std::byte* from = f.kv.Page(int32_t(page)) + f.layout.KTileOffset(layer, 0);
      for (size_t i = 0; i < f.layout.layer_bytes(0); ++i) ASSERT_EQ(from[i], std::byte{0x5A});
    }
  }
}

TEST(AppendTest, PutsEveryNumberInItsPlace) {
  for (const KvFormat format : {KvFormat::kF32, KvFormat::kBF16}) {
    for (const uint32_t head_dim : {1u, 2u, 7u, 64u, 80u}) {
      CheckAppend(head_dim, format, {1, 0, 1}, 1);     // decode
      CheckAppend(head_dim, format, {101, 0, 33}, 2);  // whole prompts
      CheckAppend(head_dim, format, {37, 32, 2}, 3);   // chunks
      CheckAppend(head_dim, format, {0, 0, 0}, 1);
    }
  }
}

// Equal tokens give equal bytes, however they arrived: a block is addressed by its content.
TEST(AppendTest, BytesDoNotDependOnTheChunks) {
  for (const KvFormat format : {KvFormat::kF32, KvFormat::kBF16}) {
    Fixture whole(7, format, {101, 0, 0}), pieces(7, format, {101, 0, 0});
    whole.Append(2);
    ThreadPool threads(1);
    for (int32_t token = 0; token < 101; ++token) {
      pieces.kv_indptr = {0, token / 32 + 1, token / 32 + 1, token / 32 + 1};
      pieces.kv_last_page_len = {token % 32 + 1, 0, 0};
      const std::vector<int32_t> one = {0, 1, 1, 1};
      AppendPagedKv(pieces.kv, 1, one,
                    MatrixView<const float>(&pieces.k[size_t(token) * 14], 1, 14),
                    MatrixView<const float>(&pieces.v[size_t(token) * 14], 1, 14), threads);
    }
    EXPECT_EQ(std::memcmp(whole.pool.data(), pieces.pool.data(), whole.pool.size()), 0);
  }
}

TEST(AppendTest, RoundsBF16ToNearestEven) {
  Fixture f(2, KvFormat::kBF16, {1, 0, 0});
  f.k = {1.00390625f, 1.01171875f, NAN, INFINITY};  // two ties, then what must survive
  f.Append(1);
  const std::byte* tile = f.kv.Page(0) + f.layout.KTileOffset(1, 0);
  EXPECT_EQ(f.Read(tile, f.layout.KElement(4, 0)), 1.0f);
  EXPECT_EQ(f.Read(tile, f.layout.KElement(4, 1)), 1.015625f);
  const std::byte* next = f.kv.Page(0) + f.layout.KTileOffset(1, 1);
  EXPECT_TRUE(std::isnan(f.Read(next, f.layout.KElement(4, 0))));
  EXPECT_EQ(f.Read(next, f.layout.KElement(4, 1)), INFINITY);
}

}  // namespace
}  // namespace kvasir
