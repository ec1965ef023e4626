#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <utility>

#include "kvasir/attention/attention_test_util.h"
#include "kvasir/base/thread_pool.h"
#include "kvasir/formats/float16.h"
#include "kvasir/formats/kv_codec.h"

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
  if (quantized()) {
    return "blocks of " + KvFormatsName(formats) + ", " + std::to_string(open_blocks) + " open";
  }
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

AttentionCosts CostsThatShare() {
  AttentionCosts costs;
  costs.kv_byte_ps = 1e5;
  costs.cache_bytes = 0;
  return costs;
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
    if (storage.quantized()) MakeOpenBlocks();
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
    if (storage.quantized()) EncodeBlocks(b);
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
                .format = storage_.formats,
                .open_blocks = storage_.quantized() ? storage_.open_blocks : 1};
  memory_ = std::move(AlignedBuffer::Allocate(kv_.page_count * kv_.layout.block_bytes())).value();
  std::memset(memory_.data(), 0xFF, memory_.size());  // a NaN in every type
  kv_.base = memory_.data();
}

// The last block of a sequence in an open slot, the others in staging; slots are dealt from the
// end.
void TestBatch::MakeOpenBlocks() {
  OpenKv open;
  open.layout = kv_.layout.OpenLayout();
  int32_t open_count = 0, staging_count = 0;
  own_indptr_.push_back(0);
  for (const TestSequence& s : sequences_) {
    const auto group = int32_t(storage_.open_blocks);
    const int32_t first = std::max(s.kv_len - s.q_len, 0) / 32 / group * group;
    const int32_t last = (s.kv_len + 31) / 32;
    first_own_block_.push_back(first);
    for (int32_t block = s.q_len == 0 ? last : first; block < last; ++block) {
      own_slots_.push_back(block + 1 < last ? -1 - staging_count++ : open_count++);
    }
    own_indptr_.push_back(int32_t(own_slots_.size()));
  }
  for (int32_t& slot : own_slots_) {
    slot = slot < 0 ? -1 - (staging_count - 1 - (-1 - slot)) : open_count - 1 - slot;
  }
  const auto allocate = [](size_t bytes, AlignedBuffer* memory) {
    *memory = std::move(AlignedBuffer::Allocate(bytes + 64)).value();
    std::memset(memory->data(), 0xFF, memory->size());
    return memory->data();
  };
  const size_t layer_bytes = open.LayerBytes();
  open.open_base = allocate(size_t(open_count) * kLayerCount * layer_bytes, &open_memory_);
  open.staging_base = allocate(size_t(staging_count) * layer_bytes, &staging_memory_);
  open.own_indptr = own_indptr_;
  open.own_slots = own_slots_;
  open.first_own_block = first_own_block_;
  kv_.open = open;
}

// The complete blocks of a sequence as codes; what the codec reads in them is what queries behind
// them see.
void TestBatch::EncodeBlocks(size_t sequence) {
  TestSequence& s = sequences_[sequence];
  s.group_tokens = 32 * int64_t{storage_.open_blocks};
  const KvBlockLayout& layout = kv_.layout;
  const size_t dim = layout.head_dim, columns = size_t{layout.kv_head_count} * dim;
  s.formats = storage_.formats;
  s.encoded_k = s.k;
  s.encoded_v = s.v;
  s.v_scales.assign(s.v.size(), 0.0f);
  std::vector<float> tile(kKvBlockTokens * dim);
  for (size_t block = 0; block < size_t(s.kv_len) / kKvBlockTokens; ++block) {
    std::byte* page = kv_.Page(kv_indices_[size_t(kv_indptr_[sequence]) + block]);
    for (uint32_t head = 0; head < layout.kv_head_count; ++head) {
      const auto encode = [&](const KvTile& places, std::byte* to, std::vector<float>* numbers) {
        const auto number = [&](size_t token, size_t d) -> float& {
          return (*numbers)[(block * kKvBlockTokens + token) * columns + head * dim + d];
        };
        for (size_t i = 0; i < tile.size(); ++i) tile[i] = number(i / dim, i % dim);
        EncodeKvTile(places, tile.data(), to);
        for (size_t i = 0; i < tile.size(); ++i) {
          number(i / dim, i % dim) =
              DecodeKvNumber(places, to, uint32_t(i / dim), uint32_t(i % dim));
        }
      };
      encode(layout.KTile(kLayer), page + layout.KTileOffset(kLayer, head), &s.encoded_k);
      const KvTile v_tile = layout.VTile(kLayer);
      std::byte* values = page + layout.VTileOffset(kLayer, head);
      encode(v_tile, values, &s.encoded_v);
      if (!IsInteger(v_tile.format)) continue;
      for (size_t i = 0; i < tile.size(); ++i) {
        s.v_scales[(block * kKvBlockTokens + i / dim) * columns + head * dim + i % dim] =
            LoadF16(values + v_tile.ScaleByte(uint32_t(i / dim), uint32_t(i % dim)));
      }
    }
  }
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
    const int32_t block = token / kv_.page_size;
    const bool is_open = storage_.quantized();
    if (is_open && (s.q_len == 0 || block < first_own_block_[sequence])) return;
    const KvBlockLayout& layout = is_open ? kv_.open->layout : kv_.layout;
    const uint32_t layer = is_open ? 0 : kLayer;
    std::byte* tiles =
        is_open ? kv_.open->Tiles(kv_.open->Slot(sequence, block), kLayer) : kv_.Page(page);
    std::byte* k_tile = tiles + layout.KTileOffset(layer, head);
    std::byte* v_tile = tiles + layout.VTileOffset(layer, head);
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

// A scaled query as the kernels multiply it with integer codes: rounded to int16 (attend.h).
std::vector<double> RoundedQuery(const AttentionSpec& spec, const float* numbers) {
  std::vector<float> scaled(numbers, numbers + spec.head_dim);
  float largest = 0;
  for (float& x : scaled) {
    x *= spec.sm_scale;
    largest = std::max(largest, std::abs(x));
  }
  std::vector<double> rounded;
  for (const float x : scaled) {
    const double code = largest == 0 ? 0 : std::nearbyint(x * (16383 / largest));
    rounded.push_back(code * double(largest) / 16383);
  }
  return rounded;
}

// What rounding weights [begin, split_end) to codes may add to a row: a step is 1/32767 of the
// largest weight of the split times the largest scale of the tiles [begin, end) that it reads as
// integers, apart for each group of scales; dims is one group.
double RoundingOfSplit(const TestSequence& s, const std::vector<double>& weights, size_t begin,
                       size_t end, size_t column, size_t columns, size_t dims) {
  const size_t split_end = std::min(begin + size_t{kKvSplitTokens}, weights.size());
  const double largest =
      *std::max_element(weights.begin() + ptrdiff_t(begin), weights.begin() + ptrdiff_t(split_end));
  double scale_max = 0, worst = 0;
  for (size_t t = begin; t < end; ++t) {
    scale_max = std::max(scale_max, std::abs(double(s.v_scales[t * columns + column])));
  }
  for (size_t d = 0; d < dims; ++d) {
    double squares = 0;
    for (size_t t = begin; t < end; ++t) {
      const double scale = double(s.v_scales[t * columns + column + d]);
      const double code = scale == 0 ? 0 : double(s.encoded_v[t * columns + column + d]) / scale;
      squares += code * code;
    }
    worst = std::max(worst, std::sqrt(squares));
  }
  return 6 * largest * scale_max / 32767 * worst / std::sqrt(12.0);
}

// The same of a whole row, whose keys from `own` on are not encoded.
double RoundingOfRow(const AttentionSpec& spec, const TestSequence& s,
                     const std::vector<double>& weights, size_t own, size_t kv_head) {
  if (s.v_scales.empty() || !IsInteger(s.formats.v)) return 0;
  const size_t dim = spec.head_dim, columns = spec.num_kv_heads * dim;
  const size_t group = s.formats.v == KvFormat::kInt4 ? 32 : dim;
  double worst = 0;
  for (size_t d = 0; d < dim; d += group) {
    double sum = 0;
    for (size_t begin = 0; begin < own; begin += size_t{kKvSplitTokens}) {
      const size_t end = std::min(begin + size_t{kKvSplitTokens}, own);
      sum += RoundingOfSplit(s, weights, begin, end, kv_head * dim + d, columns,
                             std::min(group, dim - d));
    }
    worst = std::max(worst, sum);
  }
  return worst;
}

}  // namespace

ReferenceOutput ReferenceAttention(const AttentionSpec& spec, const TestSequence& s) {
  constexpr double kInf = std::numeric_limits<double>::infinity();
  const size_t group = spec.group_size(), dim = spec.head_dim, v_dim = spec.v_dim();
  ReferenceOutput reference;
  reference.out.assign(size_t(s.q_len) * spec.num_qo_heads * v_dim, 0.0);
  for (int32_t i = 0; i < s.q_len; ++i) {
    const int64_t position = int64_t{s.kv_len} - s.q_len + i;
    const int64_t own =
        s.encoded_k.empty() ? 0 : std::max<int64_t>(position, 0) / s.group_tokens * s.group_tokens;
    for (size_t head = 0; head < spec.num_qo_heads; ++head) {
      const size_t row = size_t(i) * spec.num_qo_heads + head;
      const std::vector<double> whole_q = Rotated(spec, &s.q[row * dim], position);
      const std::vector<double> rounded_q = RoundedQuery(spec, &s.q[row * dim]);
      std::vector<double> logits(size_t(s.kv_len), -kInf);
      double max = spec.sinks.empty() ? -kInf : double(spec.sinks[head]);
      for (int64_t t = 0; t < s.kv_len; ++t) {
        if (!IsVisible(spec, s, i, t)) continue;
        const size_t key = size_t(t) * spec.num_kv_heads + head / group;
        const std::vector<double> k =
            Rotated(spec, t < own ? &s.encoded_k[key * dim] : &s.k[key * dim], t);
        const bool is_rounded = t < own && IsInteger(s.formats.k);
        const std::vector<double>& q = is_rounded ? rounded_q : whole_q;
        double dot = 0;
        for (size_t d = 0; d < dim; ++d) dot += q[d] * k[d];
        if (!is_rounded) dot *= double(spec.sm_scale);
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
      std::vector<double> magnitudes(v_dim), weights(size_t(s.kv_len));
      for (int64_t t = 0; t < s.kv_len && sum > 0; ++t) {
        const std::vector<float>& values = t < own ? s.encoded_v : s.v;
        const float* v = &values[(size_t(t) * spec.num_kv_heads + head / group) * v_dim];
        const double weight = weights[size_t(t)] = std::exp(logits[size_t(t)] - max) / sum;
        if (weight == 0) continue;
        for (size_t d = 0; d < v_dim; ++d) {
          reference.out[row * v_dim + d] += weight * double(v[d]);
          magnitudes[d] += weight * std::abs(double(v[d]));
        }
      }
      reference.scale.push_back(*std::max_element(magnitudes.begin(), magnitudes.end()));
      reference.rounding.push_back(
          RoundingOfRow(spec, s, weights, size_t(std::min<int64_t>(own, s.kv_len)), head / group));
    }
  }
  return reference;
}

OutputError CompareWithReference(std::span<const float> out, std::span<const float> lse,
                                 const ReferenceOutput& truth) {
  OutputError error;
  EXPECT_EQ(out.size(), truth.out.size());
  EXPECT_EQ(lse.size(), truth.lse.size());
  const auto worse = [](double worst, double x) {
    return std::isfinite(x) ? std::max(worst, x) : std::numeric_limits<double>::infinity();
  };
  const size_t v_dim = truth.lse.empty() ? 1 : truth.out.size() / truth.lse.size();
  for (size_t i = 0; i < truth.out.size(); ++i) {
    const double difference = std::abs(double(out[i]) - truth.out[i]);
    if (difference != 0) error.out = worse(error.out, difference / truth.scale[i / v_dim]);
  }
  for (size_t i = 0; i < truth.lse.size(); ++i) {
    if (double(lse[i]) == truth.lse[i]) continue;  // -inf too
    const double difference = std::abs(double(lse[i]) - truth.lse[i]);
    error.lse = worse(error.lse, difference / std::max(1.0, std::abs(truth.lse[i])));
  }
  return error;
}

ReferenceOutput Concatenate(const std::vector<ReferenceOutput>& parts) {
  ReferenceOutput all;
  for (const ReferenceOutput& part : parts) {
    all.out.insert(all.out.end(), part.out.begin(), part.out.end());
    all.lse.insert(all.lse.end(), part.lse.begin(), part.lse.end());
    all.scale.insert(all.scale.end(), part.scale.begin(), part.scale.end());
    all.rounding.insert(all.rounding.end(), part.rounding.begin(), part.rounding.end());
  }
  return all;
}

KvRows F32Rows(const AttentionSpec& spec, TestSequence* sequence) {
  KvRows rows;
  rows.k = reinterpret_cast<std::byte*>(sequence->k.data());
  rows.v = reinterpret_cast<std::byte*>(sequence->v.data());
  rows.k_strides = KvRowStrides::Nhd(1, spec.num_kv_heads, spec.head_dim);
  rows.v_strides = KvRowStrides::Nhd(1, spec.num_kv_heads, spec.v_dim());
  return rows;
}

}  // namespace kvasir
