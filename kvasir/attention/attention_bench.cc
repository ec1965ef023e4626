// The attention library against this machine and against simpler ways of doing the same:
//
//   attention_bench [--threads N] [--target avx2] [--json] [SECTION ...]
//
//   decode    one token a sequence: share of what memory or arithmetic allows; Zipf lengths beside
//             equal ones; a plain loop over each query head as the baseline
//   prefill   share of the FMA peak, causal beside full
//   cascade   a shared prefix, with and without cascade, beside the model of docs/attention.md
//   memory    blocks, NHD and HND rows, page sizes
//   plan      microseconds of planning
//
// Outputs are compared before anything is timed. The two sides of a ratio take turns; it is given
// as median (min - max) over the rounds. Layers rotate, so that keys and values of decode come from
// memory and not from the cache.

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "kvasir/attention/append.h"
#include "kvasir/attention/batch_attention.h"
#include "kvasir/base/aligned_buffer.h"
#include "kvasir/base/thread_pool.h"
#include "kvasir/formats/float16.h"
#include "kvasir/kernels/cpu_target.h"
#include "kvasir/kernels/peaks.h"

namespace kvasir {
namespace {

double Now() {
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
std::vector<std::vector<double>> TakeTurns(const std::vector<std::function<void()>>& functions,
                                           int rounds) {
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

Spread Ratio(const std::vector<double>& over, const std::vector<double>& under) {
  std::vector<double> ratios;
  for (size_t i = 0; i < over.size(); ++i) ratios.push_back(over[i] / under[i]);
  return Spread::Of(ratios);
}

[[noreturn]] void Die(const std::string& why) {
  std::fprintf(stderr, "attention_bench: %s\n", why.c_str());
  std::exit(1);
}

struct Shape {
  AttentionSpec spec;
  std::vector<int32_t> q_lens;
  std::vector<int32_t> kv_lens;
  int32_t shared_tokens = 0;  // that all sequences hold in the same pages, a multiple of the page
  KvFormat format = KvFormat::kBF16;
  int32_t page_size = 0;  // 0 = blocks, else rows
  bool is_hnd = false;
  bool shuffles_pages = false;

  double tokens() const {
    double sum = 0;
    for (const int32_t len : kv_lens) sum += len;
    return sum;
  }
};

AttentionSpec MakeSpec(uint32_t group, uint32_t kv_heads, uint32_t head_dim) {
  return {group * kv_heads, kv_heads, head_dim, 1.0f / std::sqrt(float(head_dim))};
}

// Decode reads enough layers that one round of all of them exceeds any last-level cache we know of.
constexpr size_t kColdBytes = size_t{256} << 20;

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
    return shape_.tokens() * 2 * shape_.spec.num_kv_heads * shape_.spec.head_dim *
           (shape_.format == KvFormat::kF32 ? 4 : 2);
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
    const size_t number_bytes = shape_.format == KvFormat::kF32 ? 4 : 2;
    const size_t numbers =
        page_count * size_t(page_size) * spec.num_kv_heads * spec.head_dim;  // of K or V
    const size_t layer_bytes = 2 * numbers * number_bytes;
    const size_t layers = std::clamp<size_t>(byte_count / layer_bytes + 1, 1, 64);
    if (shape_.page_size == 0) {
      kv_.layout = {uint32_t(layers), spec.num_kv_heads, spec.head_dim, shape_.format};
      memory_ = Allocate(page_count * kv_.layout.block_bytes());
      kv_.base = memory_.data();
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

  // Small numbers of both signs, the same everywhere that they are read as.
  void Fill() {
    std::mt19937 random(3);
    std::vector<float> numbers(4096);
    for (float& x : numbers) x = F32FromBF16(BF16FromF32(float(random()) * 0x1p-31f - 1.0f));
    if (shape_.format == KvFormat::kF32) {
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
  PagedKv kv_;
  std::vector<PagedKv> layers_;
  std::vector<float> q_, out_;
};

void ExpectSame(const std::vector<float>& a, const std::vector<float>& b, float tolerance,
                const char* what) {
  for (size_t i = 0; i < a.size(); ++i) {
    if (!(std::abs(a[i] - b[i]) <= tolerance)) {
      Die(std::string(what) + ": outputs differ, " + std::to_string(a[i]) + " and " +
          std::to_string(b[i]) + " at " + std::to_string(i));
    }
  }
}

// What the machine can do, and what the kernels cost on it, for the target in force.
struct Machine {
  Peaks peaks;
  AttentionCosts costs;
  double attention_gflops = 0;  // of the prefill tile, the compute bound of everything else
};

class AttentionBench {
 public:
  AttentionBench(ThreadPool& pool, bool json) : pool_(pool), json_(json) {}

  void MeasureMachine() {
    machine_.peaks = MeasurePeaks(pool_);
    machine_.costs = MeasureAttentionCosts(pool_);
    Shape shape = {.spec = MakeSpec(4, 2, 128), .q_lens = {1024}, .kv_lens = {1024}};
    shape.spec.causal = false;
    Workload work(shape, 0, pool_);
    const BatchAttentionPlan plan = work.Plan(machine_.costs, true);
    const auto seconds = TakeTurns({[&] { work.Run(plan); }}, 5);
    machine_.attention_gflops = 4.0 * 1024 * 1024 * 128 * 8 / Spread::Of(seconds[0]).min * 1e-9;
    if (json_) return;
    std::printf("%s, %zu threads: read %.1f GB/s, f32 peak %.0f GFLOP/s, attention tile %.0f\n",
                Target().c_str(), pool_.thread_count(), machine_.peaks.read_gbytes,
                machine_.peaks.f32_gflops, machine_.attention_gflops);
    const AttentionCosts& c = machine_.costs;
    std::printf(
        "costs in ps: byte %.0f (%.0f cached), widen %.0f, pair %.1f, score %.0f, item %.0f\n\n",
        c.kv_byte_ps, c.cached_byte_ps, c.widen_ps, c.pair_ps, c.score_ps, c.item_ps);
  }

  void Decode() {
    Title("decode: kv heads 8, head_dim 128; the bound is min(read bandwidth, tile rate / group)");
    for (const KvFormat format : {KvFormat::kBF16, KvFormat::kF32}) {
      for (const uint32_t group : {1u, 4u, 8u}) {
        for (const int32_t batch : {1, 16}) {
          const int32_t kv_len = batch == 1 ? 16384 : 4096;
          DecodeRow(format, group, std::vector<int32_t>(size_t(batch), kv_len), "equal");
        }
      }
    }
    std::vector<int32_t> zipf;
    for (int rank = 1; rank <= 16; ++rank) zipf.push_back(std::max(16384 * 19 / 20 / rank, 1));
    ZipfRow(zipf);
    NaiveRow();
  }

  void Prefill() {
    Title("prefill: q = kv, kv heads 2, group 4; share of the measured f32 peak");
    for (const uint32_t dim : {64u, 128u}) {
      for (const int32_t len : {512, 2048}) {
        Shape full = {.spec = MakeSpec(4, 2, dim), .q_lens = {len}, .kv_lens = {len}};
        Shape causal = full;
        full.spec.causal = false;
        Workload a(full, 0, pool_), b(causal, 0, pool_);
        const BatchAttentionPlan plan_a = a.Plan(machine_.costs, true);
        const BatchAttentionPlan plan_b = b.Plan(machine_.costs, true);
        const auto seconds = TakeTurns({[&] { a.Run(plan_a); }, [&] { b.Run(plan_b); }}, 5);
        const double flops = 4.0 * len * len * dim * full.spec.num_qo_heads;
        const Spread ratio = Ratio(seconds[1], seconds[0]);
        Row("prefill dim " + std::to_string(dim) + " len " + std::to_string(len),
            {{"gflops", flops / Spread::Of(seconds[0]).median * 1e-9},
             {"share_of_peak",
              flops / Spread::Of(seconds[0]).median * 1e-9 / machine_.peaks.f32_gflops},
             {"causal_over_full", ratio.median},
             {"min", ratio.min},
             {"max", ratio.max}});
      }
    }
  }

  void Cascade() {
    Title(
        "cascade: flat time over cascade time, kv heads 32; the model is that of "
        "docs/attention.md");
    for (const uint32_t group : {1u, 4u, 8u}) {
      for (const int32_t batch : {2, 16, 64}) {
        for (const int32_t prefix : {128, 256, 512, 1024, 2048, 4096, 8192}) {
          if (batch == 64 && prefix == 8192) continue;
          CascadeRow(group, batch, prefix);
        }
      }
    }
  }

  void Memory() {
    Title("memory: time over that of blocks; decode, batch 16 of 4096, kv heads 8, dim 128, bf16");
    for (const uint32_t group : {1u, 4u}) {
      Shape blocks = DecodeShape(KvFormat::kBF16, group, std::vector<int32_t>(16, 4096));
      Workload base(blocks, kColdBytes, pool_);
      const BatchAttentionPlan base_plan = base.Plan(machine_.costs, false);
      for (const bool hnd : {true, false}) {
        for (const int32_t page_size : {1, 16, 64}) {
          Shape rows = blocks;
          rows.page_size = page_size;
          rows.is_hnd = hnd;
          rows.shuffles_pages = true;
          Workload work(rows, kColdBytes, pool_);
          const BatchAttentionPlan plan = work.Plan(machine_.costs, false);
          const auto seconds =
              TakeTurns({[&] { work.Run(plan); }, [&] { base.Run(base_plan); }}, 5);
          const Spread ratio = Ratio(seconds[0], seconds[1]);
          Row(std::string(hnd ? "hnd" : "nhd") + " page " + std::to_string(page_size) + " group " +
                  std::to_string(group),
              {{"over_blocks", ratio.median}, {"min", ratio.min}, {"max", ratio.max}});
        }
      }
    }
  }

  void PlanTimes() {
    Title("plan: microseconds of PlanBatchAttention, decode of 2048 keys each, 8 kv heads");
    for (const int32_t batch : {1, 16, 64, 256, 1024}) {
      for (const int32_t shared : {0, 1024}) {
        Shape shape = DecodeShape(KvFormat::kBF16, 4, std::vector<int32_t>(size_t(batch), 2048));
        shape.shared_tokens = shared;
        shape.spec.num_kv_heads = 1;  // memory: the plan looks at no key
        shape.spec.num_qo_heads = 4;
        shape.spec.head_dim = 16;
        Workload work(shape, 0, pool_);
        AttentionSpec spec = shape.spec;
        BatchAttentionPlan plan;
        const AttentionPlanOptions options = {pool_.thread_count(), true, machine_.costs};
        std::vector<double> seconds;
        for (int i = 0; i < 50; ++i) {
          const double start = Now();
          if (!PlanBatchAttention(spec, work.qo_indptr(), work.kv(), options, &plan).ok())
            Die("plan");
          if (i >= 5) seconds.push_back(Now() - start);
        }
        const Spread spread = Spread::Of(seconds);
        Row("plan batch " + std::to_string(batch) + (shared > 0 ? " shared" : ""),
            {{"us", spread.median * 1e6}, {"min", spread.min * 1e6}, {"max", spread.max * 1e6}});
      }
    }
  }

 private:
  static std::string Target() { return std::string(CpuTargetName(ActiveCpuTarget())); }
  static Shape DecodeShape(KvFormat format, uint32_t group, std::vector<int32_t> kv_lens) {
    Shape shape = {.spec = MakeSpec(group, 8, 128),
                   .q_lens = std::vector<int32_t>(kv_lens.size(), 1),
                   .kv_lens = std::move(kv_lens)};
    shape.format = format;
    return shape;
  }

  void Title(const char* text) const {
    if (!json_) std::printf("%s\n", text);
  }
  void Row(const std::string& name,
           const std::vector<std::pair<const char*, double>>& fields) const {
    if (json_) {
      std::printf("{\"target\": \"%s\", \"threads\": %zu, \"row\": \"%s\"", Target().c_str(),
                  pool_.thread_count(), name.c_str());
      for (const auto& [field, value] : fields) std::printf(", \"%s\": %.5g", field, value);
      std::printf("}\n");
    } else {
      std::printf("  %-34s", name.c_str());
      for (const auto& [field, value] : fields) std::printf("  %s %.4g", field, value);
      std::printf("\n");
    }
    std::fflush(stdout);
  }

  // Bytes a second at best: reading alone, or the arithmetic of `group` rows for each byte.
  double BoundGBytes(uint32_t group, KvFormat format) const {
    const double flops_per_byte = format == KvFormat::kBF16 ? group : group / 2.0;
    return std::min(machine_.peaks.read_gbytes, machine_.attention_gflops / flops_per_byte);
  }

  void DecodeRow(KvFormat format, uint32_t group, std::vector<int32_t> kv_lens, const char* kind) {
    const size_t batch = kv_lens.size();
    Workload work(DecodeShape(format, group, std::move(kv_lens)), kColdBytes, pool_);
    const BatchAttentionPlan plan = work.Plan(machine_.costs, false);
    const auto seconds = TakeTurns({[&] { work.Run(plan); }}, 7);
    const double gbytes = work.layer_bytes() * double(work.layer_count()) * 1e-9;
    const Spread spread = Spread::Of(seconds[0]);
    const double bound = BoundGBytes(group, format);
    Row("decode " + std::string(KvFormatName(format)) + " group " + std::to_string(group) +
            " batch " + std::to_string(batch) + " " + kind,
        {{"gbytes", gbytes / spread.median},
         {"share_of_bound", gbytes / spread.median / bound},
         {"min", gbytes / spread.max / bound},
         {"max", gbytes / spread.min / bound}});
  }

  void ZipfRow(const std::vector<int32_t>& zipf) {
    int32_t sum = 0;
    for (const int32_t len : zipf) sum += len;
    const std::vector<int32_t> equal(zipf.size(), sum / int32_t(zipf.size()));
    Workload a(DecodeShape(KvFormat::kBF16, 4, zipf), kColdBytes, pool_);
    Workload b(DecodeShape(KvFormat::kBF16, 4, equal), kColdBytes, pool_);
    const BatchAttentionPlan plan_a = a.Plan(machine_.costs, false);
    const BatchAttentionPlan plan_b = b.Plan(machine_.costs, false);
    const auto seconds = TakeTurns({[&] { a.Run(plan_a); }, [&] { b.Run(plan_b); }}, 7);
    const double per_byte_a = a.layer_bytes() * double(a.layer_count());
    const double per_byte_b = b.layer_bytes() * double(b.layer_count());
    Spread ratio = Ratio(seconds[0], seconds[1]);
    const double scale = per_byte_b / per_byte_a;
    Row("zipf lengths over equal, per byte",
        {{"ratio", ratio.median * scale}, {"min", ratio.min * scale}, {"max", ratio.max * scale}});
  }

  void NaiveRow() {
    for (const uint32_t group : {1u, 4u}) {
      Shape shape = DecodeShape(KvFormat::kF32, group, std::vector<int32_t>(16, 2048));
      shape.page_size = 16;
      Workload work(shape, kColdBytes, pool_), naive(shape, kColdBytes, pool_);
      const BatchAttentionPlan plan = work.Plan(machine_.costs, false);
      work.Run(plan);
      naive.RunNaive();
      ExpectSame(work.out(), naive.out(), 1e-5f, "naive");
      const auto seconds = TakeTurns({[&] { naive.RunNaive(); }, [&] { work.Run(plan); }}, 3);
      const Spread ratio = Ratio(seconds[0], seconds[1]);
      Row("per-head loop over ours, f32 group " + std::to_string(group),
          {{"ratio", ratio.median}, {"min", ratio.min}, {"max", ratio.max}});
    }
  }

  void CascadeRow(uint32_t group, int32_t batch, int32_t prefix) {
    constexpr int32_t kSuffix = 128;
    Shape shape =
        DecodeShape(KvFormat::kBF16, group, std::vector<int32_t>(size_t(batch), prefix + kSuffix));
    // So many that the heads' prefix of 4096 tokens, 64 MiB, is out of the last-level cache when
    // the next sequence reads it.
    shape.spec = MakeSpec(group, 32, 128);
    shape.shared_tokens = prefix;
    Workload work(shape, kColdBytes, pool_);
    const BatchAttentionPlan flat = work.Plan(machine_.costs, false);
    const BatchAttentionPlan cascade = work.Plan(machine_.costs, true);
    work.Run(flat);
    const std::vector<float> expected = work.out();
    work.Run(cascade);
    ExpectSame(work.out(), expected, 0, "cascade");
    const auto seconds = TakeTurns({[&] { work.Run(flat); }, [&] { work.Run(cascade); }}, 5);
    const Spread ratio = Ratio(seconds[0], seconds[1]);
    // Time in units of reading one key and value: see docs/attention.md.
    const double ridge = machine_.attention_gflops / machine_.peaks.read_gbytes;
    const double compute = group / ridge;
    const double flat_time = double(batch) * (prefix + kSuffix) * std::max(1.0, compute);
    const double cascade_time = std::max(double(prefix), double(batch) * prefix * compute) +
                                double(batch) * kSuffix * std::max(1.0, compute);
    const bool used = std::any_of(
        cascade.work_items().begin(), cascade.work_items().end(),
        [](const AttentionWorkItem& item) { return item.row_end - item.row_begin > 1; });
    Row("cascade group " + std::to_string(group) + " batch " + std::to_string(batch) + " prefix " +
            std::to_string(prefix),
        {{"flat_over_cascade", ratio.median},
         {"min", ratio.min},
         {"max", ratio.max},
         {"model", flat_time / cascade_time},
         {"used", used ? 1.0 : 0.0}});
  }

  ThreadPool& pool_;
  bool json_;
  Machine machine_;
};

int Main(int argc, char** argv) {
  size_t threads = 2;
  bool json = false;
  std::set<std::string> sections;
  std::vector<CpuTarget> targets;
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    if (argument == "--json") {
      json = true;
    } else if (argument == "--threads" && i + 1 < argc) {
      threads = size_t(std::max(std::atoi(argv[++i]), 1));
    } else if (argument == "--target" && i + 1 < argc) {
      const std::string name = argv[++i];
      for (const CpuTarget target : SupportedCpuTargets()) {
        if (CpuTargetName(target) == name) targets.push_back(target);
      }
      if (targets.empty()) Die("--target " + name + " is not one that this CPU runs");
    } else if (argument[0] == '-') {
      Die("unknown option " + argument + "; the file's head says what there is");
    } else {
      sections.insert(argument);
    }
  }
  if (targets.empty()) {
    for (const CpuTarget target : SupportedCpuTargets()) {
      if (target != CpuTarget::kPortable) targets.push_back(target);
    }
  }
  ThreadPool pool(threads);
  for (const CpuTarget target : targets) {
    const ScopedCpuTarget scope(target);
    AttentionBench bench(pool, json);
    bench.MeasureMachine();
    const auto wants = [&](const char* name) { return sections.empty() || sections.count(name); };
    if (wants("decode")) bench.Decode();
    if (wants("prefill")) bench.Prefill();
    if (wants("cascade")) bench.Cascade();
    if (wants("memory")) bench.Memory();
    if (wants("plan")) bench.PlanTimes();
  }
  return 0;
}

}  // namespace
}  // namespace kvasir

int main(int argc, char** argv) { return kvasir::Main(argc, argv); }
