// BatchMlaPagedAttention: multi-head latent attention of DeepSeek-V2 and V3 (arXiv 2405.04434) in
// the absorbed form, decode and prefill: all heads share one latent row for each token, which is
// both key and value,
//
//   key    | ckv head_dim_ckv (512) | kpe head_dim_kpe (64), after RoPE |
//   value  | ckv head_dim_ckv |
//
// and each query head is | q_nope, multiplied by the key's up-projection | q_pe, after RoPE |. The
// outputs are in latent space, head_dim_ckv numbers a head. It is grouped-query attention with one
// KV head and runs on the kernels of batch_attention.h; the two pools are read where they are.
//
// A plan is a value that owns its workspace and can be reused for every layer of a step; one Run at
// a time, from the thread that owns the pool.

#ifndef KVASIR_ATTENTION_MLA_H_
#define KVASIR_ATTENTION_MLA_H_

#include <cstdint>
#include <span>

#include "kvasir/attention/batch_attention.h"
#include "kvasir/attention/paged_kv.h"
#include "kvasir/base/aligned_buffer.h"
#include "kvasir/base/matrix_view.h"
#include "kvasir/base/status.h"
#include "kvasir/base/thread_pool.h"

namespace kvasir {

struct MlaSpec {
  uint32_t num_heads = 0;
  uint32_t head_dim_ckv = 512;
  uint32_t head_dim_kpe = 64;  // head_dim_ckv + head_dim_kpe is at most 576
  float sm_scale = 0;          // multiplies q.k; 1 / sqrt(128 + 64) for DeepSeek's heads
  bool causal = true;          // as in AttentionSpec

  AttentionSpec attention() const {
    AttentionSpec spec;
    spec.num_qo_heads = num_heads;
    spec.num_kv_heads = 1;
    spec.head_dim = head_dim_ckv + head_dim_kpe;
    spec.head_dim_vo = head_dim_ckv;
    spec.sm_scale = sm_scale;
    spec.causal = causal;
    return spec;
  }
};

// Latent rows as keys and values, for PagedKv::rows: ckv [pages, page_size, head_dim_ckv] and kpe
// [pages, page_size, head_dim_kpe], by strides.
KvRows MlaRows(const MlaSpec& spec, KvRowType type, std::byte* ckv, const KvRowStrides& ckv_strides,
               std::byte* kpe, const KvRowStrides& kpe_strides);
// The same for dense pools.
KvRows MlaRows(const MlaSpec& spec, KvRowType type, std::byte* ckv, std::byte* kpe,
               int32_t page_size);

class BatchMlaPagedAttentionPlan {
 public:
  const MlaSpec& spec() const { return spec_; }
  const BatchAttentionPlan& attention() const { return attention_; }

  // q_nope [rows, num_heads * head_dim_ckv], q_pe [rows, num_heads * head_dim_kpe] (unused, may be
  // empty, when head_dim_kpe is 0), out [rows, num_heads * head_dim_ckv], lse [rows, num_heads] or
  // empty. kv as for BatchAttentionPlan::Run. No allocation.
  void Run(const PagedKv& kv, MatrixView<const float> q_nope, MatrixView<const float> q_pe,
           MatrixView<float> out, MatrixView<float> lse, ThreadPool& pool) const;

 private:
  friend Status PlanBatchMlaPagedAttention(const MlaSpec& spec, std::span<const int32_t> qo_indptr,
                                           const PagedKv& kv, const AttentionPlanOptions& options,
                                           BatchMlaPagedAttentionPlan* plan);

  MlaSpec spec_;
  BatchAttentionPlan attention_;
  size_t row_count_ = 0;
  AlignedBuffer q_;  // [rows, num_heads, head_dim_ckv + head_dim_kpe]
};

// Plans as PlanBatchAttention does; kv.rows are MlaRows.
Status PlanBatchMlaPagedAttention(const MlaSpec& spec, std::span<const int32_t> qo_indptr,
                                  const PagedKv& kv, const AttentionPlanOptions& options,
                                  BatchMlaPagedAttentionPlan* plan);

}  // namespace kvasir

#endif  // KVASIR_ATTENTION_MLA_H_
