// Attention under the names that a FlashInfer user knows: thin functions over PlanBatchAttention
// (batch_attention.h), which serves all of them. A plan is the same BatchAttentionPlan whoever made
// it, and its Run takes the same arguments; BatchAttention and BatchPrefillWithPagedKVCache are
// PlanBatchAttention itself. block_sparse.h, cascade.h, mla.h and merge.h have the rest.
//
// Free functions without state: any thread, but for the pool's owner where a pool is given.

#ifndef KVASIR_ATTENTION_WRAPPERS_H_
#define KVASIR_ATTENTION_WRAPPERS_H_

#include <cstdint>
#include <span>

#include "kvasir/attention/batch_attention.h"
#include "kvasir/attention/paged_kv.h"
#include "kvasir/base/matrix_view.h"
#include "kvasir/base/status.h"
#include "kvasir/base/thread_pool.h"

namespace kvasir {

// The view of keys and values that lie one behind the other without pages: those of sequence b are
// tokens kv_indptr[b] .. kv_indptr[b + 1] of `rows` (whose page strides are unused).
PagedKv RaggedKv(const KvRows& rows, std::span<const int32_t> kv_indptr);

// Decode: each sequence has its last q_len_per_req tokens as queries, rows [batch * q_len_per_req].
Status PlanBatchDecodeWithPagedKvCache(const AttentionSpec& spec, const PagedKv& kv,
                                       const AttentionPlanOptions& options,
                                       BatchAttentionPlan* plan, int32_t q_len_per_req = 1);

// Prefill, append or verification of a mixed batch over pages.
inline Status PlanBatchPrefillWithPagedKvCache(const AttentionSpec& spec,
                                               std::span<const int32_t> qo_indptr,
                                               const PagedKv& kv,
                                               const AttentionPlanOptions& options,
                                               BatchAttentionPlan* plan) {
  return PlanBatchAttention(spec, qo_indptr, kv, options, plan);
}

// The same over ragged arrays: run the plan with RaggedKv(rows, kv_indptr).
Status PlanBatchPrefillWithRaggedKvCache(const AttentionSpec& spec,
                                         std::span<const int32_t> qo_indptr,
                                         std::span<const int32_t> kv_indptr, const KvRows& rows,
                                         const AttentionPlanOptions& options,
                                         BatchAttentionPlan* plan);

// One sequence of kv_len tokens, planned and run at once. q [q_len, num_qo_heads * head_dim], out
// [q_len, num_qo_heads * v_dim], lse [q_len, num_qo_heads] or empty. A custom mask is q_len x
// kv_len bits; mask_indptr may be left out. kInvalidArgument also names a shape that does not fit.
Status SinglePrefillWithKvCache(const AttentionSpec& spec, const KvRows& rows, int32_t kv_len,
                                MatrixView<const float> q, MatrixView<float> out,
                                MatrixView<float> lse, ThreadPool& pool);

// The same for one query: q [1, num_qo_heads * head_dim].
Status SingleDecodeWithKvCache(const AttentionSpec& spec, const KvRows& rows, int32_t kv_len,
                               MatrixView<const float> q, MatrixView<float> out,
                               MatrixView<float> lse, ThreadPool& pool);

// That q, out and lse (or an empty one) have the shapes that `row_count` query rows of `spec` take;
// kInvalidArgument names the one that has not.
Status CheckAttentionShapes(const AttentionSpec& spec, size_t row_count, MatrixView<const float> q,
                            MatrixView<float> out, MatrixView<float> lse);

}  // namespace kvasir

#endif  // KVASIR_ATTENTION_WRAPPERS_H_
