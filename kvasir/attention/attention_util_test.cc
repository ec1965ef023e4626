#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <utility>

#include "kvasir/attention/attention_test_util.h"
#include "kvasir/base/thread_pool.h"
#include "kvasir/formats/float16.h"

namespace kvasir {

namespace {

std::vector<float> RandomNumbers(size_t count, float mean, bool round, std::mt19937& random) {
  std::normal_distribution<float> normal(mean);
  std::vector<float> numbers(count);
  for (float& x : numbers) x = round ? F32FromBF16(BF16FromF32(normal(random))) : normal(random);
  return numbers;
}

}  // namespace

TestSequence RandomSequence(const AttentionSpec& spec, KvFormat format, int32_t kv_len,
                            int32_t q_len, std::mt19937& random) {
  const size_t kv_columns = size_t{spec.num_kv_heads} * spec.head_dim;
  const size_t q_columns = size_t{spec.num_qo_heads} * spec.head_dim;
  const bool round = format == KvFormat::kBF16;
  TestSequence sequence;
  sequence.kv_len = kv_len;
  sequence.q_len = q_len;
  sequence.k = RandomNumbers(size_t(kv_len) * kv_columns, 0.0f, round, random);
  // Not around 0: with few dims the values of a row might cancel out, and no error would be small
  // relative to what is left.
  sequence.v = RandomNumbers(size_t(kv_len) * kv_columns, 2.0f, round, random);
  sequence.q = RandomNumbers(size_t(q_len) * q_columns, 0.0f, false, random);
  return sequence;
}

TestSequence Prefix(const AttentionSpec& spec, const TestSequence& sequence, int32_t kv_len,
                    int32_t q_len) {
  const ptrdiff_t kv_columns = ptrdiff_t{spec.num_kv_heads} * spec.head_dim;
  const ptrdiff_t q_columns = ptrdiff_t{spec.num_qo_heads} * spec.head_dim;
  TestSequence prefix;
  prefix.kv_len = kv_len;
  prefix.q_len = q_len;
  prefix.k.assign(sequence.k.begin(), sequence.k.begin() + kv_len * kv_columns);
  prefix.v.assign(sequence.v.begin(), sequence.v.begin() + kv_len * kv_columns);
  prefix.q.assign(sequence.q.begin() + (kv_len - q_len) * q_columns,
                  sequence.q.begin() + kv_len * q_columns);
  return prefix;
}

TestBatch::TestBatch(const AttentionSpec& spec, KvFormat format,
                     std::vector<TestSequence> sequences, std::mt19937& random)
    : spec_(spec), sequences_(std::move(sequences)), qo_indptr_{0}, kv_indptr_{0} {
  kv_.layout = {.layer_count = kLayerCount,
                .kv_head_count = spec.num_kv_heads,
                .head_dim = spec.head_dim,
                .format = format};
  for (const TestSequence& s : sequences_) {
    qo_indptr_.push_back(qo_indptr_.back() + s.q_len);
    kv_indptr_.push_back(kv_indptr_.back() + (s.kv_len + 31) / 32);
    kv_last_page_len_.push_back(s.kv_len == 0 ? 0 : (s.kv_len - 1) % 32 + 1);
  }
  // A few pages more than needed, in random order.
  kv_.page_count = size_t(kv_indptr_.back()) + 3;
  for (size_t page = 0; page < kv_.page_count; ++page) kv_indices_.push_back(int32_t(page));
  std::shuffle(kv_indices_.begin(), kv_indices_.end(), random);
  kv_indices_.resize(size_t(kv_indptr_.back()));
  pool_ = std::move(AlignedBuffer::Allocate(kv_.page_count * kv_.layout.block_bytes())).value();
  std::memset(pool_.data(), 0xFF, pool_.size());  // a NaN in both formats
  kv_.base = pool_.data();
  kv_.kv_indptr = kv_indptr_;
  kv_.kv_indices = kv_indices_;
  kv_.kv_last_page_len = kv_last_page_len_;
  for (size_t b = 0; b < sequences_.size(); ++b) Place(b);
}

void TestBatch::Place(size_t sequence) {
  const KvBlockLayout& layout = kv_.layout;
  const TestSequence& s = sequences_[sequence];
  const auto put = [&](std::byte* tile, size_t element, float x) {
    if (layout.format == KvFormat::kF32) {
      std::memcpy(tile + 4 * element, &x, 4);
    } else {
      StoreU16(tile + 2 * element, BF16FromF32(x));
    }
  };
  for (int32_t t = 0; t < s.kv_len; ++t) {
    std::byte* block = kv_.Page(kv_indices_[size_t(kv_indptr_[sequence] + t / 32)]);
    for (uint32_t head = 0; head < layout.kv_head_count; ++head) {
      for (uint32_t d = 0; d < layout.head_dim; ++d) {
        const size_t i = (size_t(t) * layout.kv_head_count + head) * layout.head_dim + d;
        put(block + layout.KTileOffset(kLayer, head), layout.KElement(uint32_t(t) % 32, d), s.k[i]);
        put(block + layout.VTileOffset(kLayer, head), layout.VElement(uint32_t(t) % 32, d), s.v[i]);
      }
    }
  }
}

std::vector<float> TestBatch::Run(size_t thread_count) const {
  const size_t columns = size_t{spec_.num_qo_heads} * spec_.head_dim;
  // Strides beyond the columns, as when q is a part of a wider matrix.
  const size_t q_stride = columns + 5, out_stride = columns + 3;
  std::vector<float> q(row_count() * q_stride, std::numeric_limits<float>::quiet_NaN());
  for (size_t b = 0; b < sequences_.size(); ++b) {
    for (int32_t i = 0; i < sequences_[b].q_len; ++i) {
      std::copy_n(sequences_[b].q.begin() + ptrdiff_t(size_t(i) * columns), columns,
                  q.begin() + ptrdiff_t(size_t(qo_indptr_[b] + i) * q_stride));
    }
  }
  std::vector<float> out(row_count() * out_stride, std::numeric_limits<float>::quiet_NaN());
  ThreadPool threads(thread_count);
  BatchAttentionPlan plan;
  const Status status = PlanBatchAttention(spec_, qo_indptr_, kv_, thread_count, &plan);
  EXPECT_TRUE(status.ok()) << status.message();
  // Twice: a Run must leave the plan as it found it.
  for (int repeat = 0; repeat < 2; ++repeat) {
    plan.Run(kv_, kLayer, MatrixView<const float>(q.data(), row_count(), columns, q_stride),
             MatrixView<float>(out.data(), row_count(), columns, out_stride), threads);
  }
  std::vector<float> dense;
  for (size_t row = 0; row < row_count(); ++row) {
    const auto begin = out.begin() + ptrdiff_t(row * out_stride);
    dense.insert(dense.end(), begin, begin + ptrdiff_t(columns));
    for (size_t c = columns; c < out_stride; ++c)
      EXPECT_TRUE(std::isnan(out[row * out_stride + c]));
  }
  return dense;
}

std::vector<double> ReferenceAttention(const AttentionSpec& spec, const TestSequence& s) {
  const size_t group = spec.num_qo_heads / spec.num_kv_heads, dim = spec.head_dim;
  std::vector<double> out(size_t(s.q_len) * spec.num_qo_heads * dim, 0.0);
  for (int32_t i = 0; i < s.q_len; ++i) {
    const int64_t position = int64_t{s.kv_len} - s.q_len + i;
    const int64_t first =
        spec.window_left < 0 ? 0 : std::max<int64_t>(0, position - spec.window_left);
    for (size_t head = 0; head < spec.num_qo_heads; ++head) {
      const size_t row = size_t(i) * spec.num_qo_heads + head;
      std::vector<double> logits;
      for (int64_t t = first; t <= position; ++t) {
        const float* k = &s.k[(size_t(t) * spec.num_kv_heads + head / group) * dim];
        double dot = 0;
        for (size_t d = 0; d < dim; ++d) dot += double(s.q[row * dim + d]) * double(k[d]);
        dot *= double(spec.sm_scale);
        const double cap = double(spec.logits_soft_cap);
        logits.push_back(cap > 0 ? cap * std::tanh(dot / cap) : dot);
      }
      if (logits.empty()) continue;
      const double max = *std::max_element(logits.begin(), logits.end());
      double sum = 0;
      for (double& x : logits) sum += x = std::exp(x - max);
      for (int64_t t = first; t <= position; ++t) {
        const float* v = &s.v[(size_t(t) * spec.num_kv_heads + head / group) * dim];
        const double weight = logits[size_t(t - first)] / sum;
        for (size_t d = 0; d < dim; ++d) out[row * dim + d] += weight * double(v[d]);
      }
    }
  }
  return out;
}

}  // namespace kvasir
