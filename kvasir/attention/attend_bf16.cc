#include "kvasir/attention/attend.h"
#include "kvasir/kernels/highway_targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kvasir/attention/attend_bf16.cc"
// Must come after the choice of targets and before everything else of Highway.
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kvasir/attention/attend-inl.h"
#include "kvasir/attention/block_source-inl.h"

HWY_BEFORE_NAMESPACE();
namespace kvasir {
namespace HWY_NAMESPACE {

void AttendItemBF16(const AttentionRun& run, const AttentionWorkItem& item, size_t kv_head,
                    const AttentionScratch& scratch) {
  AttendItem<BlockSource<PagedBF16Tile>>(run, item, kv_head, scratch);
}

}  // namespace HWY_NAMESPACE
}  // namespace kvasir
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace kvasir {

HWY_EXPORT(AttendItemBF16);

void AttendItemBF16(const AttentionRun& run, const AttentionWorkItem& item, size_t kv_head,
                    const AttentionScratch& scratch) {
  HWY_DYNAMIC_DISPATCH(AttendItemBF16)(run, item, kv_head, scratch);
}

}  // namespace kvasir
#endif  // HWY_ONCE
