// What the benches of the attention library share: batches over random memory of every kind, and
// timing in turns. Figures of seconds; one thread, which owns the pool.

#ifndef KVASIR_ATTENTION_BENCH_WORKLOAD_H_
#define KVASIR_ATTENTION_BENCH_WORKLOAD_H_

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "kvasir/attention/batch_attention.h"
#include "kvasir/base/aligned_buffer.h"
#include "kvasir/base/thread_pool.h"
#include "kvasir/formats/float16.h"
#include "kvasir/formats/kv_codec.h"

namespace kvasir {

inline double Now() {
  using Clock = std::chrono::steady_clock;
  return std::chrono::duration<double>(Clock::now().time_since_epoch()).count();
}

// Median, smallest and largest of some measurements.
struct Spread {
  double median = 0, min = 0, max = 0;

  static Spread Of(std::vector<double> values) {
    std::sort(values.begin(), values.end());
    return {values[values.size() / 2], values.front(), values.back()};
  }
};

// Seconds of each function in rounds that take turns; the first round is not counted.
inline std::vector<std::vector<double>> TakeTurns(
    const std::vector<std::function<void()>>& functions, int rounds) {
  std::vector<std::vector<double>> seconds(functions.size());
  for (int round = -1; round < rounds; ++round) {
    for (size_t i = 0; i < functions.size(); ++i) {
      const double start = Now();
      functions[i]();
      if (round >= 0) seconds[i].push_back(Now() - start);
    }
  }
  return seconds;
}

inline Spread Ratio(const std::vector<double>& over, const std::vector<double>& under) {
  std::vector<double> ratios;
  for (size_t i = 0; i < over.size(); ++i) ratios.push_back(over[i] / under[i]);
  return Spread::Of(ratios);
}

[[noreturn]] inline void Die(const std::string& why) {
  std::fprintf(stderr, "attention_bench: %s\n", why.c_str());
  std::exit(1);
}

struct Shape {
  AttentionSpec spec;
  std::vector<int32_t> q_lens;
  std::vector<int32_t> kv_lens;
  int32_t shared_tokens = 0;  // that all sequences hold in the same pages, a multiple of the page
  KvFormats format = KvFormat::kBF16;
  int32_t page_size = 0;  // 0 = blocks, else rows
  bool is_hnd = false;
  bool shuffles_pages = false;
  size_t layers_max = 64;

  double tokens() const {
    double sum = 0;
    for (const int32_t len : kv_lens) sum += len;
    return sum;
  }
};

inline AttentionSpec MakeSpec(uint32_t group, uint32_t kv_heads, uint32_t head_dim) {
  return {group * kv_heads, kv_heads, head_dim, 1.0f / std::sqrt(float(head_dim))};
}

// Decode reads enough layers that one round of all of them exceeds any last-level cache we know of.
inline constexpr size_t kColdBytes = size_t{256} << 20;

// Keys and values of one batch, random, in as many layers as the memory of `byte_count` holds.
class Workload {
 public:
  Workload(const Shape& shape, size_t byte_count, ThreadPool& pool) : shape_(shape), pool_(pool) {
    const int32_t page_size = shape.page_size == 0 ? 32 : shape.page_size;
    int32_t page_count = shape.shared_tokens / page_size;
    for (size_t b = 0; b < shape.kv_lens.size(); ++b) {
      const int32_t pages = (shape.kv_lens[b] + page_size - 1) / page_size;
      qo_indptr_.push_back(qo_indptr_.back() + shape.q_lens[b]);
      kv_indptr_.push_back(kv_indptr_.back() + pages);
      last_page_len_.push_back((shape.kv_lens[b] - 1) % page_size + 1);
      for (int32_t i = 0; i < pages; ++i) {
        indices_.push_back(i < shape.shared_tokens / page_size ? i : page_count++);
      }
    }
    if (shape.shuffles_pages) ShufflePages(page_count);
    MakeMemory(page_size, size_t(page_count), byte_count);
    kv_.page_size = page_size;
    kv_.page_count = size_t(page_count);
    kv_.kv_indptr = kv_indptr_;
    kv_.kv_indices = indices_;
    kv_.kv_last_page_len = last_page_len_;
    std::mt19937 random(1);
    q_.resize(rows() * columns());
    for (float& x : q_) x = float(random()) * 0x1p-31f - 1.0f;
    out_.assign(q_.size(), 0);
  }

  size_t rows() const { return size_t(qo_indptr_.back()); }
  size_t columns() const { return size_t{shape_.spec.num_qo_heads} * shape_.spec.head_dim; }
  size_t layer_count() const { return layers_.size(); }
  const PagedKv& kv() const { return kv_; }
  const std::vector<int32_t>& qo_indptr() const { return qo_indptr_; }
  const std::vector<float>& out() const { return out_; }
  double layer_bytes() const {  // read once if every page of a sequence is read by it alone
    return shape_.tokens() * 2 * shape_.spec.num_kv_heads * shape_.spec.head_dim * NumberBytes();
  }

  BatchAttentionPlan Plan(const AttentionCosts& costs, bool cascade) const {
    BatchAttentionPlan plan;
    const AttentionPlanOptions options = {pool_.thread_count(), cascade, costs};
    const Status status = PlanBatchAttention(shape_.spec, qo_indptr_, kv_, options, &plan);
    if (!status.ok()) Die(status.message());
    return plan;
  }
  void Run(const BatchAttentionPlan& plan) {
    for (size_t layer = 0; layer < layers_.size(); ++layer) {
      plan.Run(layers_[layer], uint32_t(layer),
               MatrixView<const float>(q_.data(), rows(), columns()),
               MatrixView(out_.data(), rows(), columns()), pool_);
    }
  }

  // Dies unless some rows of the last layer's output are those of the definition, in float64, over
  // what the codec reads in the tiles.
  void CheckSomeRows(double tolerance) const {
    const size_t heads = shape_.spec.num_qo_heads, dim = shape_.spec.head_dim;
    for (const size_t row : {size_t{0}, rows() / 2, rows() - 1}) {
      for (const size_t head : {size_t{0}, heads - 1}) {
        const std::vector<double> truth = TrueRow(row, head);
        for (size_t d = 0; d < dim; ++d) {
          const double found = out_[row * columns() + head * dim + d];
          if (std::abs(found - truth[d]) <= tolerance) continue;
          Die("outputs differ from the truth: " + std::to_string(found) + " and " +
              std::to_string(truth[d]) + " in row " + std::to_string(row) + ", head " +
              std::to_string(head) + ", dim " + std::to_string(d));
        }
      }
    }
  }

  // The same by a plain loop: each query head reads its keys and values for itself, one position
  // after the other. Rows only, f32.
  void RunNaive() {
    const size_t dim = shape_.spec.head_dim, group = shape_.spec.group_size();
    for (size_t layer = 0; layer < layers_.size(); ++layer) {
      const PagedKv& kv = layers_[layer];
      const size_t heads = shape_.spec.num_qo_heads;
      pool_.ParallelFor(rows() * heads, [&](size_t task, size_t) {
        const size_t b = task / heads, head = task % heads;  // decode: one row a sequence
        std::vector<float> scores(size_t(kv.KvLen(b)));
        const float* q = &q_[b * columns() + head * dim];
        float max = -INFINITY;
        for (size_t t = 0; t < scores.size(); ++t) {
          const float* k = NaiveRow(kv, b, t, head / group, false);
          float sum = 0;
          for (size_t d = 0; d < dim; ++d) sum += q[d] * k[d];
          scores[t] = sum * shape_.spec.sm_scale;
          max = std::max(max, scores[t]);
        }
        std::vector<float> acc(dim, 0.0f);
        float total = 0;
        for (size_t t = 0; t < scores.size(); ++t) {
          const float weight = std::exp(scores[t] - max);
          const float* v = NaiveRow(kv, b, t, head / group, true);
          total += weight;
          for (size_t d = 0; d < dim; ++d) acc[d] += weight * v[d];
        }
        for (size_t d = 0; d < dim; ++d) out_[b * columns() + head * dim + d] = acc[d] / total;
      });
    }
  }

 private:
  // Causal, without window.
  std::vector<double> TrueRow(size_t row, size_t head) const {
    const PagedKv& kv = layers_.back();
    const KvBlockLayout& layout = kv.layout;
    const auto layer = uint32_t(layers_.size() - 1);
    const auto kv_head = uint32_t(head / shape_.spec.group_size());
    const size_t after = size_t(
        std::upper_bound(qo_indptr_.begin(), qo_indptr_.end(), int32_t(row)) - qo_indptr_.begin());
    const size_t b = after - 1, dim = layout.head_dim;
    const size_t position = size_t(kv.KvLen(b) - (qo_indptr_[b + 1] - int32_t(row)));
    const float* q = &q_[row * columns() + head * dim];
    std::vector<double> out(dim, 0.0), logits;
    std::vector<const std::byte*> values;
    std::vector<KvTile> value_tiles;
    for (size_t t = 0; t <= position; ++t) {
      const bool is_own = layout.quantized() && t / 32 >= position / 32;
      const KvBlockLayout& places = is_own ? kv.open->layout : layout;
      const uint32_t at = is_own ? 0 : layer;
      const std::byte* block = is_own ? kv.open->Tiles(kv.open->Slot(b, int32_t(t / 32)), layer)
                                      : kv.Page(kv.PageId(b, kv_head, t / 32));
      const std::byte* keys = block + places.KTileOffset(at, kv_head);
      double logit = 0;
      for (size_t d = 0; d < dim; ++d) {
        logit +=
            double(q[d]) * DecodeKvNumber(places.KTile(at), keys, uint32_t(t % 32), uint32_t(d));
      }
      logits.push_back(logit * double(shape_.spec.sm_scale));
      values.push_back(block + places.VTileOffset(at, kv_head));
      value_tiles.push_back(places.VTile(at));
    }
    const double max = *std::max_element(logits.begin(), logits.end());
    double sum = 0;
    for (size_t t = 0; t <= position; ++t) {
      const double weight = std::exp(logits[t] - max);
      sum += weight;
      for (size_t d = 0; d < dim; ++d) {
        out[d] += weight *
                  double(DecodeKvNumber(value_tiles[t], values[t], uint32_t(t % 32), uint32_t(d)));
      }
    }
    for (double& x : out) x /= sum;
    return out;
  }

  static const float* NaiveRow(const PagedKv& kv, size_t b, size_t t, size_t head, bool value) {
    const KvRowStrides& s = value ? kv.rows->v_strides : kv.rows->k_strides;
    const std::byte* base = value ? kv.rows->v : kv.rows->k;
    const size_t page = size_t(kv.PageId(b, 0, t / size_t(kv.page_size)));
    return reinterpret_cast<const float*>(base) + page * size_t(s.page) +
           t % size_t(kv.page_size) * size_t(s.token) + head * size_t(s.head);
  }

  void ShufflePages(int32_t page_count) {
    std::vector<int32_t> ids(static_cast<size_t>(page_count));
    for (size_t i = 0; i < ids.size(); ++i) ids[i] = int32_t(i);
    std::mt19937 random(2);
    std::shuffle(ids.begin(), ids.end(), random);
    for (int32_t& page : indices_) page = ids[size_t(page)];
  }

  void MakeMemory(int32_t page_size, size_t page_count, size_t byte_count) {
    const AttentionSpec& spec = shape_.spec;
    const size_t number_bytes = NumberBytes();
    const size_t numbers =
        page_count * size_t(page_size) * spec.num_kv_heads * spec.head_dim;  // of K or V
    const size_t layer_bytes = 2 * numbers * number_bytes;
    const size_t layers = std::clamp<size_t>(byte_count / layer_bytes + 1, 1, shape_.layers_max);
    if (shape_.page_size == 0) {
      kv_.layout = {uint32_t(layers), spec.num_kv_heads, spec.head_dim, shape_.format};
      memory_ = Allocate(page_count * kv_.layout.block_bytes());
      kv_.base = memory_.data();
      if (kv_.layout.quantized()) MakeOpenBlocks();
    } else {
      memory_ = Allocate(layers * layer_bytes);
      const KvRowStrides strides =
          shape_.is_hnd ? KvRowStrides::Hnd(page_size, spec.num_kv_heads, spec.head_dim)
                        : KvRowStrides::Nhd(page_size, spec.num_kv_heads, spec.head_dim);
      kv_.rows = KvRows{.type = number_bytes == 4 ? KvRowType::kF32 : KvRowType::kBF16,
                        .k = memory_.data(),
                        .v = memory_.data() + layer_bytes / 2,
                        .k_strides = strides,
                        .v_strides = strides,
                        .k_tail_strides = {}};
    }
    Fill();
    layers_.assign(layers, PagedKv());
    for (size_t layer = 0; layer < layers; ++layer) {
      PagedKv& view = layers_[layer] = kv_;
      if (view.rows) {
        view.rows->k += layer * layer_bytes;
        view.rows->v += layer * layer_bytes;
      }
      view.page_size = page_size;
      view.page_count = page_count;
      view.kv_indptr = kv_indptr_;
      view.kv_indices = indices_;
      view.kv_last_page_len = last_page_len_;
    }
  }

  static AlignedBuffer Allocate(size_t bytes) {
    Result<AlignedBuffer> memory = AlignedBuffer::Allocate(bytes);
    if (!memory.ok()) Die(memory.status().message());
    return std::move(memory).value();
  }

  size_t NumberBytes() const { return shape_.format.k == KvFormat::kF32 ? 4 : 2; }

  // Staging slots, which all layers share.
  void MakeOpenBlocks() {
    OpenKv open;
    open.layout = kv_.layout.OpenLayout();
    for (size_t b = 0; b < shape_.kv_lens.size(); ++b) {
      first_own_block_.push_back((shape_.kv_lens[b] - shape_.q_lens[b]) / 32);
      for (int32_t i = first_own_block_[b]; i < (shape_.kv_lens[b] + 31) / 32; ++i) {
        own_slots_.push_back(-1 - int32_t(own_slots_.size()));
      }
      own_indptr_.push_back(int32_t(own_slots_.size()));
    }
    staging_ = Allocate(own_slots_.size() * open.LayerBytes());
    FillBF16(staging_);
    open.staging_base = staging_.data();
    open.own_indptr = own_indptr_;
    open.own_slots = own_slots_;
    open.first_own_block = first_own_block_;
    kv_.open = open;
  }

  // Numbers between -1 and 1 that do not repeat within a tile.
  static void FillBF16(const AlignedBuffer& memory) {
    std::mt19937 random(4);
    std::vector<uint16_t> numbers(4099);
    for (uint16_t& x : numbers) x = BF16FromF32(float(random()) * 0x1p-31f - 1.0f);
    uint16_t* to = memory.as<uint16_t>();
    for (size_t i = 0; i < memory.size() / 2; ++i) to[i] = numbers[i % numbers.size()];
  }

  // A few encoded tiles, over and over.
  void FillEncoded() {
    constexpr size_t kTiles = 16;
    const KvBlockLayout& layout = kv_.layout;
    std::mt19937 random(3);
    std::vector<std::byte> tiles[2];
    std::vector<float> numbers(kKvBlockTokens * size_t{layout.head_dim});
    const KvTile places[2] = {layout.KTile(0), layout.VTile(0)};
    for (size_t side = 0; side < 2; ++side) {
      tiles[side].resize(kTiles * places[side].bytes());
      for (size_t i = 0; i < kTiles; ++i) {
        for (float& x : numbers) x = float(random()) * 0x1p-31f - 1.0f;
        EncodeKvTile(places[side], numbers.data(), &tiles[side][i * places[side].bytes()]);
      }
    }
    size_t next = 0;
    for (size_t page = 0; page * layout.block_bytes() < memory_.size(); ++page) {
      std::byte* block = memory_.data() + page * layout.block_bytes();
      for (uint32_t layer = 0; layer < layout.layer_count; ++layer) {
        for (uint32_t head = 0; head < layout.kv_head_count; ++head, ++next) {
          const size_t i = next % kTiles;
          std::memcpy(block + layout.KTileOffset(layer, head), &tiles[0][i * places[0].bytes()],
                      places[0].bytes());
          std::memcpy(block + layout.VTileOffset(layer, head), &tiles[1][i * places[1].bytes()],
                      places[1].bytes());
        }
      }
    }
  }

  // Small numbers of both signs, the same everywhere that they are read as.
  void Fill() {
    if (kv_.layout.quantized()) return FillEncoded();
    std::mt19937 random(3);
    std::vector<float> numbers(4096);
    for (float& x : numbers) x = F32FromBF16(BF16FromF32(float(random()) * 0x1p-31f - 1.0f));
    if (shape_.format.k == KvFormat::kF32) {
      float* to = memory_.as<float>();
      for (size_t i = 0; i < memory_.size() / 4; ++i) to[i] = numbers[(i * 7 + i / 4096) % 4096];
    } else {
      uint16_t* to = memory_.as<uint16_t>();
      for (size_t i = 0; i < memory_.size() / 2; ++i) {
        to[i] = BF16FromF32(numbers[(i * 7 + i / 4096) % 4096]);
      }
    }
  }

  Shape shape_;
  ThreadPool& pool_;
  AlignedBuffer memory_;
  std::vector<int32_t> qo_indptr_ = {0}, kv_indptr_ = {0}, indices_, last_page_len_;
  AlignedBuffer staging_;
  std::vector<int32_t> own_indptr_ = {0}, own_slots_, first_own_block_;
  PagedKv kv_;
  std::vector<PagedKv> layers_;
  std::vector<float> q_, out_;
};

}  // namespace kvasir

#endif  // KVASIR_ATTENTION_BENCH_WORKLOAD_H_
