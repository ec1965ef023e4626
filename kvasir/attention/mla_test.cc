// Latent attention against the float64 truth of its keys and values.

#include "kvasir/attention/mla.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "kvasir/attention/attention_test_util.h"
#include "kvasir/formats/float16.h"
#include "kvasir/kernels/cpu_target.h"

namespace kvasir {
namespace {

constexpr double kTolerance = 5e-6;  // as in batch_attention_test.cc

void StoreNumber(float x, KvRowType type, std::byte* to) {
  if (type == KvRowType::kF32) {
    std::memcpy(to, &x, sizeof(x));
  } else {
    StoreU16(to, type == KvRowType::kBF16 ? BF16FromF32(x) : F16FromF32(x));
  }
}

// Sequences in two pools of latent rows that are NaN elsewhere.
class Latent {
 public:
  Latent(const MlaSpec& spec, KvRowType type, int32_t page_size,
         const std::vector<std::pair<int32_t, int32_t>>& lens, std::mt19937& random)
      : spec_(spec) {
    const AttentionSpec attention = spec.attention();
    const TestStorage storage(TestStorage::Kind::kNhd, type, page_size);
    for (const auto& [kv_len, q_len] : lens) {
      TestSequence s = RandomSequence(attention, storage, kv_len, q_len, random);
      s.v.clear();
      for (int32_t t = 0; t < kv_len; ++t) {
        const auto row = s.k.begin() + t * int32_t(attention.head_dim);
        s.v.insert(s.v.end(), row, row + spec.head_dim_ckv);
      }
      qo_indptr_.push_back(qo_indptr_.back() + q_len);
      kv_indptr_.push_back(kv_indptr_.back() + (kv_len + page_size - 1) / page_size);
      kv_last_page_len_.push_back(kv_len == 0 ? 1 : (kv_len - 1) % page_size + 1);
      truths_.push_back(ReferenceAttention(attention, s));
      sequences_.push_back(std::move(s));
    }
    const size_t pages = size_t(kv_indptr_.back()) + 2;
    for (size_t page = 0; page < pages; ++page) kv_indices_.push_back(int32_t(page));
    std::shuffle(kv_indices_.begin(), kv_indices_.end(), random);
    kv_indices_.resize(size_t(kv_indptr_.back()));
    const size_t bytes = pages * size_t(page_size) * KvRowTypeBytes(type);
    ckv_.assign(bytes * spec.head_dim_ckv, std::byte{0xFF});
    kpe_.assign(std::max<size_t>(bytes * spec.head_dim_kpe, 4), std::byte{0xFF});
    kv_.rows = MlaRows(spec, type, ckv_.data(), kpe_.data(), page_size);
    kv_.page_size = page_size;
    kv_.page_count = pages;
    kv_.kv_indptr = kv_indptr_;
    kv_.kv_indices = kv_indices_;
    kv_.kv_last_page_len = kv_last_page_len_;
    for (size_t b = 0; b < sequences_.size(); ++b) Put(b, type);
  }

  void Check() {
    BatchMlaPagedAttentionPlan plan;
    const Status status =
        PlanBatchMlaPagedAttention(spec_, qo_indptr_, kv_, {.thread_count = 2}, &plan);
    ASSERT_TRUE(status.ok()) << status.message();
    std::vector<float> q_nope, q_pe;
    for (const TestSequence& s : sequences_) {
      for (size_t i = 0; i < s.q.size(); ++i) {
        const bool is_nope = i % spec_.attention().head_dim < spec_.head_dim_ckv;
        (is_nope ? q_nope : q_pe).push_back(s.q[i]);
      }
    }
    const ReferenceOutput truth = Concatenate(truths_);
    const size_t rows = size_t(qo_indptr_.back()), heads = spec_.num_heads;
    for (const CpuTarget target : SupportedCpuTargets()) {
      const ScopedCpuTarget scope(target);
      ThreadPool pool(2);
      std::vector<float> out(truth.out.size(), NAN), lse(truth.lse.size(), NAN);
      const size_t allocations = AllocationCount();
      plan.Run(kv_, MatrixView<const float>(q_nope.data(), rows, heads * spec_.head_dim_ckv),
               MatrixView<const float>(q_pe.data(), rows, heads * spec_.head_dim_kpe),
               MatrixView<float>(out.data(), rows, heads * spec_.head_dim_ckv),
               MatrixView<float>(lse.data(), rows, heads), pool);
      EXPECT_EQ(AllocationCount(), allocations);
      const OutputError error = CompareWithReference(out, lse, truth);
      const std::string what = std::string(CpuTargetName(target)) + ", " + std::to_string(heads) +
                               " heads of " + std::to_string(spec_.head_dim_ckv) + " + " +
                               std::to_string(spec_.head_dim_kpe);
      EXPECT_LE(error.out, kTolerance) << what;
      EXPECT_LE(error.lse, kTolerance) << what;
    }
  }

  PagedKv& kv() { return kv_; }
  const std::vector<int32_t>& qo_indptr() const { return qo_indptr_; }

 private:
  void Put(size_t b, KvRowType type) {
    const TestSequence& s = sequences_[b];
    const uint32_t ckv = spec_.head_dim_ckv, kpe = spec_.head_dim_kpe;
    const size_t bytes = KvRowTypeBytes(type);
    for (int32_t t = 0; t < s.kv_len; ++t) {
      const int32_t page = kv_indices_[size_t(kv_indptr_[b] + t / kv_.page_size)];
      const size_t row = size_t(page) * size_t(kv_.page_size) + size_t(t % kv_.page_size);
      for (uint32_t d = 0; d < ckv + kpe; ++d) {
        std::byte* to =
            d < ckv ? &ckv_[(row * ckv + d) * bytes] : &kpe_[(row * kpe + d - ckv) * bytes];
        StoreNumber(s.k[size_t(t) * (ckv + kpe) + d], type, to);
      }
    }
  }

  MlaSpec spec_;
  std::vector<TestSequence> sequences_;
  std::vector<ReferenceOutput> truths_;
  std::vector<int32_t> qo_indptr_ = {0}, kv_indptr_ = {0}, kv_indices_, kv_last_page_len_;
  std::vector<std::byte> ckv_, kpe_;
  PagedKv kv_;
};

TEST(MlaTest, AgreesWithTheTruth) {
  struct Case {
    MlaSpec spec;
    int32_t page_size;
  };
  const Case kCases[] = {
      {{.num_heads = 16, .sm_scale = 0.072f}, 64},   // DeepSeek-V2-Lite
      {{.num_heads = 128, .sm_scale = 0.072f}, 16},  // DeepSeek-V3
      {{.num_heads = 5, .sm_scale = 0.072f, .causal = false}, 1},
      {{.num_heads = 3, .head_dim_ckv = 33, .head_dim_kpe = 7, .sm_scale = 0.2f}, 5},
      {{.num_heads = 8, .head_dim_ckv = 128, .head_dim_kpe = 0, .sm_scale = 0.1f}, 32},
      {{.num_heads = 2, .head_dim_ckv = 16, .head_dim_kpe = 560, .sm_scale = 0.05f}, 8}};
  std::mt19937 random(13);
  for (const Case& c : kCases) {
    const int32_t kv_len = c.spec.num_heads > 16 ? 70 : 300;
    for (const KvRowType type : {KvRowType::kF32, KvRowType::kBF16, KvRowType::kF16}) {
      Latent(c.spec, type, c.page_size, {{kv_len, 1}, {0, 0}, {41, 3}, {0, 1}, {1, 1}}, random)
          .Check();
    }
  }
}

TEST(MlaTest, ABadArgumentIsNamed) {
  std::mt19937 random(2);
  const MlaSpec good = {.num_heads = 2, .sm_scale = 0.1f};
  Latent latent(good, KvRowType::kF32, 16, {{20, 1}}, random);
  BatchMlaPagedAttentionPlan plan;
  const auto refusal = [&](const MlaSpec& spec) {
    return PlanBatchMlaPagedAttention(spec, latent.qo_indptr(), latent.kv(), {}, &plan).message();
  };
  EXPECT_EQ(refusal(good), "");
  EXPECT_EQ(refusal({.num_heads = 0}), "num_heads is 0, allowed is 1 and above");
  EXPECT_EQ(refusal({.num_heads = 2, .head_dim_ckv = 513}),
            "head_dim_ckv is 513 and head_dim_kpe 64, allowed are sums from 1 to 576 with "
            "head_dim_ckv at least 1");
  EXPECT_EQ(refusal({.num_heads = 2, .head_dim_kpe = 32}),
            "kv has no rows with a tail of head_dim_kpe numbers (MlaRows)");
  EXPECT_EQ(refusal({.num_heads = 2, .sm_scale = INFINITY}), "sm_scale is not finite");
}

}  // namespace
}  // namespace kvasir
