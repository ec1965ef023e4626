#include "kvasir/attention/batch_attention.h"

#include "kvasir/attention/attend.h"
#include "kvasir/base/check.h"

namespace kvasir {

void BatchAttentionPlan::Run(const PagedKv& kv, uint32_t layer, MatrixView<const float> q,
                             MatrixView<float> out, ThreadPool& pool) const {
  if (work_items_.empty()) return;
  const size_t columns = size_t{spec_.num_qo_heads} * spec_.head_dim;
  const size_t rows = size_t(qo_indptr_.back());
  KVASIR_CHECK(layer < kv.layout.layer_count && kv.layout.head_dim == spec_.head_dim);
  KVASIR_CHECK(kv.layout.kv_head_count == spec_.num_kv_heads);
  KVASIR_CHECK(kv.batch_size() + 1 == qo_indptr_.size());
  KVASIR_CHECK(q.rows() == rows && q.cols() == columns);
  KVASIR_CHECK(out.rows() == rows && out.cols() == columns);
  KVASIR_CHECK(pool.thread_count() <= thread_count_);

  const AttentionRun run = {
      .spec = spec_,
      .kv = kv,
      .layer = layer,
      .qo_indptr = qo_indptr_,
      .merge_items = merge_items_,
      .q = q,
      .out = out,
      .partials = workspace_.as<float>(),
      .finished = reinterpret_cast<uint32_t*>(workspace_.data() + finished_offset_)};
  const auto attend = kv.layout.format == KvFormat::kF32 ? AttendItemF32 : AttendItemBF16;
  const size_t scratch_bytes = AttentionScratch::ByteCount(row_count_max_, spec_.head_dim);
  pool.ParallelFor(work_items_.size(), [&](size_t task, size_t worker) {
    std::byte* memory = workspace_.data() + scratch_offset_ + worker * scratch_bytes;
    attend(run, work_items_[task], AttentionScratch::At(memory, row_count_max_, spec_.head_dim));
  });
}

}  // namespace kvasir
