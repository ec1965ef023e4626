#include "kvasir/attention/batch_attention.h"

#include <algorithm>

#include "kvasir/attention/attend.h"
#include "kvasir/base/check.h"

namespace kvasir {

namespace {

AttendFn AttendFunction(const PagedKv& kv, uint32_t layer) {
  if (!kv.rows) {
    if (kv.layout.quantized()) return AttendItemEncoded;
    return kv.layout.formats(layer).k == KvFormat::kF32 ? AttendItemF32 : AttendItemBF16;
  }
  switch (kv.rows->type) {
    case KvRowType::kF32:
      return AttendItemRowsF32;
    case KvRowType::kBF16:
      return AttendItemRowsBF16;
    case KvRowType::kF16:
      break;
  }
  return AttendItemRowsF16;
}

// Merges that one task does: a merge is ~0.1 us, handing out a task ~20 ns.
constexpr size_t kMergesPerTask = 4;

}  // namespace

void BatchAttentionPlan::Run(const PagedKv& kv, uint32_t layer, MatrixView<const float> q,
                             MatrixView<float> out, ThreadPool& pool) const {
  Run(kv, layer, q, out, MatrixView<float>(), pool);
}

void BatchAttentionPlan::Run(const PagedKv& kv, uint32_t layer, MatrixView<const float> q,
                             MatrixView<float> out, MatrixView<float> lse, ThreadPool& pool) const {
  if (work_items_.empty()) return;
  KVASIR_CHECK(!kv.rows == is_blocks_ && kv.batch_size() == batch_size_);
  KVASIR_CHECK(kv.rows || layer < kv.layout.layer_count);
  KVASIR_CHECK(kv.rows || kv.layout.quantized() == (weight_groups_ > 0));
  KVASIR_CHECK(q.rows() == rows_.size() && q.cols() == spec_.num_qo_heads * spec_.head_dim);
  KVASIR_CHECK(out.rows() == rows_.size() && out.cols() == spec_.num_qo_heads * spec_.v_dim());
  KVASIR_CHECK(lse.rows() == 0 || (lse.rows() == rows_.size() && lse.cols() == spec_.num_qo_heads));
  KVASIR_CHECK(pool.thread_count() <= thread_count_);

  const AttentionRun run = {.spec = spec_,
                            .kv = kv,
                            .layer = layer,
                            .rows = rows_,
                            .row_ids = row_ids_,
                            .q = q,
                            .out = out,
                            .lse = lse,
                            .partials = workspace_.as<float>()};
  const AttendFn attend = AttendFunction(kv, layer);
  const size_t scratch_bytes = AttentionScratch::ByteCount(spec_, row_count_max_, weight_groups_);
  const auto scratch_of = [&](size_t worker) {
    return AttentionScratch::At(workspace_.data() + scratch_offset_ + worker * scratch_bytes, spec_,
                                row_count_max_, weight_groups_);
  };
  const size_t heads = spec_.num_kv_heads;
  pool.ParallelFor(work_items_.size() * heads, [&](size_t task, size_t worker) {
    attend(run, work_items_[task / heads], task % heads, scratch_of(worker));
  });
  const size_t merge_count = merged_rows_.size() * heads;
  pool.ParallelFor((merge_count + kMergesPerTask - 1) / kMergesPerTask,
                   [&](size_t task, size_t worker) {
                     const size_t end = std::min((task + 1) * kMergesPerTask, merge_count);
                     for (size_t i = task * kMergesPerTask; i < end; ++i) {
                       MergePartials(run, merged_rows_[i / heads], i % heads, scratch_of(worker));
                     }
                   });
}

}  // namespace kvasir
