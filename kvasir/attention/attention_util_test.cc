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

float Rounded(float x, KvRowType type) {
  if (type == KvRowType::kF32) return x;
  return type == KvRowType::kBF16 ? F32FromBF16(BF16FromF32(x)) : F32FromF16(F16FromF32(x));
}

std::vector<float> RandomNumbers(size_t count, KvRowType type, std::mt19937& random) {
  std::normal_distribution<float> normal;
  std::vector<float> numbers(count);
  for (float& x : numbers) x = Rounded(normal(random), type);
  return numbers;
}

void StoreNumber(std::byte* to, float x, KvRowType type) {
  if (type == KvRowType::kF32) {
    std::memcpy(to, &x, sizeof(x));
  } else {
    StoreU16(to, type == KvRowType::kBF16 ? BF16FromF32(x) : F16FromF32(x));
  }
}

// Numbers between one row and the next that belong to nobody.
constexpr int64_t kRowGap = 3;

}  // namespace

std::string TestStorage::Name() const {
  constexpr const char* kKinds[] = {"blocks", "nhd", "hnd", "ragged"};
  constexpr const char* kTypes[] = {"f32", "bf16", "f16"};
  return std::string(kKinds[size_t(kind)]) + " of " + kTypes[size_t(type)] + ", pages of " +
         std::to_string(page_size);
}

TestSequence RandomSequence(const AttentionSpec& spec, const TestStorage& storage, int32_t kv_len,
                            int32_t q_len, std::mt19937& random) {
  const size_t tokens = size_t(kv_len), heads = spec.num_kv_heads;
  TestSequence sequence;
  sequence.kv_len = kv_len;
  sequence.q_len = q_len;
  sequence.k = RandomNumbers(tokens * heads * spec.head_dim, storage.type, random);
  sequence.v = RandomNumbers(tokens * heads * spec.v_dim(), storage.type, random);
  sequence.q =
      RandomNumbers(size_t(q_len) * spec.num_qo_heads * spec.head_dim, KvRowType::kF32, random);
  return sequence;
}

TestSequence Prefix(const AttentionSpec& spec, const TestSequence& sequence, int32_t kv_len,
                    int32_t q_len) {
  const ptrdiff_t k_columns = ptrdiff_t{spec.num_kv_heads} * spec.head_dim;
  const ptrdiff_t v_columns = ptrdiff_t{spec.num_kv_heads} * spec.v_dim();
  const ptrdiff_t q_columns = ptrdiff_t{spec.num_qo_heads} * spec.head_dim;
  TestSequence prefix;
  prefix.kv_len = kv_len;
  prefix.q_len = q_len;
  prefix.k.assign(sequence.k.begin(), sequence.k.begin() + kv_len * k_columns);
  prefix.v.assign(sequence.v.begin(), sequence.v.begin() + kv_len * v_columns);
  prefix.q.assign(sequence.q.begin() + (kv_len - q_len) * q_columns,
                  sequence.q.begin() + kv_len * q_columns);
  return prefix;
}

void ShareTokens(const AttentionSpec& spec, const std::vector<TestSequence>& sequences,
                 int32_t from, int32_t tokens, TestSequence* sequence) {
  const TestSequence& source = sequences[size_t(from)];
  const size_t count = size_t(tokens) * spec.num_kv_heads;
  std::copy_n(source.k.begin(), count * spec.head_dim, sequence->k.begin());
  std::copy_n(source.v.begin(), count * spec.v_dim(), sequence->v.begin());
  sequence->shared_from = from;
  sequence->shared_tokens = tokens;
}

TestBatch::TestBatch(const AttentionSpec& spec, const TestStorage& storage,
                     std::vector<TestSequence> sequences, std::mt19937& random)
    : spec_(spec),
      storage_(storage),
      sequences_(std::move(sequences)),
      qo_indptr_{0},
      kv_indptr_{0} {
  for (const TestSequence& s : sequences_) qo_indptr_.push_back(qo_indptr_.back() + s.q_len);
  DealPages(random);
  if (storage.kind == TestStorage::Kind::kBlocks) {
    MakeBlocks();
  } else {
    MakeRows();
  }
  kv_.kv_indptr = kv_indptr_;
  kv_.kv_indices = kv_indices_;
  kv_.kv_last_page_len = kv_last_page_len_;
  for (size_t b = 0; b < sequences_.size(); ++b) {
    for (int32_t t = 0; t < sequences_[b].kv_len; ++t) {
      for (uint32_t head = 0; head < spec.num_kv_heads; ++head) Put(b, t, head);
    }
  }
  PackMasks();
}

void TestBatch::DealPages(std::mt19937& random) {
  const int32_t page_size = storage_.kind == TestStorage::Kind::kRagged ? 1 : storage_.page_size;
  kv_.page_size = page_size;
  for (const TestSequence& s : sequences_) {
    kv_indptr_.push_back(kv_indptr_.back() + (s.kv_len + page_size - 1) / page_size);
    kv_last_page_len_.push_back(s.kv_len == 0 ? 0 : (s.kv_len - 1) % page_size + 1);
  }
  // A few pages more than needed, in random order; the ragged ones stay in order.
  kv_.page_count = size_t(kv_indptr_.back()) + 3;
  for (size_t page = 0; page < kv_.page_count; ++page) kv_indices_.push_back(int32_t(page));
  if (storage_.kind != TestStorage::Kind::kRagged) {
    std::shuffle(kv_indices_.begin(), kv_indices_.end(), random);
  }
  kv_indices_.resize(size_t(kv_indptr_.back()));
  for (size_t b = 0; b < sequences_.size(); ++b) {
    const TestSequence& s = sequences_[b];
    if (s.shared_from < 0) continue;
    std::copy_n(kv_indices_.begin() + kv_indptr_[size_t(s.shared_from)],
                s.shared_tokens / page_size, kv_indices_.begin() + kv_indptr_[b]);
  }
}

void TestBatch::MakeBlocks() {
  kv_.layout = {.layer_count = kLayerCount,
                .kv_head_count = spec_.num_kv_heads,
                .head_dim = spec_.head_dim,
                .format = storage_.type == KvRowType::kF32 ? KvFormat::kF32 : KvFormat::kBF16};
  memory_ = std::move(AlignedBuffer::Allocate(kv_.page_count * kv_.layout.block_bytes())).value();
  std::memset(memory_.data(), 0xFF, memory_.size());  // a NaN in every type
  kv_.base = memory_.data();
}

void TestBatch::MakeRows() {
  const auto strides = [&](uint32_t dim) {
    const int64_t row = dim + kRowGap, heads = spec_.num_kv_heads, size = kv_.page_size;
    return storage_.kind == TestStorage::Kind::kHnd
               ? KvRowStrides{.page = row * heads * size, .token = row, .head = row * size}
               : KvRowStrides{.page = row * heads * size, .token = row * heads, .head = row};
  };
  KvRows rows;
  rows.type = storage_.type;
  rows.k_strides = strides(spec_.head_dim);
  rows.v_strides = strides(spec_.v_dim());
  const auto allocate = [&](const KvRowStrides& s, AlignedBuffer* memory) {
    const size_t bytes = kv_.page_count * size_t(s.page) * KvRowTypeBytes(rows.type);
    *memory = std::move(AlignedBuffer::Allocate(bytes)).value();
    std::memset(memory->data(), 0xFF, memory->size());
    return memory->data();
  };
  rows.k = allocate(rows.k_strides, &memory_);
  rows.v = allocate(rows.v_strides, &v_memory_);
  kv_.rows = rows;
  kv_.is_ragged = storage_.kind == TestStorage::Kind::kRagged;
}

void TestBatch::Put(size_t sequence, int32_t token, uint32_t head) {
  const TestSequence& s = sequences_[sequence];
  const size_t row = size_t(token) * spec_.num_kv_heads + head;
  const float* k = &s.k[row * spec_.head_dim];
  const float* v = &s.v[row * spec_.v_dim()];
  const int32_t page = kv_indices_[size_t(kv_indptr_[sequence] + token / kv_.page_size)];
  const uint32_t slot = uint32_t(token % kv_.page_size);
  const size_t number_bytes = KvRowTypeBytes(storage_.type);
  if (!kv_.rows) {
    const KvBlockLayout& layout = kv_.layout;
    std::byte* k_tile = kv_.Page(page) + layout.KTileOffset(kLayer, head);
    std::byte* v_tile = kv_.Page(page) + layout.VTileOffset(kLayer, head);
    for (uint32_t d = 0; d < layout.head_dim; ++d) {
      StoreNumber(k_tile + number_bytes * layout.KElement(slot, d), k[d], storage_.type);
      StoreNumber(v_tile + number_bytes * layout.VElement(slot, d), v[d], storage_.type);
    }
    return;
  }
  const auto put = [&](std::byte* base, const KvRowStrides& strides, const float* from,
                       uint32_t dim) {
    std::byte* to = base + number_bytes * size_t(page * strides.page + slot * strides.token +
                                                 head * strides.head);
    for (uint32_t d = 0; d < dim; ++d) {
      StoreNumber(to + number_bytes * d, from[d], storage_.type);
    }
  };
  put(kv_.rows->k, kv_.rows->k_strides, k, spec_.head_dim);
  put(kv_.rows->v, kv_.rows->v_strides, v, spec_.v_dim());
}

void TestBatch::PackMasks() {
  const auto has_mask = [](const TestSequence& s) { return !s.mask.empty(); };
  if (std::none_of(sequences_.begin(), sequences_.end(), has_mask)) return;
  mask_indptr_.push_back(0);
  for (const TestSequence& s : sequences_) {
    const size_t first = mask_.size();
    mask_.resize(first + (s.mask.size() + 7) / 8);
    for (size_t i = 0; i < s.mask.size(); ++i) mask_[first + i / 8] |= s.mask[i] << (i % 8);
    mask_indptr_.push_back(int32_t(mask_.size()));
  }
  spec_.packed_custom_mask = mask_;
  spec_.mask_indptr = mask_indptr_;
}

TestOutput TestBatch::Run(const AttentionPlanOptions& options) const {
  const size_t q_columns = size_t{spec_.num_qo_heads} * spec_.head_dim;
  const size_t columns = size_t{spec_.num_qo_heads} * spec_.v_dim();
  // Strides beyond the columns, as when q is a part of a wider matrix.
  const size_t q_stride = q_columns + 5, out_stride = columns + 3;
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  std::vector<float> q(row_count() * q_stride, kNan);
  for (size_t b = 0; b < sequences_.size(); ++b) {
    for (int32_t i = 0; i < sequences_[b].q_len; ++i) {
      std::copy_n(sequences_[b].q.begin() + ptrdiff_t(size_t(i) * q_columns), q_columns,
                  q.begin() + ptrdiff_t(size_t(qo_indptr_[b] + i) * q_stride));
    }
  }
  std::vector<float> out(row_count() * out_stride, kNan);
  TestOutput output;
  output.lse.assign(row_count() * spec_.num_qo_heads, kNan);
  ThreadPool threads(options.thread_count);
  BatchAttentionPlan plan;
  const Status status = PlanBatchAttention(spec_, qo_indptr_, kv_, options, &plan);
  EXPECT_TRUE(status.ok()) << status.message();
  // Twice: a Run must leave the plan as it found it.
  for (int repeat = 0; repeat < 2; ++repeat) {
    plan.Run(kv_, kLayer, MatrixView<const float>(q.data(), row_count(), q_columns, q_stride),
             MatrixView<float>(out.data(), row_count(), columns, out_stride),
             MatrixView<float>(output.lse.data(), row_count(), spec_.num_qo_heads), threads);
  }
  for (size_t row = 0; row < row_count(); ++row) {
    const auto begin = out.begin() + ptrdiff_t(row * out_stride);
    output.out.insert(output.out.end(), begin, begin + ptrdiff_t(columns));
    for (size_t c = columns; c < out_stride; ++c)
      EXPECT_TRUE(std::isnan(out[row * out_stride + c]));
  }
  return output;
}

namespace {

// One query or key, turned to `position` in float64.
std::vector<double> Rotated(const AttentionSpec& spec, const float* numbers, int64_t position) {
  std::vector<double> x(numbers, numbers + spec.head_dim);
  if (spec.rope == nullptr) return x;
  const size_t half = spec.rope->rotary_dim() / 2;
  for (size_t d = 0; d < half; ++d) {
    const double frequency = std::pow(double(kTestRopeTheta), -double(d) / double(half));
    const double cos = std::cos(double(position) * frequency);
    const double sin = std::sin(double(position) * frequency);
    const double a = x[d], b = x[d + half];
    x[d] = a * cos - b * sin;
    x[d + half] = b * cos + a * sin;
  }
  return x;
}

bool IsVisible(const AttentionSpec& spec, const TestSequence& s, int32_t i, int64_t key) {
  const int64_t position = int64_t{s.kv_len} - s.q_len + i;
  if (spec.window_left >= 0 && key < position - spec.window_left) return false;
  if (!s.mask.empty()) return s.mask[size_t(i) * size_t(s.kv_len) + size_t(key)] != 0;
  return !spec.causal || key <= position;
}

}  // namespace

ReferenceOutput ReferenceAttention(const AttentionSpec& spec, const TestSequence& s) {
  constexpr double kInf = std::numeric_limits<double>::infinity();
  const size_t group = spec.group_size(), dim = spec.head_dim, v_dim = spec.v_dim();
  ReferenceOutput reference;
  reference.out.assign(size_t(s.q_len) * spec.num_qo_heads * v_dim, 0.0);
  for (int32_t i = 0; i < s.q_len; ++i) {
    const int64_t position = int64_t{s.kv_len} - s.q_len + i;
    for (size_t head = 0; head < spec.num_qo_heads; ++head) {
      const size_t row = size_t(i) * spec.num_qo_heads + head;
      const std::vector<double> q = Rotated(spec, &s.q[row * dim], position);
      std::vector<double> logits(size_t(s.kv_len), -kInf);
      double max = spec.sinks.empty() ? -kInf : double(spec.sinks[head]);
      for (int64_t t = 0; t < s.kv_len; ++t) {
        if (!IsVisible(spec, s, i, t)) continue;
        const size_t key = size_t(t) * spec.num_kv_heads + head / group;
        const std::vector<double> k = Rotated(spec, &s.k[key * dim], t);
        double dot = 0;
        for (size_t d = 0; d < dim; ++d) dot += q[d] * k[d];
        dot *= double(spec.sm_scale);
        if (!spec.alibi_slopes.empty()) {
          dot += double(spec.alibi_slopes[head]) * double(t - position);
        }
        const double cap = double(spec.logits_soft_cap);
        logits[size_t(t)] = cap > 0 ? cap * std::tanh(dot / cap) : dot;
        max = std::max(max, logits[size_t(t)]);
      }
      double sum = spec.sinks.empty() ? 0 : std::exp(double(spec.sinks[head]) - max);
      if (max == -kInf) sum = 0;
      for (int64_t t = 0; t < s.kv_len && max > -kInf; ++t) {
        sum += std::exp(logits[size_t(t)] - max);
      }
      reference.lse.push_back(sum > 0 ? max + std::log(sum) : -kInf);
      std::vector<double> magnitudes(v_dim);
      for (int64_t t = 0; t < s.kv_len && sum > 0; ++t) {
        const float* v = &s.v[(size_t(t) * spec.num_kv_heads + head / group) * v_dim];
        const double weight = std::exp(logits[size_t(t)] - max) / sum;
        if (weight == 0) continue;
        for (size_t d = 0; d < v_dim; ++d) {
          reference.out[row * v_dim + d] += weight * double(v[d]);
          magnitudes[d] += weight * std::abs(double(v[d]));
        }
      }
      reference.scale.push_back(*std::max_element(magnitudes.begin(), magnitudes.end()));
    }
  }
  return reference;
}

}  // namespace kvasir
