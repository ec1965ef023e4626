#include "kvasir/attention/attend.h"
#include "kvasir/kernels/highway_targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kvasir/attention/merge_partials.cc"
// Must come after the choice of targets and before everything else of Highway.
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kvasir/attention/attend-inl.h"

HWY_BEFORE_NAMESPACE();
namespace kvasir {
namespace HWY_NAMESPACE {

void MergePartials(const AttentionRun& run, int32_t query, size_t kv_head,
                   const AttentionScratch& scratch) {
  const AttentionPlanRow& row = run.rows[size_t(query)];
  const size_t group = run.spec.group_size();
  const AttentionStates running = AttentionStates::At(scratch.running, group, run.spec.v_dim());
  ClearAttentionStates(running);
  for (int32_t i = 0; i < row.slot_count; ++i) {
    MergeStates(run.Partial(row.slot + i, kv_head), running);
  }
  for (size_t head = 0; head < group; ++head) {
    FinishQuery(run, running, head, size_t(query), kv_head * group + head);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace kvasir
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace kvasir {

HWY_EXPORT(MergePartials);

void MergePartials(const AttentionRun& run, int32_t query, size_t kv_head,
                   const AttentionScratch& scratch) {
  HWY_DYNAMIC_DISPATCH(MergePartials)(run, query, kv_head, scratch);
}

}  // namespace kvasir
#endif  // HWY_ONCE
