// Decode and prefill attention on the shapes of the default model and of Llama 3.2 1B: bytes of KV
// read a second and multiply-adds a second, for each target and format. Layers rotate, so that keys
// and values come from memory and not from the cache. `attention_bench [threads]`.

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <string>
#include <vector>

#include "kvasir/attention/append.h"
#include "kvasir/attention/batch_attention.h"
#include "kvasir/base/aligned_buffer.h"
#include "kvasir/base/thread_pool.h"
#include "kvasir/kernels/cpu_target.h"

namespace kvasir {
namespace {

struct Shape {
  const char* name;
  AttentionSpec spec;
  int32_t sequences;
  int32_t q_len;
  int32_t kv_len;
};

constexpr Shape kShapes[] = {
    {"decode smollm2 d2048", {9, 3, 64, 0.125f}, 1, 1, 2048},
    {"decode smollm2 d8192", {9, 3, 64, 0.125f}, 1, 1, 8192},
    {"decode smollm2 b16 d1024", {9, 3, 64, 0.125f}, 16, 1, 1024},
    {"decode llama-1b d8192", {32, 8, 64, 0.125f}, 1, 1, 8192},
    {"decode llama-8b d8192", {32, 8, 128, 0.0884f}, 1, 1, 8192},
    {"decode mha d8192", {8, 8, 128, 0.0884f}, 1, 1, 8192},
    {"prefill smollm2 512", {9, 3, 64, 0.125f}, 1, 512, 512},
    {"prefill llama-1b 2048", {32, 8, 64, 0.125f}, 1, 2048, 2048},
    {"prefill d128 2048", {8, 2, 128, 0.0884f}, 1, 2048, 2048},
    {"chunk 256 of llama-1b d4096", {32, 8, 64, 0.125f}, 1, 256, 4096},
};

// Decode reads enough layers that one round of all of them exceeds any last-level cache we know of.
// Prefill is bound by arithmetic: one layer will do.
constexpr size_t kDecodeBytesMin = size_t{192} << 20;

// Keys and values of one batch, random, and its plan.
class Bench {
 public:
  Bench(const Shape& shape, KvFormat format, ThreadPool& pool) : shape_(shape), pool_(pool) {
    KvBlockLayout layout = {1, shape.spec.num_kv_heads, shape.spec.head_dim, format};
    const int32_t pages = (shape.kv_len + 31) / 32;
    const size_t page_count = size_t(shape.sequences) * size_t(pages);
    if (shape.q_len == 1) {
      const size_t layers = kDecodeBytesMin / (page_count * layout.layer_bytes()) + 1;
      layout.layer_count = uint32_t(std::min<size_t>(32, layers));
    }
    memory_ = std::move(AlignedBuffer::Allocate(page_count * layout.block_bytes())).value();
    for (int32_t b = 0; b < shape.sequences; ++b) {
      qo_indptr_.push_back(qo_indptr_.back() + shape.q_len);
      kv_indptr_.push_back(kv_indptr_.back() + pages);
      kv_last_page_len_.push_back((shape.kv_len - 1) % 32 + 1);
    }
    for (size_t page = 0; page < page_count; ++page) kv_indices_.push_back(int32_t(page));
    kv_ = {.layout = layout,
           .base = memory_.data(),
           .page_count = page_count,
           .kv_indptr = kv_indptr_,
           .kv_indices = kv_indices_,
           .kv_last_page_len = kv_last_page_len_};
    Fill();
    const size_t columns = size_t{shape.spec.num_qo_heads} * shape.spec.head_dim;
    rows_ = size_t(qo_indptr_.back());
    q_.assign(rows_ * columns, 0.25f);
    out_.assign(rows_ * columns, 0);
  }

  // Seconds of one layer, the best of a few rounds over all layers, and seconds of one plan.
  double Measure(double* plan_seconds) {
    using Clock = std::chrono::steady_clock;
    const auto seconds_since = [](Clock::time_point start) {
      return std::chrono::duration<double>(Clock::now() - start).count();
    };
    BatchAttentionPlan plan;
    for (int i = 0; i < 5; ++i) {
      const auto start = Clock::now();
      if (!PlanBatchAttention(shape_.spec, qo_indptr_, kv_, {.thread_count = pool_.thread_count()},
                              &plan)
               .ok()) {
        std::abort();
      }
      *plan_seconds = seconds_since(start);
    }
    const size_t columns = size_t{shape_.spec.num_qo_heads} * shape_.spec.head_dim;
    double best = 1e9;
    for (int round = 0; round < 6; ++round) {
      const auto start = Clock::now();
      for (uint32_t layer = 0; layer < kv_.layout.layer_count; ++layer) {
        plan.Run(kv_, layer, MatrixView(q_.data(), rows_, columns),
                 MatrixView(out_.data(), rows_, columns), pool_);
      }
      best = std::min(best, seconds_since(start) / kv_.layout.layer_count);
    }
    return best;
  }

  double kv_bytes() const { return double(kv_indices_.size()) * double(kv_.layout.layer_bytes()); }
  // Multiply and add count as two; causal rows see part of the keys.
  double flops() const {
    const double keys = shape_.kv_len - (shape_.q_len - 1) / 2.0;
    return 4.0 * shape_.spec.head_dim * shape_.spec.num_qo_heads * double(rows_) * keys;
  }

 private:
  void Fill() {
    const size_t columns = size_t{shape_.spec.num_kv_heads} * shape_.spec.head_dim;
    std::vector<int32_t> all = {0};
    for (int32_t b = 0; b < shape_.sequences; ++b) all.push_back(all.back() + shape_.kv_len);
    std::mt19937 random(1);
    std::vector<float> numbers(size_t(all.back()) * columns);
    for (float& x : numbers) x = float(random()) * 0x1p-31f - 1.0f;
    const MatrixView<const float> view(numbers.data(), size_t(all.back()), columns);
    for (uint32_t layer = 0; layer < kv_.layout.layer_count; ++layer) {
      AppendPagedKv(kv_, layer, all, view, view, pool_);
    }
  }

  const Shape& shape_;
  ThreadPool& pool_;
  AlignedBuffer memory_;
  std::vector<int32_t> qo_indptr_ = {0}, kv_indptr_ = {0}, kv_indices_, kv_last_page_len_;
  PagedKv kv_;
  size_t rows_ = 0;
  std::vector<float> q_, out_;
};

void RunAll(size_t thread_count) {
  ThreadPool pool(thread_count);
  std::printf("%-28s %-5s %-9s %10s %8s %9s %8s\n", "shape", "kv", "target", "us/layer", "GB/s",
              "GFLOP/s", "plan us");
  for (const Shape& shape : kShapes) {
    for (const KvFormat format : {KvFormat::kBF16, KvFormat::kF32}) {
      Bench bench(shape, format, pool);
      for (const CpuTarget target : SupportedCpuTargets()) {
        const ScopedCpuTarget scope(target);
        double plan_seconds = 0;
        const double seconds = bench.Measure(&plan_seconds);
        std::printf("%-28s %-5s %-9s %10.1f %8.2f %9.1f %8.1f\n", shape.name,
                    std::string(KvFormatName(format)).c_str(),
                    std::string(CpuTargetName(target)).c_str(), seconds * 1e6,
                    bench.kv_bytes() / seconds * 1e-9, bench.flops() / seconds * 1e-9,
                    plan_seconds * 1e6);
        std::fflush(stdout);
      }
    }
  }
}

}  // namespace
}  // namespace kvasir

int main(int argc, char** argv) {
  const int thread_count = argc > 1 ? std::atoi(argv[1]) : 2;
  kvasir::RunAll(thread_count > 0 ? size_t(thread_count) : 1);
}
