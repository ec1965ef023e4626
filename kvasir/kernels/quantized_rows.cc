#include "kvasir/kernels/quantized_rows.h"

#include <algorithm>

#include "kvasir/base/check.h"
#include "kvasir/kernels/highway_targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kvasir/kernels/quantized_rows.cc"
#include <hwy/foreach_target.h>
// The lanes need the target chosen above.
#include <hwy/highway.h>

#include "kvasir/kernels/lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace kvasir {
namespace HWY_NAMESPACE {

void QuantizeGroup(const float* x, int8_t* codes, ActivationGroup* group) {
  const FloatLanes low = LoadLanes(x), high = LoadLanes(x + kLaneCount);
  const float largest = MaxOfLanes(Max(Abs(low), Abs(high)));
  const FloatLanes inverse = SetLanes(largest > 0 ? 127.0f / largest : 0.0f);
  const IntLanes ints[2] = {ToNearestInt(Mul(low, inverse)), ToNearestInt(Mul(high, inverse))};
  const hn::Rebind<int8_t, IntTag> code_tag;
  int32_t sums[2];
  for (size_t half = 0; half < 2; ++half) {
    auto sum = hn::Zero(IntTag());
    KVASIR_FOR_PARTS(i) {
      const auto clamped =
          hn::Max(hn::Min(ints[half].part[i], hn::Set(IntTag(), 127)), hn::Set(IntTag(), -127));
      sum = hn::Add(sum, clamped);
      hn::StoreU(hn::DemoteTo(code_tag, clamped), code_tag,
                 codes + half * kLaneCount + i * kPartLanes);
    }
    sums[half] = hn::GetLane(hn::SumOfLanes(IntTag(), sum));
  }
  group->scale = largest / 127.0f;
  group->scaled_sum = group->scale * static_cast<float>(sums[0] + sums[1]);
  group->neg8_sum = -8 * (sums[0] + sums[1]);
  group->neg8_sum_low = -8 * sums[0];
}

void QuantizeGroups(const float* x, size_t cols, int8_t* codes, ActivationGroup* groups) {
  for (size_t g = 0; g < cols / 32; ++g) QuantizeGroup(x + 32 * g, codes + 32 * g, groups + g);
}

// rest[0..31] = x - codes * scale, without rounding in between.
void SubtractGroup(const float* x, const int8_t* codes, const ActivationGroup& group, float* rest) {
  const FloatLanes scale = SetLanes(-group.scale);
  for (size_t i = 0; i < 32; i += kLaneCount) {
    StoreLanes(MulAdd(LoadByteLanes(codes + i), scale, LoadLanes(x + i)), rest + i);
  }
}

void QuantizeGroupsInTwo(const float* x, size_t cols, int8_t* codes, ActivationGroup* groups,
                         int8_t* rest_codes, ActivationGroup* rest_groups) {
  alignas(64) float rest[32];
  for (size_t g = 0; g < cols / 32; ++g) {
    QuantizeGroup(x + 32 * g, codes + 32 * g, groups + g);
    SubtractGroup(x + 32 * g, codes + 32 * g, groups[g], rest);
    QuantizeGroup(rest, rest_codes + 32 * g, rest_groups + g);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace kvasir
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace kvasir {

namespace {

// Rows that one task quantises: ~20 us of work for a row of 2,048, well above the cost of a
// barrier.
constexpr size_t kRowsPerTask = 16;

HWY_EXPORT(QuantizeGroups);
HWY_EXPORT(QuantizeGroupsInTwo);

}  // namespace

Status QuantizedRows::Reserve(size_t row_count, size_t cols) {
  const size_t padded_cols = (cols + 31) / 32 * 32;
  // 64 bytes more, because kernels broadcast the last quad of a row with wider loads.
  KVASIR_ASSIGN_OR_RETURN(codes_, AlignedBuffer::Allocate(row_count * padded_cols + 64));
  KVASIR_ASSIGN_OR_RETURN(
      groups_, AlignedBuffer::Allocate(row_count * padded_cols / 32 * sizeof(ActivationGroup)));
  return OkStatus();
}

void QuantizedRows::Resize(size_t row_count, size_t cols) {
  KVASIR_CHECK(cols % 32 == 0 && row_count * cols + 64 <= codes_.size());
  rows_ = row_count;
  cols_ = cols;
}

void QuantizeRow(const float* row, size_t r, QuantizedRows* out) {
  HWY_DYNAMIC_DISPATCH(QuantizeGroups)(row, out->cols(), out->codes(r), out->groups(r));
}

void QuantizeRowInTwo(const float* row, size_t r, QuantizedRows* out) {
  HWY_DYNAMIC_DISPATCH(QuantizeGroupsInTwo)
  (row, out->cols(), out->codes(2 * r), out->groups(2 * r), out->codes(2 * r + 1),
   out->groups(2 * r + 1));
}

void QuantizeRows(MatrixView<const float> rows, QuantizedRows* out, ThreadPool& pool) {
  out->Resize(rows.rows(), rows.cols());
  const size_t task_count = (rows.rows() + kRowsPerTask - 1) / kRowsPerTask;
  pool.ParallelFor(task_count, [&](size_t task, size_t) {
    const size_t end = std::min(rows.rows(), (task + 1) * kRowsPerTask);
    for (size_t r = task * kRowsPerTask; r < end; ++r) QuantizeRow(rows.row(r), r, out);
  });
}

}  // namespace kvasir
#endif  // HWY_ONCE
