// Appending to rows: every number in its place, nothing else touched.

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "kvasir/attention/append.h"
#include "kvasir/formats/float16.h"

namespace kvasir {
namespace {

constexpr std::byte kUntouched{0x5A};
constexpr uint32_t kHeads = 2;

float ReadNumber(const std::byte* from, KvRowType type) {
  if (type == KvRowType::kF32) return LoadF32(from);
  return type == KvRowType::kBF16 ? LoadBF16(from) : LoadF16(from);
}

void WriteNumber(float x, KvRowType type, std::byte* to) {
  if (type == KvRowType::kF32) {
    std::memcpy(to, &x, sizeof(x));
  } else {
    StoreU16(to, type == KvRowType::kBF16 ? BF16FromF32(x) : F16FromF32(x));
  }
}

float Rounded(float x, KvRowType type) {
  std::byte bytes[4];
  WriteNumber(x, type, bytes);
  return ReadNumber(bytes, type);
}

// One of the arrays of KvRows and the new rows for it.
struct Array {
  Array(uint32_t d, KvRowType memory_type, KvRowType new_type, bool is_hnd, int32_t page_size,
        size_t pages, size_t count, std::mt19937& random)
      : dim(d), type(memory_type), from_type(new_type) {
    const int64_t row = dim + 3;  // a gap behind each row
    strides =
        is_hnd
            ? KvRowStrides{.page = row * kHeads * page_size, .token = row, .head = row * page_size}
            : KvRowStrides{.page = row * kHeads * page_size, .token = row * kHeads, .head = row};
    memory.assign(pages * size_t(strides.page) * KvRowTypeBytes(type), kUntouched);
    std::normal_distribution<float> normal;
    numbers.resize(count * kHeads * dim);
    from.resize(count * kHeads * (dim + 1) * KvRowTypeBytes(new_type));
    for (size_t i = 0; i < numbers.size(); ++i) {
      numbers[i] = Rounded(normal(random), new_type);
      const size_t at = i / dim * (dim + 1) + i % dim;
      WriteNumber(numbers[i], new_type, &from[at * KvRowTypeBytes(new_type)]);
    }
  }

  KvNewRows NewRows() const {
    return {.type = from_type,
            .data = from.data(),
            .token_stride = int64_t(kHeads * (dim + 1)),
            .head_stride = int64_t(dim + 1),
            .dim = dim};
  }
  // Takes away what new row i should have written at (page, slot); then all must be untouched.
  void Expect(size_t i, int64_t page, int64_t slot) {
    for (uint32_t head = 0; head < kHeads; ++head) {
      const int64_t first = page * strides.page + slot * strides.token + head * strides.head;
      for (uint32_t d = 0; d < dim; ++d) {
        std::byte* at = &memory[size_t(first + d) * KvRowTypeBytes(type)];
        EXPECT_EQ(ReadNumber(at, type), Rounded(numbers[(i * kHeads + head) * dim + d], type));
        std::fill_n(at, KvRowTypeBytes(type), kUntouched);
      }
    }
  }
  void ExpectUntouched() const {
    EXPECT_EQ(memory, std::vector<std::byte>(memory.size(), kUntouched));
  }

  uint32_t dim;
  KvRowType type, from_type;
  KvRowStrides strides;
  std::vector<std::byte> memory, from;
  std::vector<float> numbers;
};

// Two sequences of 70 and 9 tokens, of which the last 40 and 9 are new.
class AppendRowsTest : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(BatchIndicesPositions(std::vector<int32_t>{0, 40, 49}, std::vector<int32_t>{70, 9},
                                      &sequences_, &positions_)
                    .ok());
    ASSERT_EQ(positions_.size(), 49u);
    EXPECT_EQ(positions_[0], 30);
    EXPECT_EQ(positions_[48], 8);
  }

  // The page table for pages of this size, or none.
  PagedKv Pages(int32_t page_size, bool is_ragged) {
    kv_indptr_ = {0, (70 + page_size - 1) / page_size, 0};
    kv_indptr_[2] = kv_indptr_[1] + (9 + page_size - 1) / page_size;
    kv_indices_.clear();
    for (int32_t i = 0; i < kv_indptr_[2]; ++i) kv_indices_.push_back(kv_indptr_[2] - i);
    PagedKv kv;
    kv.page_size = page_size;
    kv.is_ragged = is_ragged;
    kv.page_count = size_t(kv_indptr_[2] + 1);
    kv.kv_indptr = kv_indptr_;
    kv.kv_indices = kv_indices_;
    kv.kv_last_page_len = kv_last_page_len_;
    return kv;
  }

  std::vector<int32_t> sequences_, positions_, kv_indptr_, kv_indices_;
  std::vector<int32_t> kv_last_page_len_ = {1, 1};
  std::mt19937 random_{17};
  ThreadPool pool_{2};
};

TEST_F(AppendRowsTest, PutsEveryNumberInItsPlace) {
  constexpr KvRowType kTypes[] = {KvRowType::kF32, KvRowType::kBF16, KvRowType::kF16};
  for (const KvRowType memory_type : kTypes) {
    for (const KvRowType new_type : kTypes) {
      for (const int32_t page_size : {1, 7, 16}) {
        const bool is_hnd = page_size == 16, is_ragged = page_size == 1;
        PagedKv kv = Pages(page_size, is_ragged);
        const auto array = [&](uint32_t dim) {
          return Array(dim, memory_type, new_type, is_hnd, page_size, kv.page_count,
                       positions_.size(), random_);
        };
        Array k = array(20), v = array(33), tail = array(5);
        kv.rows = KvRows{.type = memory_type,
                         .k = k.memory.data(),
                         .v = v.memory.data(),
                         .k_strides = k.strides,
                         .v_strides = v.strides,
                         .k_tail_dim = 5,
                         .k_tail = tail.memory.data(),
                         .k_tail_strides = tail.strides};
        const Status status = AppendPagedKvRows(kv, kHeads, sequences_, positions_, k.NewRows(),
                                                v.NewRows(), tail.NewRows(), pool_);
        ASSERT_TRUE(status.ok()) << status.message();
        for (size_t i = 0; i < positions_.size(); ++i) {
          const size_t entry =
              size_t(kv_indptr_[size_t(sequences_[i])] + positions_[i] / page_size);
          for (Array* written : {&k, &v, &tail}) {
            if (is_ragged) {
              written->Expect(i, 0, int64_t(entry));
            } else {
              written->Expect(i, kv_indices_[entry], positions_[i] % page_size);
            }
          }
        }
        for (const Array* written : {&k, &v, &tail}) written->ExpectUntouched();
      }
    }
  }
}

TEST_F(AppendRowsTest, ABadArgumentIsNamedAndNothingWritten) {
  PagedKv kv = Pages(16, false);
  Array k(8, KvRowType::kF32, KvRowType::kF32, false, 16, kv.page_count, 1, random_);
  kv.rows.emplace();
  kv.rows->k = k.memory.data();
  kv.rows->k_strides = k.strides;
  const auto refusal = [&](const PagedKv& pages, int32_t sequence, int32_t position) {
    return AppendPagedKvRows(pages, kHeads, std::vector<int32_t>{sequence},
                             std::vector<int32_t>{position}, k.NewRows(), {}, {}, pool_)
        .message();
  };
  EXPECT_EQ(refusal(kv, 2, 0), "batch_indices[0] is 2, the batch has 2 sequences");
  EXPECT_EQ(refusal(kv, -1, 0), "batch_indices[0] is -1, the batch has 2 sequences");
  EXPECT_EQ(refusal(kv, 1, 16), "positions[0] is 16, the pages of sequence 1 hold 16 tokens");
  EXPECT_EQ(refusal(kv, 0, -1), "positions[0] is -1, the pages of sequence 0 hold 80 tokens");
  PagedKv few = kv;
  few.page_count = 3;
  EXPECT_EQ(refusal(few, 0, 0), "a page of sequence 0 is 6, there are 3 pages");
  PagedKv cut = kv;
  cut.kv_indices = cut.kv_indices.first(2);
  EXPECT_EQ(refusal(cut, 0, 0), "kv_indices has 2 entries, kv_indptr asks for 6");
  PagedKv blocks = kv;
  blocks.rows.reset();
  EXPECT_EQ(refusal(blocks, 0, 0), "kv has blocks, rows are needed");
  EXPECT_EQ(AppendPagedKvRows(kv, kHeads, {}, {}, {}, k.NewRows(), {}, pool_).message(),
            "v is given, kv has no such rows");
  k.ExpectUntouched();
  EXPECT_EQ(refusal(kv, 1, 15), "");

  std::vector<int32_t> a, b;
  const auto indices = [&](std::vector<int32_t> indptr, std::vector<int32_t> lens) {
    return BatchIndicesPositions(indptr, lens, &a, &b).message();
  };
  EXPECT_EQ(indices({0}, {1}), "append_indptr has 1 entries, batch + 1 = 2 are needed");
  EXPECT_EQ(indices({1, 1}, {1}), "append_indptr[0] is not 0");
  EXPECT_EQ(indices({0, 2, 1}, {5, 5}), "append_indptr falls at entry 2");
  EXPECT_EQ(indices({0, 3}, {2}), "seq_lens[0] is 2, 3 tokens are appended");
}

}  // namespace
}  // namespace kvasir
