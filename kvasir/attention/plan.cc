// Planning: which rows and keys make a work item, in what order, and where partial states go. A
// pure function of the lengths and the thread count. The cut decides who computes what, never a
// result: splits and their fold are the same whatever the cut.

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>

#include "kvasir/attention/attend.h"
#include "kvasir/attention/batch_attention.h"

namespace kvasir {

namespace {

// Sequences of up to 2^30 tokens: positions and sums of a few of them stay within int32.
constexpr int32_t kPagesMax = (1 << 30) / int32_t{kKvBlockTokens};
constexpr uint32_t kHeadDimMax = 576;

std::string Allowed(const std::string& name, int64_t value, int64_t min, int64_t max) {
  return name + " is " + std::to_string(value) + ", allowed is " + std::to_string(min) + " to " +
         std::to_string(max);
}

Status CheckSpec(const AttentionSpec& spec, const KvBlockLayout& layout) {
  if (spec.head_dim < 1 || spec.head_dim > kHeadDimMax) {
    return InvalidArgument(Allowed("head_dim", spec.head_dim, 1, kHeadDimMax));
  }
  if (spec.num_kv_heads == 0 || spec.num_qo_heads == 0 ||
      spec.num_qo_heads % spec.num_kv_heads != 0) {
    return InvalidArgument("num_qo_heads is " + std::to_string(spec.num_qo_heads) +
                           ", allowed are positive multiples of num_kv_heads " +
                           std::to_string(spec.num_kv_heads));
  }
  if (layout.head_dim != spec.head_dim || layout.kv_head_count != spec.num_kv_heads) {
    return InvalidArgument("the KV layout has " + std::to_string(layout.kv_head_count) +
                           " heads of " + std::to_string(layout.head_dim) +
                           " dims, the attention has " + std::to_string(spec.num_kv_heads) +
                           " of " + std::to_string(spec.head_dim));
  }
  if (!std::isfinite(spec.sm_scale)) return InvalidArgument("sm_scale is not finite");
  if (spec.window_left < -1) {
    return InvalidArgument(Allowed("window_left", spec.window_left, -1, INT32_MAX));
  }
  if (!(spec.logits_soft_cap >= 0) || !std::isfinite(spec.logits_soft_cap)) {
    return InvalidArgument("logits_soft_cap must be 0 or a positive finite number");
  }
  return OkStatus();
}

Status CheckIndptr(const std::string& name, std::span<const int32_t> indptr, size_t batch) {
  if (indptr.size() != batch + 1) {
    return InvalidArgument(name + " has " + std::to_string(indptr.size()) +
                           " entries, batch + 1 = " + std::to_string(batch + 1) + " are needed");
  }
  if (indptr[0] != 0) return InvalidArgument(name + "[0] is not 0");
  for (size_t b = 0; b < batch; ++b) {
    if (indptr[b + 1] < indptr[b]) {
      return InvalidArgument(name + " falls from " + std::to_string(indptr[b]) + " to " +
                             std::to_string(indptr[b + 1]) + " at entry " + std::to_string(b + 1));
    }
  }
  return OkStatus();
}

Status CheckPages(const PagedKv& kv) {
  const size_t batch = kv.batch_size();
  KVASIR_RETURN_IF_ERROR(CheckIndptr("kv_indptr", kv.kv_indptr, batch));
  if (size_t(kv.kv_indptr[batch]) > kv.kv_indices.size()) {
    return InvalidArgument("kv_indices has " + std::to_string(kv.kv_indices.size()) +
                           " entries, kv_indptr asks for " + std::to_string(kv.kv_indptr[batch]));
  }
  for (int32_t i = 0; i < kv.kv_indptr[batch]; ++i) {
    const int32_t page = kv.kv_indices[size_t(i)];
    if (page < 0 || size_t(page) >= kv.page_count) {
      return InvalidArgument("kv_indices[" + std::to_string(i) + "] is " + std::to_string(page) +
                             ", there are " + std::to_string(kv.page_count) + " pages");
    }
  }
  for (size_t b = 0; b < batch; ++b) {
    const int32_t pages = kv.kv_indptr[b + 1] - kv.kv_indptr[b];
    if (pages == 0) continue;
    if (pages > kPagesMax) {
      return InvalidArgument(
          Allowed("pages of sequence " + std::to_string(b), pages, 0, kPagesMax));
    }
    const int32_t last = kv.kv_last_page_len[b];
    if (last < 1 || last > int32_t{kKvBlockTokens}) {
      return InvalidArgument(
          Allowed("kv_last_page_len[" + std::to_string(b) + "]", last, 1, kKvBlockTokens));
    }
  }
  if (kv.kv_indptr[batch] > 0 &&
      (kv.base == nullptr || reinterpret_cast<uintptr_t>(kv.base) % 64 != 0)) {
    return InvalidArgument("the pages' base address is not a multiple of 64");
  }
  return OkStatus();
}

// What a key costs a work item, in picoseconds. A key and a value are read from memory once at ~10
// bytes a nanosecond and core, and each row multiplies and adds 2 x head_dim pairs at ~25 pairs a
// nanosecond (8 lanes, ~3 GHz); the slower of the two counts. Only ratios matter, and only for
// balance.
uint64_t CostPerToken(const PagedKv& kv, size_t row_count) {
  const uint64_t bytes = 2 * kv.layout.tile_bytes() / kKvBlockTokens;
  const uint64_t pairs = 2 * uint64_t{kv.layout.head_dim} * row_count;
  return std::max(bytes * 100, pairs * 40) + 1;
}
// Starting an item, reading its queries and finishing its states: ~1 us.
constexpr uint64_t kItemCost = 1'000'000;
// An item that is cut off should be worth several such starts.
constexpr uint64_t kCutCostMin = 8 * kItemCost;
// Pieces per thread: with the longest first, the last to finish is late by at most about 1 / 8 of
// what each thread does, and usually far less, since sizes differ.
constexpr uint64_t kPiecesPerThread = 8;

}  // namespace

// Builds one plan. A piece is the rows [q_begin, q_end) of one sequence over a run of splits; it
// becomes one work item per KV head.
class AttentionPlanner {
 public:
  AttentionPlanner(const PagedKv& kv, BatchAttentionPlan* plan) : kv_(kv), plan_(*plan) {}

  Status Plan(const AttentionSpec& spec, std::span<const int32_t> qo_indptr, size_t thread_count) {
    Reset(spec, qo_indptr, thread_count);
    for (size_t b = 0; b < kv_.batch_size(); ++b) AddSequence(int32_t(b));
    CutPieces();
    Order();
    return PlaceWorkspace();
  }

 private:
  void Reset(const AttentionSpec& spec, std::span<const int32_t> qo_indptr, size_t thread_count);
  void AddSequence(int32_t sequence);
  void CutPieces();
  void Order();
  Status PlaceWorkspace();

  uint64_t Cost(const AttentionWorkItem& item) const {
    const size_t rows = size_t(item.q_end - item.q_begin) * group_;
    return kItemCost + uint64_t(item.kv_end - item.kv_begin) * CostPerToken(kv_, rows);
  }

  const PagedKv& kv_;
  BatchAttentionPlan& plan_;
  size_t group_ = 1;
  size_t partial_floats_ = 0;
};

void AttentionPlanner::Reset(const AttentionSpec& spec, std::span<const int32_t> qo_indptr,
                             size_t thread_count) {
  plan_.spec_ = spec;
  plan_.qo_indptr_.assign(qo_indptr.begin(), qo_indptr.end());
  plan_.work_items_.clear();
  plan_.merge_items_.clear();
  plan_.pieces_.clear();
  plan_.thread_count_ = thread_count;
  plan_.row_count_max_ = 0;
  group_ = spec.num_qo_heads / spec.num_kv_heads;
}

// One piece for each tile of queries, over all keys that it sees.
void AttentionPlanner::AddSequence(int32_t sequence) {
  const int32_t q_first = plan_.qo_indptr_[size_t(sequence)];
  const int32_t q_last = plan_.qo_indptr_[size_t(sequence) + 1];
  const int32_t q_tile = std::max(int32_t(kQueryTileRows / group_), 1);
  const int32_t kv_len = kv_.KvLen(size_t(sequence));
  const int32_t window = plan_.spec_.window_left;
  for (int32_t q = q_first; q < q_last; q += std::min(q_tile, q_last - q)) {
    AttentionWorkItem item;
    item.sequence = sequence;
    item.q_begin = q;
    item.q_end = q + std::min(q_tile, q_last - q);
    // The first row's own position decides how far left the tile looks, the last row's how far
    // right; both may be negative when there are more queries than keys.
    const int32_t first_position = kv_len - (q_last - q);
    const int32_t first_key = window < 0 || first_position < window ? 0 : first_position - window;
    item.kv_begin = first_key / kKvSplitTokens * kKvSplitTokens;
    item.kv_end = std::max(kv_len - (q_last - item.q_end), 0);
    item.kv_begin = std::min(item.kv_begin, item.kv_end);
    plan_.row_count_max_ =
        std::max(plan_.row_count_max_, size_t(item.q_end - item.q_begin) * group_);
    plan_.pieces_.push_back({.order = 0, .item = item});
  }
}

// Cuts the pieces that are too long for balance into runs of whole splits.
void AttentionPlanner::CutPieces() {
  const uint64_t kv_heads = plan_.spec_.num_kv_heads;
  uint64_t total = 0;
  for (const AttentionPlanPiece& piece : plan_.pieces_) total += Cost(piece.item) * kv_heads;
  const uint64_t cost_max =
      plan_.thread_count_ == 1
          ? UINT64_MAX
          : std::max(total / (plan_.thread_count_ * kPiecesPerThread), kCutCostMin);
  partial_floats_ = 0;
  const size_t whole_count = plan_.pieces_.size();
  for (size_t i = 0; i < whole_count; ++i) {
    const AttentionWorkItem whole = plan_.pieces_[i].item;
    const int32_t splits = (whole.kv_end - whole.kv_begin + kKvSplitTokens - 1) / kKvSplitTokens;
    const uint64_t cost = Cost(whole);
    if (splits <= 1 || cost <= cost_max) continue;
    const int32_t runs_wanted =
        int32_t(std::min<uint64_t>((cost + cost_max - 1) / cost_max, uint64_t(splits)));
    const int32_t run_splits = (splits + runs_wanted - 1) / runs_wanted;
    const int32_t run_tokens = run_splits * kKvSplitTokens;
    const size_t row_count = size_t(whole.q_end - whole.q_begin) * group_;
    AttentionMergeItem merge;
    merge.kv_begin = whole.kv_begin;
    merge.split_count = splits;
    merge.work_item_count = (splits + run_splits - 1) / run_splits;
    // One merge item for each KV head, in order; the work items of head h add h to this one.
    const int32_t first_merge = int32_t(plan_.merge_items_.size());
    for (uint64_t head = 0; head < kv_heads; ++head) {
      merge.first_partial = partial_floats_;
      plan_.merge_items_.push_back(merge);
      partial_floats_ +=
          size_t(splits) * AttentionStates::FloatCount(row_count, plan_.spec_.head_dim);
    }
    for (int32_t begin = whole.kv_begin; begin < whole.kv_end; begin += run_tokens) {
      AttentionWorkItem run = whole;
      run.kv_begin = begin;
      run.kv_end = std::min(begin + run_tokens, whole.kv_end);
      run.merge = first_merge;
      if (begin == whole.kv_begin) {
        plan_.pieces_[i].item = run;
      } else {
        plan_.pieces_.push_back({.order = 0, .item = run});
      }
    }
  }
}

// Longest first, ties as planned; then one work item for each KV head.
void AttentionPlanner::Order() {
  constexpr int kIndexBits = 24;  // ties beyond 2^24 pieces would fall differently: harmless
  for (size_t i = 0; i < plan_.pieces_.size(); ++i) {
    AttentionPlanPiece& piece = plan_.pieces_[i];
    const uint64_t cost_ns = std::min(Cost(piece.item) / 1000, (uint64_t{1} << 40) - 1);
    piece.order = ~(cost_ns << kIndexBits) + i;
  }
  std::sort(plan_.pieces_.begin(), plan_.pieces_.end(),
            [](const auto& a, const auto& b) { return a.order < b.order; });
  plan_.work_items_.reserve(plan_.pieces_.size() * plan_.spec_.num_kv_heads);
  for (const AttentionPlanPiece& piece : plan_.pieces_) {
    AttentionWorkItem item = piece.item;
    for (uint32_t head = 0; head < plan_.spec_.num_kv_heads; ++head) {
      item.kv_head = int32_t(head);
      if (piece.item.merge >= 0) item.merge = piece.item.merge + int32_t(head);
      plan_.work_items_.push_back(item);
    }
  }
}

Status AttentionPlanner::PlaceWorkspace() {
  const auto align = [](size_t bytes) { return (bytes + 63) / 64 * 64; };
  plan_.finished_offset_ = align(partial_floats_ * sizeof(float));
  const size_t finished_bytes = align(plan_.merge_items_.size() * sizeof(uint32_t));
  plan_.scratch_offset_ = plan_.finished_offset_ + finished_bytes;
  const size_t byte_count =
      plan_.scratch_offset_ +
      plan_.thread_count_ * AttentionScratch::ByteCount(plan_.row_count_max_, plan_.spec_.head_dim);
  if (byte_count > plan_.workspace_.size()) {
    // Half as much again: a sequence that grows token by token should seldom come here.
    plan_.workspace_ = AlignedBuffer();
    KVASIR_ASSIGN_OR_RETURN(plan_.workspace_, AlignedBuffer::Allocate(byte_count / 2 * 3));
  } else if (finished_bytes > 0) {
    std::memset(plan_.workspace_.data() + plan_.finished_offset_, 0, finished_bytes);
  }
  return OkStatus();
}

Status PlanBatchAttention(const AttentionSpec& spec, std::span<const int32_t> qo_indptr,
                          const PagedKv& kv, size_t thread_count, BatchAttentionPlan* plan) {
  if (thread_count == 0) return InvalidArgument("thread_count is 0, at least 1 is needed");
  KVASIR_RETURN_IF_ERROR(CheckSpec(spec, kv.layout));
  KVASIR_RETURN_IF_ERROR(CheckPages(kv));
  KVASIR_RETURN_IF_ERROR(CheckIndptr("qo_indptr", qo_indptr, kv.batch_size()));
  return AttentionPlanner(kv, plan).Plan(spec, qo_indptr, thread_count);
}

}  // namespace kvasir
