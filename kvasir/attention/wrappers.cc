#include "kvasir/attention/wrappers.h"

#include <string>
#include <vector>

namespace kvasir {

namespace {

Status CheckShape(const std::string& name, size_t rows, size_t cols, size_t needed_rows,
                  size_t needed_cols) {
  if (rows == needed_rows && cols == needed_cols) return OkStatus();
  return InvalidArgument(name + " has shape [" + std::to_string(rows) + ", " +
                         std::to_string(cols) + "], allowed is [" + std::to_string(needed_rows) +
                         ", " + std::to_string(needed_cols) + "]");
}

}  // namespace

PagedKv RaggedKv(const KvRows& rows, std::span<const int32_t> kv_indptr) {
  PagedKv kv;
  kv.rows = rows;
  kv.is_ragged = true;
  kv.page_size = 1;
  kv.kv_indptr = kv_indptr;
  kv.page_count = kv_indptr.empty() || kv_indptr.back() < 0 ? 0 : size_t(kv_indptr.back());
  return kv;
}

Status PlanBatchDecodeWithPagedKvCache(const AttentionSpec& spec, const PagedKv& kv,
                                       const AttentionPlanOptions& options,
                                       BatchAttentionPlan* plan, int32_t q_len_per_req) {
  constexpr int32_t kQLenMax = 1 << 16;
  if (q_len_per_req < 1 || q_len_per_req > kQLenMax) {
    return InvalidArgument("q_len_per_req is " + std::to_string(q_len_per_req) +
                           ", allowed is 1 to " + std::to_string(kQLenMax));
  }
  const size_t batch = kv.batch_size();
  if (batch > size_t(INT32_MAX / q_len_per_req)) {
    return InvalidArgument("batch is " + std::to_string(batch) + ", allowed is 0 to " +
                           std::to_string(INT32_MAX / q_len_per_req));
  }
  std::vector<int32_t> qo_indptr(batch + 1);
  for (size_t b = 0; b <= batch; ++b) qo_indptr[b] = int32_t(b) * q_len_per_req;
  return PlanBatchAttention(spec, qo_indptr, kv, options, plan);
}

Status PlanBatchPrefillWithRaggedKvCache(const AttentionSpec& spec,
                                         std::span<const int32_t> qo_indptr,
                                         std::span<const int32_t> kv_indptr, const KvRows& rows,
                                         const AttentionPlanOptions& options,
                                         BatchAttentionPlan* plan) {
  if (kv_indptr.empty()) return InvalidArgument("kv_indptr is empty, batch + 1 entries are needed");
  return PlanBatchAttention(spec, qo_indptr, RaggedKv(rows, kv_indptr), options, plan);
}

Status CheckAttentionShapes(const AttentionSpec& spec, size_t row_count, MatrixView<const float> q,
                            MatrixView<float> out, MatrixView<float> lse) {
  const size_t heads = spec.num_qo_heads;
  KVASIR_RETURN_IF_ERROR(CheckShape("q", q.rows(), q.cols(), row_count, heads * spec.head_dim));
  KVASIR_RETURN_IF_ERROR(
      CheckShape("out", out.rows(), out.cols(), row_count, heads * spec.v_dim()));
  if (lse.rows() == 0 && lse.data() == nullptr) return OkStatus();
  return CheckShape("lse", lse.rows(), lse.cols(), row_count, heads);
}

Status SinglePrefillWithKvCache(const AttentionSpec& spec, const KvRows& rows, int32_t kv_len,
                                MatrixView<const float> q, MatrixView<float> out,
                                MatrixView<float> lse, ThreadPool& pool) {
  if (kv_len < 0) {
    return InvalidArgument("kv_len is " + std::to_string(kv_len) + ", allowed is 0 and above");
  }
  KVASIR_RETURN_IF_ERROR(CheckAttentionShapes(spec, q.rows(), q, out, lse));
  AttentionSpec single = spec;
  const int32_t mask_indptr[2] = {0, int32_t(spec.packed_custom_mask.size())};
  if (!spec.packed_custom_mask.empty() && spec.mask_indptr.empty()) {
    single.mask_indptr = mask_indptr;
  }
  const int32_t qo_indptr[2] = {0, int32_t(q.rows())}, kv_indptr[2] = {0, kv_len};
  const PagedKv kv = RaggedKv(rows, kv_indptr);
  BatchAttentionPlan plan;
  KVASIR_RETURN_IF_ERROR(
      PlanBatchAttention(single, qo_indptr, kv, {.thread_count = pool.thread_count()}, &plan));
  plan.Run(kv, 0, q, out, lse, pool);
  return OkStatus();
}

Status SingleDecodeWithKvCache(const AttentionSpec& spec, const KvRows& rows, int32_t kv_len,
                               MatrixView<const float> q, MatrixView<float> out,
                               MatrixView<float> lse, ThreadPool& pool) {
  KVASIR_RETURN_IF_ERROR(CheckAttentionShapes(spec, 1, q, out, lse));
  return SinglePrefillWithKvCache(spec, rows, kv_len, q, out, lse, pool);
}

}  // namespace kvasir
