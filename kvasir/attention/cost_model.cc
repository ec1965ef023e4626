#include "kvasir/attention/cost_model.h"

#include <algorithm>
#include <chrono>
#include <map>
#include <mutex>
#include <utility>
#include <vector>

#include "kvasir/attention/batch_attention.h"
#include "kvasir/base/topology.h"
#include "kvasir/kernels/cpu_target.h"

namespace kvasir {

namespace {

// A batch of equal decodes over zeros, in bf16 blocks of one KV head: the real kernels, timed.
class Probe {
 public:
  Probe(uint32_t group, uint32_t head_dim, int32_t sequences, int32_t kv_len)
      : spec_{.num_qo_heads = group, .num_kv_heads = 1, .head_dim = head_dim, .sm_scale = 1} {
    const int32_t pages = (kv_len + int32_t{kKvBlockTokens} - 1) / int32_t{kKvBlockTokens};
    kv_.layout = {.layer_count = 1, .kv_head_count = 1, .head_dim = head_dim};
    kv_.page_count = size_t(pages) * size_t(sequences);
    for (int32_t b = 0; b < sequences; ++b) {
      qo_indptr_.push_back(b + 1);
      kv_indptr_.push_back(kv_indptr_.back() + pages);
      last_page_len_.push_back((kv_len - 1) % int32_t{kKvBlockTokens} + 1);
    }
    for (size_t page = 0; page < kv_.page_count; ++page) indices_.push_back(int32_t(page));
    kv_.kv_indptr = kv_indptr_;
    kv_.kv_indices = indices_;
    kv_.kv_last_page_len = last_page_len_;
    numbers_.assign(2 * size_t(sequences) * group * head_dim, 0.0f);
  }

  size_t kv_bytes() const { return kv_.page_count * kv_.layout.block_bytes(); }

  // Picoseconds of a run on `pool`, the best of `repeats`; 0 when there is no memory for it.
  double MeasurePs(ThreadPool& pool, int repeats) {
    Result<AlignedBuffer> memory = AlignedBuffer::Allocate(kv_bytes());
    if (!memory.ok()) return 0;
    // Memory that was never written is one page of zeros, which would not leave the cache.
    std::fill_n(memory->as<std::byte>(), kv_bytes(), std::byte{0});
    kv_.base = memory->data();
    BatchAttentionPlan plan;
    const AttentionPlanOptions options = {.thread_count = pool.thread_count(), .cascade = false};
    if (!PlanBatchAttention(spec_, qo_indptr_, kv_, options, &plan).ok()) return 0;
    const size_t rows = qo_indptr_.size() - 1, columns = numbers_.size() / 2 / rows;
    double best = 1e18;
    for (int i = 0; i < repeats; ++i) {
      const auto start = std::chrono::steady_clock::now();
      plan.Run(kv_, 0, MatrixView<const float>(numbers_.data(), rows, columns),
               MatrixView(numbers_.data() + rows * columns, rows, columns), pool);
      const std::chrono::duration<double, std::pico> time =
          std::chrono::steady_clock::now() - start;
      best = std::min(best, time.count());
    }
    return best;
  }

 private:
  AttentionSpec spec_;
  PagedKv kv_;
  std::vector<int32_t> qo_indptr_ = {0}, kv_indptr_ = {0}, indices_, last_page_len_;
  std::vector<float> numbers_;  // q, then out
};

}  // namespace

AttentionCosts MeasureAttentionCosts(ThreadPool& pool) {
  AttentionCosts costs;
  const auto set = [](double value, double* cost) {
    if (value > 0) *cost = value;
  };
  // One thread over keys in its cache: a key costs A = rows (2 dim pair + score) + 2 dim widen;
  // three shapes for three unknowns. What starting the item costs is below 1 % of any of them.
  ThreadPool single(1);
  constexpr int32_t kKeys = 512;
  constexpr int kRepeats = 5;
  const double a1 = Probe(64, 128, 1, kKeys).MeasurePs(single, kRepeats) / kKeys;
  const double a2 = Probe(64, 32, 1, kKeys).MeasurePs(single, kRepeats) / kKeys;
  const double a3 = Probe(16, 128, 1, kKeys).MeasurePs(single, kRepeats) / kKeys;
  const double row128 = (a1 - a3) / 48;  // 256 pair + score
  const double widen = (a3 - 16 * row128) / 256;
  const double row32 = (a2 - 64 * widen) / 64;  // 64 pair + score
  const double pair = (row128 - row32) / 192;
  set(widen, &costs.widen_ps);
  set(pair, &costs.pair_ps);
  set(row128 - 256 * pair, &costs.score_ps);
  // Sequences of one key are all start and finish.
  constexpr int32_t kItems = 64;
  set(Probe(4, 64, kItems, 1).MeasurePs(single, kRepeats) / kItems, &costs.item_ps);
  // Twice the last-level cache, and half of what a thread has of it, read by all threads.
  if (const size_t cache = LastLevelCacheBytes(); cache > 0) costs.cache_bytes = double(cache);
  const auto byte_ps = [&](double bytes, int repeats) {
    constexpr int32_t kSequences = 16;
    const double bytes_of_key = 2 * 128 * 2;
    Probe stream(1, 128, kSequences, int32_t(bytes / bytes_of_key / kSequences));
    return stream.MeasurePs(pool, repeats) * double(pool.thread_count()) /
           double(stream.kv_bytes());
  };
  set(byte_ps(std::clamp(2 * costs.cache_bytes, 32e6, 128e6), 2), &costs.kv_byte_ps);
  set(byte_ps(std::clamp(costs.cache_bytes / 4, 2e6, 16e6), 4), &costs.cached_byte_ps);
  return costs;
}

AttentionCosts MachineAttentionCosts(ThreadPool& pool) {
  static std::mutex mutex;
  static auto* const measured = new std::map<std::pair<CpuTarget, size_t>, AttentionCosts>;
  const std::pair key(ActiveCpuTarget(), pool.thread_count());
  std::lock_guard lock(mutex);
  const auto found = measured->find(key);
  if (found != measured->end()) return found->second;
  return measured->emplace(key, MeasureAttentionCosts(pool)).first->second;
}

}  // namespace kvasir
