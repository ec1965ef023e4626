#include "kvasir/attention/attend.h"
#include "kvasir/kernels/highway_targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kvasir/attention/attend_encoded.cc"
// Must come after the choice of targets and before everything else of Highway.
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kvasir/attention/attend-inl.h"
#include "kvasir/attention/encoded_attend-inl.h"

HWY_BEFORE_NAMESPACE();
namespace kvasir {
namespace HWY_NAMESPACE {

void AttendItemEncoded(const AttentionRun& run, const AttentionWorkItem& work, size_t kv_head,
                       const AttentionScratch& scratch) {
  const EncodedItem item(run, work, kv_head, scratch);
  PackRows(item.all);
  PackQueryCodes(item.all);
  AttendSplits(item.all, [&](int32_t begin, int32_t end, const AttentionStates& states) {
    AttendEncodedSplit(item, begin, end, states);
  });
}

}  // namespace HWY_NAMESPACE
}  // namespace kvasir
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace kvasir {

HWY_EXPORT(AttendItemEncoded);

void AttendItemEncoded(const AttentionRun& run, const AttentionWorkItem& work, size_t kv_head,
                       const AttentionScratch& scratch) {
  HWY_DYNAMIC_DISPATCH(AttendItemEncoded)(run, work, kv_head, scratch);
}

}  // namespace kvasir
#endif  // HWY_ONCE
