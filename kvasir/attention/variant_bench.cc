// What a variant of a user's own costs beside the built-in one that computes the same: soft cap and
// ALiBi, as structs in a header that is built and loaded as `kvasir attention build` does it.
// Outputs are compared first; then the two take turns, and the ratio of each pair of turns counts.
// `variant_bench [threads]`.

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <random>
#include <string>
#include <vector>

#include "kvasir/attention/append.h"
#include "kvasir/attention/batch_attention.h"
#include "kvasir/attention/variant_build.h"
#include "kvasir/attention/variant_library.h"
#include "kvasir/base/aligned_buffer.h"
#include "kvasir/base/thread_pool.h"
#include "kvasir/kernels/cpu_target.h"

namespace kvasir {
namespace {

constexpr char kHeader[] = R"(struct SoftCap {
  float cap = 1;
  float inverse = 1;
  FloatLanes Logits(const AttentionRow&, FloatLanes logits, FloatLanes) const {
    return cap * Tanh(logits * inverse);
  }
};
KVASIR_ATTENTION_VARIANT(SoftCap)

struct Alibi {
  float slopes[32] = {};
  FloatLanes Logits(const AttentionRow& row, FloatLanes logits, FloatLanes keys) const {
    return logits + slopes[row.qo_head] * (keys - float(row.position()));
  }
};
KVASIR_ATTENTION_VARIANT(Alibi)
)";

constexpr size_t kQoHeads = 32;
constexpr float kCap = 30;
// Turns of both sides; with a turn of at least kTurnSeconds, a shape takes a few seconds.
constexpr int kTurns = 21;
constexpr double kTurnSeconds = 0.03;

struct Shape {
  const char* name;
  int32_t sequences;
  int32_t q_len;
  int32_t kv_len;
};
constexpr Shape kShapes[] = {
    {"decode b16 d1024", 16, 1, 1024},
    {"decode d8192", 1, 1, 8192},
    {"prefill 1024", 1, 1024, 1024},
};

// Stops with a sentence: a bench has nobody to hand an error to.
void Require(const Status& status) {
  if (status.ok()) return;
  std::fprintf(stderr, "variant_bench: %s\n", status.message().c_str());
  std::exit(1);
}

std::vector<LoadedAttentionVariant> BuildVariants() {
  const std::string path = std::filesystem::temp_directory_path() / "kvasir_variant_bench.h";
  std::ofstream(path) << kHeader;
  std::string messages;
  const Result<VariantBuild> build = BuildAttentionVariants(path, {}, &messages);
  std::fputs(messages.c_str(), stderr);
  Require(build.status());
  Result<std::vector<LoadedAttentionVariant>> variants = LoadAttentionVariants(build->path);
  Require(variants.status());
  return std::move(variants).value();
}

// A batch of equal sequences over bf16 blocks of random numbers, 32 query heads on 8 KV heads.
class Batch {
 public:
  Batch(const Shape& shape, ThreadPool& pool) : pool_(pool) {
    const int32_t pages = (shape.kv_len + 31) / 32;
    kv_.page_count = size_t(shape.sequences) * size_t(pages);
    kv_.layout = {.layer_count = 1, .kv_head_count = 8, .head_dim = 128, .format = KvFormat::kBF16};
    std::vector<int32_t> all = {0};
    for (int32_t b = 0; b < shape.sequences; ++b) {
      all.push_back(all.back() + shape.kv_len);
      qo_indptr_.push_back(qo_indptr_.back() + shape.q_len);
      kv_indptr_.push_back(kv_indptr_.back() + pages);
      kv_last_page_len_.push_back((shape.kv_len - 1) % 32 + 1);
    }
    for (size_t page = 0; page < kv_.page_count; ++page) kv_indices_.push_back(int32_t(page));
    Result<AlignedBuffer> memory =
        AlignedBuffer::Allocate(kv_.page_count * kv_.layout.block_bytes());
    Require(memory.status());
    memory_ = std::move(memory).value();
    kv_.base = memory_.data();
    kv_.kv_indptr = kv_indptr_;
    kv_.kv_indices = kv_indices_;
    kv_.kv_last_page_len = kv_last_page_len_;
    std::mt19937 random(1);
    const auto fill = [&](size_t count) {
      std::vector<float> numbers(count);
      for (float& x : numbers) x = float(random()) * 0x1p-31f - 1.0f;
      return numbers;
    };
    const size_t tokens = size_t(all.back()), columns = 8 * 128;
    const std::vector<float> k = fill(tokens * columns), v = fill(tokens * columns);
    AppendPagedKv(kv_, 0, all, MatrixView(k.data(), tokens, columns),
                  MatrixView(v.data(), tokens, columns), pool);
    q_ = fill(size_t(qo_indptr_.back()) * kQoHeads * 128);
  }

  BatchAttentionPlan Plan(const AttentionSpec& spec) const {
    BatchAttentionPlan plan;
    Require(
        PlanBatchAttention(spec, qo_indptr_, kv_, {.thread_count = pool_.thread_count()}, &plan));
    return plan;
  }
  void Run(const BatchAttentionPlan& plan, std::vector<float>* out) const {
    const size_t rows = size_t(qo_indptr_.back()), columns = kQoHeads * 128;
    out->resize(rows * columns);
    plan.Run(kv_, 0, MatrixView(q_.data(), rows, columns), MatrixView(out->data(), rows, columns),
             pool_);
  }

 private:
  ThreadPool& pool_;
  AlignedBuffer memory_;
  std::vector<int32_t> qo_indptr_ = {0}, kv_indptr_ = {0}, kv_indices_, kv_last_page_len_;
  PagedKv kv_;
  std::vector<float> q_;
};

double Seconds(const Batch& batch, const BatchAttentionPlan& plan, int repeats,
               std::vector<float>* out) {
  const auto start = std::chrono::steady_clock::now();
  for (int i = 0; i < repeats; ++i) batch.Run(plan, out);
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// Prints a line: custom time over built-in time.
void Compare(const char* name, const Shape& shape, const Batch& batch,
             const AttentionSpec& built_in_spec, const LoadedAttentionVariant& loaded,
             std::span<const std::byte> params) {
  const Result<AttentionVariant> variant = BindAttentionVariant(loaded, params);
  Require(variant.status());
  AttentionSpec custom_spec = {kQoHeads, 8, 128, built_in_spec.sm_scale};
  custom_spec.variant = &*variant;
  const BatchAttentionPlan custom = batch.Plan(custom_spec), built_in = batch.Plan(built_in_spec);
  std::vector<float> out, expected;
  const double once = Seconds(batch, built_in, 1, &expected);
  batch.Run(custom, &out);
  for (size_t i = 0; i < out.size(); ++i) {
    // Outputs are means of values below 1; one rounds a product that the other does not.
    if (!(std::abs(out[i] - expected[i]) <= 1e-5f)) {
      Require(DataLoss(std::string(name) + " differs from the built-in one: " +
                       std::to_string(out[i]) + " for " + std::to_string(expected[i])));
    }
  }
  const int repeats = std::max(int(kTurnSeconds / once), 1);
  std::vector<double> ratios;
  for (int turn = 0; turn < kTurns; ++turn) {
    const double base = Seconds(batch, built_in, repeats, &expected);
    ratios.push_back(Seconds(batch, custom, repeats, &out) / base);
  }
  std::sort(ratios.begin(), ratios.end());
  std::printf("%-9s %-18s %-9s %7.3f %7.3f %7.3f\n", name, shape.name,
              std::string(CpuTargetName(ActiveCpuTarget())).c_str(), ratios.front(),
              ratios[ratios.size() / 2], ratios.back());
  std::fflush(stdout);
}

void RunAll(size_t thread_count) {
  const std::vector<LoadedAttentionVariant> variants = BuildVariants();
  std::vector<float> slopes(kQoHeads);
  for (size_t head = 0; head < kQoHeads; ++head) {
    slopes[head] = std::exp2(-8.0f * float(head + 1) / kQoHeads);  // as the paper has them
  }
  const float cap[2] = {kCap, 1 / kCap};
  ThreadPool pool(thread_count);
  std::printf("custom / built-in            %-9s %7s %7s %7s\n", "target", "min", "median", "max");
  for (const Shape& shape : kShapes) {
    const Batch batch(shape, pool);
    for (const CpuTarget target : SupportedCpuTargets()) {
      const ScopedCpuTarget scope(target);
      AttentionSpec spec = {kQoHeads, 8, 128, 0.0884f};
      spec.logits_soft_cap = kCap;
      Compare("soft cap", shape, batch, spec, variants[0], std::as_bytes(std::span(cap)));
      spec.logits_soft_cap = 0;
      spec.alibi_slopes = slopes;
      Compare("ALiBi", shape, batch, spec, variants[1], std::as_bytes(std::span(slopes)));
    }
  }
}

}  // namespace
}  // namespace kvasir

int main(int argc, char** argv) {
  const int thread_count = argc > 1 ? std::atoi(argv[1]) : 2;
  kvasir::RunAll(thread_count > 0 ? size_t(thread_count) : 1);
}
