#include "kvasir/attention/attend.h"
#include "kvasir/kernels/highway_targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kvasir/attention/attend_rows.cc"
// Must come after the choice of targets and before everything else of Highway.
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kvasir/attention/attend-inl.h"
#include "kvasir/attention/row_source-inl.h"

HWY_BEFORE_NAMESPACE();
namespace kvasir {
namespace HWY_NAMESPACE {

void AttendItemRowsF32(const AttentionRun& run, const AttentionWorkItem& item, size_t kv_head,
                       const AttentionScratch& scratch) {
  AttendItem<RowSource<KvRowType::kF32>>(run, item, kv_head, scratch);
}
void AttendItemRowsBF16(const AttentionRun& run, const AttentionWorkItem& item, size_t kv_head,
                        const AttentionScratch& scratch) {
  AttendItem<RowSource<KvRowType::kBF16>>(run, item, kv_head, scratch);
}
void AttendItemRowsF16(const AttentionRun& run, const AttentionWorkItem& item, size_t kv_head,
                       const AttentionScratch& scratch) {
  AttendItem<RowSource<KvRowType::kF16>>(run, item, kv_head, scratch);
}

}  // namespace HWY_NAMESPACE
}  // namespace kvasir
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace kvasir {

HWY_EXPORT(AttendItemRowsF32);
HWY_EXPORT(AttendItemRowsBF16);
HWY_EXPORT(AttendItemRowsF16);

void AttendItemRowsF32(const AttentionRun& run, const AttentionWorkItem& item, size_t kv_head,
                       const AttentionScratch& scratch) {
  HWY_DYNAMIC_DISPATCH(AttendItemRowsF32)(run, item, kv_head, scratch);
}
void AttendItemRowsBF16(const AttentionRun& run, const AttentionWorkItem& item, size_t kv_head,
                        const AttentionScratch& scratch) {
  HWY_DYNAMIC_DISPATCH(AttendItemRowsBF16)(run, item, kv_head, scratch);
}
void AttendItemRowsF16(const AttentionRun& run, const AttentionWorkItem& item, size_t kv_head,
                       const AttentionScratch& scratch) {
  HWY_DYNAMIC_DISPATCH(AttendItemRowsF16)(run, item, kv_head, scratch);
}

}  // namespace kvasir
#endif  // HWY_ONCE
