// A first attention call: two sequences that decode over plain pools of keys and values, f32
// [pages, page_size, kv_heads, head_dim] (NHD), as other libraries have them.

#include <cstdio>
#include <vector>

#include "kvasir/attention/batch_attention.h"

using namespace kvasir;

constexpr int kPages = 8, kPageSize = 16, kQoHeads = 8, kKvHeads = 2, kHeadDim = 64;

// q and out [2, kQoHeads * kHeadDim].
Status Decode(std::vector<float>& k_pool, std::vector<float>& v_pool, const std::vector<float>& q,
              std::vector<float>* out) {
  // Sequence 0 has 16 + 16 + 3 tokens in the pages 4, 0 and 7, sequence 1 has 9 in page 2.
  const std::vector<int32_t> qo_indptr = {0, 1, 2}, kv_indptr = {0, 3, 4};
  const std::vector<int32_t> kv_indices = {4, 0, 7, 2}, kv_last_page_len = {3, 9};
  PagedKv kv = {.page_count = kPages,
                .kv_indptr = kv_indptr,
                .kv_indices = kv_indices,
                .kv_last_page_len = kv_last_page_len,
                .page_size = kPageSize};
  const KvRowStrides nhd = KvRowStrides::Nhd(kPageSize, kKvHeads, kHeadDim);
  kv.rows = KvRows::F32(k_pool.data(), v_pool.data(), nhd);
  const AttentionSpec spec = {kQoHeads, kKvHeads, kHeadDim, /*sm_scale=*/0.125f};
  BatchAttentionPlan plan;
  KVASIR_RETURN_IF_ERROR(PlanBatchAttention(spec, qo_indptr, kv, {}, &plan));
  ThreadPool pool(1);
  plan.Run(kv, 0, {q.data(), 2, kQoHeads * kHeadDim}, {out->data(), 2, kQoHeads * kHeadDim}, pool);
  return OkStatus();
}

int main() {
  std::vector<float> k(kPages * kPageSize * kKvHeads * kHeadDim, 0.5f), v(k);
  std::vector<float> q(2 * kQoHeads * kHeadDim, 1.0f), out(q.size());
  // Of sequence 1, each token's values are its position: their mean is 4.
  for (size_t i = 0; i < kPageSize * kKvHeads * kHeadDim; ++i) {
    v[2 * kPageSize * kKvHeads * kHeadDim + i] = float(i / (kKvHeads * kHeadDim));
  }
  if (const Status status = Decode(k, v, q, &out); !status.ok()) {
    std::fprintf(stderr, "attention_paged: %s\n", status.message().c_str());
    return 1;
  }
  std::printf("sequence 0: %g, sequence 1: %g\n", out.front(), out.back());
  return out.front() == 0.5f && out.back() == 4.0f ? 0 : 1;
}
