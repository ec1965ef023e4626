#include "kvasir/attention/mla.h"

#include <algorithm>
#include <string>

#include "kvasir/base/check.h"

namespace kvasir {

KvRows MlaRows(const MlaSpec& spec, KvRowType type, std::byte* ckv, const KvRowStrides& ckv_strides,
               std::byte* kpe, const KvRowStrides& kpe_strides) {
  KvRows rows;
  rows.type = type;
  rows.k = rows.v = ckv;
  rows.k_strides = rows.v_strides = ckv_strides;
  rows.k_tail_dim = spec.head_dim_kpe;
  rows.k_tail = kpe;
  rows.k_tail_strides = kpe_strides;
  return rows;
}

KvRows MlaRows(const MlaSpec& spec, KvRowType type, std::byte* ckv, std::byte* kpe,
               int32_t page_size) {
  return MlaRows(spec, type, ckv, KvRowStrides::Nhd(page_size, 1, spec.head_dim_ckv), kpe,
                 KvRowStrides::Nhd(page_size, 1, spec.head_dim_kpe));
}

Status PlanBatchMlaPagedAttention(const MlaSpec& spec, std::span<const int32_t> qo_indptr,
                                  const PagedKv& kv, const AttentionPlanOptions& options,
                                  BatchMlaPagedAttentionPlan* plan) {
  constexpr uint32_t kHeadDimMax = 576;
  if (spec.num_heads == 0) return InvalidArgument("num_heads is 0, allowed is 1 and above");
  if (spec.head_dim_ckv < 1 || spec.head_dim_ckv > kHeadDimMax ||
      spec.head_dim_kpe > kHeadDimMax - spec.head_dim_ckv) {
    return InvalidArgument("head_dim_ckv is " + std::to_string(spec.head_dim_ckv) +
                           " and head_dim_kpe " + std::to_string(spec.head_dim_kpe) +
                           ", allowed are sums from 1 to 576 with head_dim_ckv at least 1");
  }
  if (!kv.rows || kv.rows->k_tail_dim != spec.head_dim_kpe) {
    return InvalidArgument("kv has no rows with a tail of head_dim_kpe numbers (MlaRows)");
  }
  KVASIR_RETURN_IF_ERROR(
      PlanBatchAttention(spec.attention(), qo_indptr, kv, options, &plan->attention_));
  plan->spec_ = spec;
  plan->row_count_ = size_t(qo_indptr.back());
  const size_t bytes =
      plan->row_count_ * spec.num_heads * plan->attention_.spec().head_dim * sizeof(float);
  if (bytes > plan->q_.size()) {
    KVASIR_ASSIGN_OR_RETURN(plan->q_, AlignedBuffer::Allocate(bytes));
  }
  return OkStatus();
}

void BatchMlaPagedAttentionPlan::Run(const PagedKv& kv, MatrixView<const float> q_nope,
                                     MatrixView<const float> q_pe, MatrixView<float> out,
                                     MatrixView<float> lse, ThreadPool& pool) const {
  const size_t heads = spec_.num_heads, ckv = spec_.head_dim_ckv, kpe = spec_.head_dim_kpe;
  KVASIR_CHECK(q_nope.rows() == row_count_ && q_nope.cols() == heads * ckv);
  KVASIR_CHECK(kpe == 0 || (q_pe.rows() == row_count_ && q_pe.cols() == heads * kpe));
  float* packed = q_.as<float>();
  const size_t columns = heads * (ckv + kpe);
  // ~20 us for a row of 128 heads: worth sharing out only when there are several.
  pool.ParallelFor(row_count_, [&](size_t row, size_t) {
    for (size_t head = 0; head < heads; ++head) {
      float* to = packed + row * columns + head * (ckv + kpe);
      std::copy_n(q_nope.row(row) + head * ckv, ckv, to);
      if (kpe > 0) std::copy_n(q_pe.row(row) + head * kpe, kpe, to + ckv);
    }
  });
  attention_.Run(kv, 0, MatrixView<const float>(packed, row_count_, columns), out, lse, pool);
}

}  // namespace kvasir
