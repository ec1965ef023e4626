// Decode attention over selected blocks beside full attention, on the shapes of the default model
// and of Llama 3: microseconds of one layer for the choice, for attention over what was chosen, and
// for attention over everything. Layers rotate, so that all keys and values come from memory and
// not from the cache; what a small budget chooses of all layers together may stay in a large cache,
// in the bench as in life. `block_select_bench [threads]`.

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "kvasir/attention/append.h"
#include "kvasir/attention/batch_attention.h"
#include "kvasir/attention/block_select.h"
#include "kvasir/base/aligned_buffer.h"
#include "kvasir/base/thread_pool.h"
#include "kvasir/kernels/cpu_target.h"

namespace kvasir {
namespace {

struct Shape {
  const char* name;
  AttentionSpec spec;
  int32_t sequences;
  int32_t kv_len;
};

constexpr Shape kShapes[] = {
    {"smollm2 d8192", {9, 3, 64, 0.125f}, 1, 8192},
    {"smollm2 b8 d8192", {9, 3, 64, 0.125f}, 8, 8192},
    {"llama-1b d8192", {32, 8, 64, 0.125f}, 1, 8192},
    {"llama-8b d32768", {32, 8, 128, 0.0884f}, 1, 32768},
};
constexpr int32_t kBudgets[] = {512, 1024, 2048};

// One round of all layers exceeds any last-level cache we know of.
constexpr size_t kBytesMin = size_t{192} << 20;

// Keys and values of one batch, random, their summaries and both plans.
class Bench {
 public:
  Bench(const Shape& shape, ThreadPool& pool) : shape_(shape), pool_(pool) {
    KvBlockLayout layout = {1, shape.spec.num_kv_heads, shape.spec.head_dim, KvFormat::kBF16};
    const int32_t pages = (shape.kv_len + 31) / 32;
    const size_t page_count = size_t(shape.sequences) * size_t(pages);
    layout.layer_count =
        uint32_t(std::min<size_t>(32, kBytesMin / (page_count * layout.layer_bytes(0)) + 1));
    memory_ = std::move(AlignedBuffer::Allocate(page_count * layout.block_bytes())).value();
    for (int32_t b = 0; b < shape.sequences; ++b) {
      qo_indptr_.push_back(b + 1);
      kv_indptr_.push_back((b + 1) * pages);
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
    summaries_ = std::move(BlockSummaries::Create(layout, page_count)).value();
    summaries_.Refresh(kv_, {}, kv_indices_, pool);
    const size_t columns = size_t{shape.spec.num_qo_heads} * shape.spec.head_dim;
    std::mt19937 random(2);
    q_.resize(size_t(shape.sequences) * columns);
    for (float& x : q_) x = float(random()) * 0x1p-31f - 1.0f;
    out_.resize(q_.size());
  }

  double MeasureFull() {
    BatchAttentionPlan plan = Plan(kv_);
    return PerLayer([&](uint32_t layer) { plan.Run(kv_, layer, q(), out(), pool_); });
  }
  // Seconds of choosing, and of attention over what was chosen.
  std::pair<double, double> MeasureSelected(int32_t budget_tokens) {
    BlockSelection selection;
    if (!selection.Plan({.budget_blocks = budget_tokens / 32}, qo_indptr_, kv_).ok()) std::abort();
    BatchAttentionPlan plan = Plan(selection.kv());
    const double choose =
        PerLayer([&](uint32_t layer) { selection.Select(summaries_, layer, q(), pool_); });
    // Every layer reads the blocks that the last one chose: as many, elsewhere in memory.
    const double attend =
        PerLayer([&](uint32_t layer) { plan.Run(selection.kv(), layer, q(), out(), pool_); });
    return {choose, attend};
  }

 private:
  BatchAttentionPlan Plan(const PagedKv& kv) const {
    BatchAttentionPlan plan;
    const AttentionPlanOptions options = {.thread_count = pool_.thread_count()};
    if (!PlanBatchAttention(shape_.spec, qo_indptr_, kv, options, &plan).ok()) std::abort();
    return plan;
  }
  MatrixView<const float> q() const {
    return {q_.data(), size_t(shape_.sequences), q_.size() / size_t(shape_.sequences)};
  }
  MatrixView<float> out() {
    return {out_.data(), size_t(shape_.sequences), out_.size() / size_t(shape_.sequences)};
  }
  // Seconds of body(layer), the best of a few rounds over all layers.
  template <typename Body>
  double PerLayer(const Body& body) const {
    using Clock = std::chrono::steady_clock;
    double best = 1e9;
    for (int round = 0; round < 6; ++round) {
      const auto start = Clock::now();
      for (uint32_t layer = 0; layer < kv_.layout.layer_count; ++layer) body(layer);
      best = std::min(best, std::chrono::duration<double>(Clock::now() - start).count());
    }
    return best / kv_.layout.layer_count;
  }
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
  BlockSummaries summaries_;
  std::vector<float> q_, out_;  // [sequences, num_qo_heads * head_dim]
};

void RunAll(size_t thread_count) {
  ThreadPool pool(thread_count);
  std::printf("%-18s %-9s %7s %11s %11s %9s %7s\n", "shape", "target", "budget", "choose us",
              "attend us", "full us", "ratio");
  for (const Shape& shape : kShapes) {
    Bench bench(shape, pool);
    for (const CpuTarget target : SupportedCpuTargets()) {
      const ScopedCpuTarget scope(target);
      const double full = bench.MeasureFull();
      for (const int32_t budget : kBudgets) {
        const auto [choose, attend] = bench.MeasureSelected(budget);
        std::printf("%-18s %-9s %7d %11.1f %11.1f %9.1f %7.2f\n", shape.name,
                    std::string(CpuTargetName(target)).c_str(), budget, choose * 1e6, attend * 1e6,
                    full * 1e6, full / (choose + attend));
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
