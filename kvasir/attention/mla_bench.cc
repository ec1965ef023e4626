// Latent attention (mla.h) on the shapes of DeepSeek-V2-Lite (16 heads) and V3 (128 heads): bytes
// of latent rows read a second and multiply-adds a second, for each target and type, each also as a
// share of what the machine can do at best. Pools rotate, so that rows come from memory and not
// from the cache. `mla_bench [threads]`.

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "kvasir/attention/cost_model.h"
#include "kvasir/attention/mla.h"
#include "kvasir/base/aligned_buffer.h"
#include "kvasir/base/thread_pool.h"
#include "kvasir/formats/float16.h"
#include "kvasir/kernels/cpu_target.h"
#include "kvasir/kernels/peaks.h"

namespace kvasir {
namespace {

struct Shape {
  const char* name;
  uint32_t num_heads;
  int32_t sequences;
  int32_t q_len;
  int32_t kv_len;
};

constexpr Shape kShapes[] = {{"decode v2-lite b1 d4096", 16, 1, 1, 4096},
                             {"decode v2-lite b16 d1024", 16, 16, 1, 1024},
                             {"decode v3 b1 d4096", 128, 1, 1, 4096},
                             {"decode v3 b4 d4096", 128, 4, 1, 4096},
                             {"verify 4 of v2-lite d4096", 16, 1, 4, 4096}};
constexpr int32_t kPageSize = 64;
// One round over all pools exceeds any last-level cache we know of.
constexpr size_t kBytesMin = size_t{192} << 20;

class Bench {
 public:
  Bench(const Shape& shape, KvRowType type, ThreadPool& pool) : shape_(shape), pool_(pool) {
    spec_ = {.num_heads = shape.num_heads, .sm_scale = 0.0722f};  // 1 / sqrt(192)
    const int32_t pages = (shape.kv_len + kPageSize - 1) / kPageSize;
    for (int32_t b = 0; b < shape.sequences; ++b) {
      qo_indptr_.push_back(qo_indptr_.back() + shape.q_len);
      kv_indptr_.push_back(kv_indptr_.back() + pages);
      kv_last_page_len_.push_back((shape.kv_len - 1) % kPageSize + 1);
    }
    for (int32_t page = 0; page < kv_indptr_.back(); ++page) kv_indices_.push_back(page);
    const size_t tokens = kv_indices_.size() * kPageSize, bytes = KvRowTypeBytes(type);
    pool_bytes_ = tokens * (spec_.head_dim_ckv + spec_.head_dim_kpe) * bytes;
    // With many heads arithmetic takes far longer than reading: a few pools will do.
    pool_count_ = shape.num_heads > 16 ? 2 : kBytesMin / pool_bytes_ + 1;
    memory_ = std::move(AlignedBuffer::Allocate(pool_count_ * pool_bytes_)).value();
    Fill(type);
    for (size_t i = 0; i < pool_count_; ++i) {
      std::byte* ckv = memory_.data() + i * pool_bytes_;
      PagedKv kv;
      kv.rows = MlaRows(spec_, type, ckv, ckv + tokens * spec_.head_dim_ckv * bytes, kPageSize);
      kv.page_size = kPageSize;
      kv.page_count = kv_indices_.size();
      kv.kv_indptr = kv_indptr_;
      kv.kv_indices = kv_indices_;
      kv.kv_last_page_len = kv_last_page_len_;
      pools_.push_back(kv);
    }
    rows_ = size_t(qo_indptr_.back());
    q_nope_.assign(rows_ * spec_.num_heads * spec_.head_dim_ckv, 0.25f);
    q_pe_.assign(rows_ * spec_.num_heads * spec_.head_dim_kpe, 0.25f);
    out_.assign(q_nope_.size(), 0);
  }

  // Seconds of one layer, the best of a few rounds over all pools.
  double Measure(const AttentionCosts& costs) {
    using Clock = std::chrono::steady_clock;
    BatchMlaPagedAttentionPlan plan;
    const Status status =
        PlanBatchMlaPagedAttention(spec_, qo_indptr_, pools_[0],
                                   {.thread_count = pool_.thread_count(), .costs = costs}, &plan);
    if (!status.ok()) std::abort();
    const size_t columns = spec_.num_heads * spec_.head_dim_ckv;
    const MatrixView<const float> q_pe(q_pe_.data(), rows_, spec_.num_heads * spec_.head_dim_kpe);
    double best = 1e9;
    for (int round = 0; round < 4; ++round) {
      const auto start = Clock::now();
      for (const PagedKv& kv : pools_) {
        plan.Run(kv, MatrixView<const float>(q_nope_.data(), rows_, columns), q_pe,
                 MatrixView<float>(out_.data(), rows_, columns), {}, pool_);
      }
      const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
      best = std::min(best, seconds / double(pools_.size()));
    }
    return best;
  }

  double kv_bytes() const { return double(pool_bytes_); }
  // Multiply and add count as two; causal rows see part of the keys.
  double flops() const {
    const double keys = shape_.kv_len - (shape_.q_len - 1) / 2.0;
    const double dims = 2.0 * spec_.head_dim_ckv + spec_.head_dim_kpe;
    return 2.0 * dims * spec_.num_heads * double(rows_) * keys;
  }

 private:
  // Numbers from -1 to 1, of 4096 different ones: their values cost nothing.
  void Fill(KvRowType type) {
    const size_t bytes = KvRowTypeBytes(type), count = memory_.size() / bytes;
    for (size_t i = 0; i < count; ++i) {
      const float x = float(i * 2654435761u % 4096) / 2048.0f - 1.0f;
      std::byte* to = memory_.data() + i * bytes;
      if (type == KvRowType::kF32) {
        std::memcpy(to, &x, sizeof(x));
      } else {
        StoreU16(to, type == KvRowType::kBF16 ? BF16FromF32(x) : F16FromF32(x));
      }
    }
  }

  const Shape& shape_;
  ThreadPool& pool_;
  MlaSpec spec_;
  std::vector<int32_t> qo_indptr_ = {0}, kv_indptr_ = {0}, kv_indices_, kv_last_page_len_;
  size_t pool_bytes_ = 0, pool_count_ = 0, rows_ = 0;
  AlignedBuffer memory_;
  std::vector<PagedKv> pools_;
  std::vector<float> q_nope_, q_pe_, out_;
};

void RunAll(size_t thread_count) {
  struct NamedType {
    KvRowType type;
    const char* name;
  };
  constexpr NamedType kTypes[] = {
      {KvRowType::kBF16, "bf16"}, {KvRowType::kF16, "f16"}, {KvRowType::kF32, "f32"}};
  ThreadPool pool(thread_count);
  std::printf("%-26s %-5s %-9s %10s %8s %7s %9s %7s\n", "shape", "kv", "target", "us/layer", "GB/s",
              "of read", "GFLOP/s", "of FMA");
  for (const CpuTarget target : SupportedCpuTargets()) {
    const ScopedCpuTarget scope(target);
    const Peaks peaks = MeasurePeaks(pool);
    const AttentionCosts costs = MeasureAttentionCosts(pool);
    for (const Shape& shape : kShapes) {
      for (const NamedType& type : kTypes) {
        Bench bench(shape, type.type, pool);
        const double seconds = bench.Measure(costs);
        const double gbytes = bench.kv_bytes() / seconds * 1e-9;
        const double gflops = bench.flops() / seconds * 1e-9;
        std::printf("%-26s %-5s %-9s %10.1f %8.2f %6.0f%% %9.1f %6.0f%%\n", shape.name, type.name,
                    std::string(CpuTargetName(target)).c_str(), seconds * 1e6, gbytes,
                    100 * gbytes / peaks.read_gbytes, gflops, 100 * gflops / peaks.f32_gflops);
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
