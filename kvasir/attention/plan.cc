// Planning: which rows and keys make a work item, in what order, and where partial states go. A
// pure function of the lengths, the page table, the costs and the thread count. The cut decides who
// computes what, never a result: splits and their fold are the same whatever the cut.

#include <algorithm>
#include <cmath>
#include <functional>

#include "kvasir/attention/attend.h"
#include "kvasir/attention/batch_attention.h"

namespace kvasir {

namespace {

// A piece that is cut off should be worth several starts of an item.
constexpr double kCutItems = 8;
// How far above its share of the work a thread may be for want of smaller pieces. A cut costs a
// partial state for each row and split behind it, so that there are none without need.
constexpr double kImbalanceMax = 1.03;
// The finest cut: with the longest first, the last of 32 pieces a thread to finish is late by less
// than that.
constexpr double kPiecesPerThread = 32;
// Sharing must save at least this part of the cost: the model is no better than that.
constexpr double kGainMin = 0.05;

// Bytes of a key and its value for one KV head, the average of the layers.
size_t BlockKeyBytes(const KvBlockLayout& layout) {
  const size_t tokens = size_t{layout.layer_count} * layout.kv_head_count * kKvBlockTokens;
  return tokens == 0 ? 0 : layout.LayerOffset(layout.layer_count) / tokens;
}

// The most groups of dims with scales of their own that the values of a layer have; 0 where no
// layer is quantised.
size_t WeightGroupsMax(const KvBlockLayout& layout) {
  if (!layout.quantized()) return 0;
  uint32_t groups = 1;
  for (uint32_t layer = 0; layer < layout.layer_count; ++layer) {
    groups = std::max(groups, layout.VTile(layer).scale_count());
  }
  return groups;
}

}  // namespace

// Builds one plan. A piece is a tile of rows over a run of splits; it becomes one work item.
class AttentionPlanner {
 public:
  AttentionPlanner(const PagedKv& kv, BatchAttentionPlan* plan) : kv_(kv), plan_(*plan) {}

  Status Plan(const AttentionSpec& spec, std::span<const int32_t> qo_indptr,
              const AttentionPlanOptions& options) {
    Reset(spec, qo_indptr, options);
    if (options.cascade) AddSharedPrefixes(qo_indptr);
    for (size_t b = 0; b < kv_.batch_size(); ++b) AddSequence(int32_t(b), qo_indptr);
    CutPieces();
    PlacePartials();
    Order();
    return PlaceWorkspace();
  }

 private:
  void Reset(const AttentionSpec& spec, std::span<const int32_t> qo_indptr,
             const AttentionPlanOptions& options);
  void FillRow(int32_t sequence, int32_t q_index, int32_t q_len, AttentionPlanRow* row) const;
  void AddSharedPrefixes(std::span<const int32_t> qo_indptr);
  bool SharingPays(std::span<const int32_t> members, std::span<const int32_t> qo_indptr,
                   int32_t tokens) const;
  void AddSequence(int32_t sequence, std::span<const int32_t> qo_indptr);
  void AddPiece(const AttentionWorkItem& piece);
  // Of a piece before which shared pieces cover `covered` keys: only the first of a row's pieces
  // may fold its splits, because the fold runs in order.
  static AttentionWorkItem::Output OutputFrom(int32_t covered) {
    return covered == 0 ? AttentionWorkItem::Output::kFolded : AttentionWorkItem::Output::kSplits;
  }
  void CutPieces();
  void PlacePartials();
  void Order();
  Status PlaceWorkspace();

  // Queries of a tile, whose heads are about kQueryTileRows rows.
  int32_t QueryTile() const {
    return std::max(int32_t(kQueryTileRows / plan_.spec_.group_size()), 1);
  }
  // Predicted picoseconds of `queries` queries, in tiles, over `tokens` keys of one KV head that
  // are read at `key_ps`, after the first time.
  double TiledCost(int32_t queries, int32_t tokens, double key_ps) const;
  // Into how many runs a piece is cut so that none costs more than `cost_max`.
  int32_t RunsOf(const AttentionWorkItem& piece, double cost_max) const;
  bool IsBalanced(double cost_max, double share);

  const PagedKv& kv_;
  BatchAttentionPlan& plan_;
  std::vector<int32_t>& covered_ = plan_.counts_;  // by sequence: keys of shared pieces so far
  size_t slot_count_ = 0;
};

double BatchAttentionPlan::KeyCost(int32_t queries, double key_ps) const {
  const size_t rows = size_t(queries) * spec_.group_size();
  const bool is_widened = !is_blocks_ || rows > kStreamRowsTypical;
  return costs_.KeyPs(rows, spec_.head_dim + spec_.v_dim(), key_ps, is_widened);
}

double BatchAttentionPlan::Cost(const AttentionWorkItem& item) const {
  const double key_ps = double(key_bytes_) * costs_.kv_byte_ps;
  return costs_.item_ps +
         double(item.kv_end - item.kv_begin) * KeyCost(item.row_end - item.row_begin, key_ps);
}

double AttentionPlanner::TiledCost(int32_t queries, int32_t tokens, double key_ps) const {
  const int32_t tile = QueryTile(), rest = queries % tile;
  const double item_ps = plan_.costs_.item_ps;
  double cost = queries / tile * (item_ps + tokens * plan_.KeyCost(tile, key_ps));
  if (rest > 0) cost += item_ps + tokens * plan_.KeyCost(rest, key_ps);
  return cost;
}

void AttentionPlanner::FillRow(int32_t sequence, int32_t q_index, int32_t q_len,
                               AttentionPlanRow* row) const {
  const AttentionSpec& spec = plan_.spec_;
  const int32_t kv_len = kv_.KvLen(size_t(sequence));
  row->row = {.sequence = sequence, .q_index = q_index, .q_len = q_len, .kv_len = kv_len};
  const int32_t position = row->row.position();
  const bool is_causal = spec.causal && spec.packed_custom_mask.empty();
  row->visible_end = is_causal ? std::max(position + 1, 0) : kv_len;
  const bool is_windowed = spec.window_left >= 0 && position > spec.window_left;
  row->visible_begin = is_windowed ? position - spec.window_left : 0;
  row->visible_begin = std::min(row->visible_begin, row->visible_end);
  row->folded_end = row->slot = row->slot_count = 0;
}

void AttentionPlanner::Reset(const AttentionSpec& spec, std::span<const int32_t> qo_indptr,
                             const AttentionPlanOptions& options) {
  plan_.spec_ = spec;
  plan_.costs_ = options.costs;
  plan_.thread_count_ = options.thread_count;
  plan_.batch_size_ = kv_.batch_size();
  plan_.is_blocks_ = !kv_.rows;
  plan_.key_bytes_ = kv_.rows ? (spec.head_dim + spec.v_dim()) * KvRowTypeBytes(kv_.rows->type)
                              : BlockKeyBytes(kv_.layout);
  plan_.weight_groups_ = kv_.rows ? 0 : WeightGroupsMax(kv_.layout);
  plan_.row_count_max_ = 0;
  plan_.row_ids_.clear();
  plan_.pieces_.clear();
  plan_.merged_rows_.clear();
  covered_.assign(kv_.batch_size(), 0);
  plan_.rows_.resize(size_t(qo_indptr.back()));
  for (size_t b = 0; b < kv_.batch_size(); ++b) {
    const int32_t q_len = qo_indptr[b + 1] - qo_indptr[b];
    for (int32_t i = 0; i < q_len; ++i) {
      FillRow(int32_t(b), i, q_len, &plan_.rows_[size_t(qo_indptr[b] + i)]);
    }
  }
}

void AttentionPlanner::AddPiece(const AttentionWorkItem& piece) {
  const size_t rows = size_t(piece.row_end - piece.row_begin) * plan_.spec_.group_size();
  plan_.row_count_max_ = std::max(plan_.row_count_max_, rows);
  plan_.pieces_.push_back(piece);
}

// Flat: each sequence reads the pages for its own queries, the first from memory, the others from
// the last-level cache if all heads' fit there. Shared: the first tile of all queries reads them
// from memory, the others from the cache.
bool AttentionPlanner::SharingPays(std::span<const int32_t> members,
                                   std::span<const int32_t> qo_indptr, int32_t tokens) const {
  const AttentionCosts& costs = plan_.costs_;
  const double bytes = double(plan_.key_bytes_);
  const double memory_ps = bytes * costs.kv_byte_ps, cached_ps = bytes * costs.cached_byte_ps;
  const double all_bytes = bytes * tokens * plan_.spec_.num_kv_heads;
  const double again_ps = all_bytes <= costs.cache_bytes / 2 ? cached_ps : memory_ps;
  int32_t queries = 0;
  double flat = 0;
  for (const int32_t b : members) {
    const int32_t q_len = qo_indptr[size_t(b) + 1] - qo_indptr[size_t(b)];
    flat += TiledCost(q_len, tokens, queries == 0 ? memory_ps : again_ps);
    queries += q_len;
  }
  const int32_t first = std::min(queries, QueryTile());
  const double merged_floats =
      double(queries) * plan_.spec_.group_size() * (plan_.spec_.v_dim() + 2);
  const double shared = TiledCost(first, tokens, memory_ps) +
                        TiledCost(queries - first, tokens, cached_ps) +
                        2 * merged_floats * costs.merge_float_ps;
  return shared < flat * (1 - kGainMin);
}

// Pieces over pages that several sequences hold, with the queries of all of them. Runs come parents
// first; one that does not pay is left to its children, which then begin where it would have.
void AttentionPlanner::AddSharedPrefixes(std::span<const int32_t> qo_indptr) {
  const AttentionSpec& spec = plan_.spec_;
  // A window leaves little of a prefix, and per-head pages are nobody else's.
  if (spec.window_left >= 0 || kv_.is_ragged || kv_.kv_indices_head_stride != 0) return;
  if (kv_.batch_size() < 2) return;
  for (size_t b = 0; b < kv_.batch_size(); ++b) {
    // The keys that all rows of the sequence see, in the same form.
    covered_[b] = 0;
    if (qo_indptr[b] == qo_indptr[b + 1]) continue;
    const AttentionPlanRow& first = plan_.rows_[size_t(qo_indptr[b])];
    const bool is_encoded = plan_.weight_groups_ > 0;
    const int32_t own =
        is_encoded ? OwnBlockBegin(kv_.layout, first.row.position()) : first.visible_end;
    covered_[b] = std::min(first.visible_end, own) / kKvSplitTokens;
  }
  plan_.tree_.Build(kv_, covered_);
  std::fill(covered_.begin(), covered_.end(), 0);
  for (const PrefixTree::Run& run : plan_.tree_.runs()) {
    const std::span<const int32_t> members = plan_.tree_.members(run);
    const int32_t kv_begin = covered_[size_t(members[0])];
    const int32_t kv_end = run.split_end * kKvSplitTokens;
    if (!SharingPays(members, qo_indptr, kv_end - kv_begin)) continue;
    const int32_t first = int32_t(plan_.row_ids_.size());
    for (const int32_t b : members) {
      covered_[size_t(b)] = kv_end;
      for (int32_t q = qo_indptr[size_t(b)]; q < qo_indptr[size_t(b) + 1]; ++q) {
        plan_.row_ids_.push_back(q);
      }
    }
    const int32_t last = int32_t(plan_.row_ids_.size());
    for (int32_t row = first; row < last; row += QueryTile()) {
      AddPiece({.sequence = members[0],
                .row_begin = row,
                .row_end = std::min(row + QueryTile(), last),
                .kv_begin = kv_begin,
                .kv_end = kv_end,
                .output = OutputFrom(kv_begin)});
    }
  }
}

// One piece for each tile of queries, over all keys that it sees and no shared piece has.
void AttentionPlanner::AddSequence(int32_t sequence, std::span<const int32_t> qo_indptr) {
  const int32_t q_first = qo_indptr[size_t(sequence)], q_last = qo_indptr[size_t(sequence) + 1];
  for (int32_t q = q_first; q < q_last; q += std::min(QueryTile(), q_last - q)) {
    const int32_t q_end = q + std::min(QueryTile(), q_last - q);
    // The first row decides how far left the tile looks, the last one how far right.
    const int32_t first_key = plan_.rows_[size_t(q)].visible_begin;
    const int32_t covered = covered_[size_t(sequence)];
    AttentionWorkItem piece;
    piece.sequence = sequence;
    piece.kv_end = plan_.rows_[size_t(q_end) - 1].visible_end;
    piece.kv_begin = std::max(first_key / kKvSplitTokens * kKvSplitTokens, covered);
    piece.kv_begin = std::min(piece.kv_begin, piece.kv_end);
    if (covered > 0 && piece.kv_begin == piece.kv_end) continue;
    piece.row_begin = int32_t(plan_.row_ids_.size());
    for (int32_t row = q; row < q_end; ++row) plan_.row_ids_.push_back(row);
    piece.row_end = int32_t(plan_.row_ids_.size());
    piece.output = OutputFrom(covered);
    AddPiece(piece);
  }
}

int32_t AttentionPlanner::RunsOf(const AttentionWorkItem& piece, double cost_max) const {
  const int32_t splits = (piece.kv_end - piece.kv_begin + kKvSplitTokens - 1) / kKvSplitTokens;
  const double cost = plan_.Cost(piece);
  if (splits <= 1 || cost <= cost_max) return 1;
  const int32_t wanted = int32_t(std::min(std::ceil(cost / cost_max), double(splits)));
  const int32_t run_splits = (splits + wanted - 1) / wanted;
  return (splits + run_splits - 1) / run_splits;
}

// Whether the busiest thread is close to its share when pieces are cut at cost_max and handed out
// longest first. Small pieces fill whatever gaps the large ones leave.
bool AttentionPlanner::IsBalanced(double cost_max, double share) {
  const double small = share / kPiecesPerThread;
  std::vector<double>& large = plan_.costs_of_runs_;
  large.clear();
  for (const AttentionWorkItem& piece : plan_.pieces_) {
    const int32_t runs = RunsOf(piece, cost_max);
    const double cost = plan_.Cost(piece) / runs;
    if (cost <= small) continue;
    large.insert(large.end(), size_t(runs) * plan_.spec_.num_kv_heads, cost);
  }
  std::sort(large.begin(), large.end(), std::greater<>());
  std::vector<double>& busy = plan_.busy_;
  busy.assign(plan_.thread_count_, 0.0);
  for (const double cost : large) *std::min_element(busy.begin(), busy.end()) += cost;
  return *std::max_element(busy.begin(), busy.end()) <= share * kImbalanceMax;
}

// Cuts the pieces that are too long for balance into runs of whole splits, as coarsely as will do.
void AttentionPlanner::CutPieces() {
  if (plan_.thread_count_ == 1) return;
  double total = 0, largest = 0;
  for (const AttentionWorkItem& piece : plan_.pieces_) {
    const double cost = plan_.Cost(piece);
    total += cost;
    largest = std::max(largest, cost);
  }
  const double share = total * plan_.spec_.num_kv_heads / double(plan_.thread_count_);
  double cost_max = largest;
  for (double parts = 1; largest > share / kPiecesPerThread; parts *= 2) {
    if (IsBalanced(cost_max, share) || parts > kPiecesPerThread) break;
    cost_max = std::min(largest, std::max(share / parts, kCutItems * plan_.costs_.item_ps));
  }
  const size_t whole_count = plan_.pieces_.size();
  for (size_t i = 0; i < whole_count; ++i) {
    const AttentionWorkItem whole = plan_.pieces_[i];
    const int32_t runs = RunsOf(whole, cost_max);
    if (runs == 1) continue;
    const int32_t splits = (whole.kv_end - whole.kv_begin + kKvSplitTokens - 1) / kKvSplitTokens;
    const int32_t run_tokens = (splits + runs - 1) / runs * kKvSplitTokens;
    plan_.pieces_[i].kv_end = whole.kv_begin + run_tokens;
    for (int32_t begin = whole.kv_begin + run_tokens; begin < whole.kv_end; begin += run_tokens) {
      AttentionWorkItem run = whole;
      run.kv_begin = begin;
      run.kv_end = std::min(begin + run_tokens, whole.kv_end);
      run.output = AttentionWorkItem::Output::kSplits;
      plan_.pieces_.push_back(run);
    }
  }
}

// Gives slots to the rows that several pieces cover, or share with other sequences; the pieces of
// all other rows write the output themselves.
void AttentionPlanner::PlacePartials() {
  // The pieces of a row follow each other without a gap. slot_count holds where the last one ends
  // for now.
  for (const AttentionWorkItem& piece : plan_.pieces_) {
    for (int32_t i = piece.row_begin; i < piece.row_end; ++i) {
      AttentionPlanRow& row = plan_.rows_[size_t(plan_.row_ids_[size_t(i)])];
      row.slot_count = std::max(row.slot_count, piece.kv_end);
      if (piece.output == AttentionWorkItem::Output::kFolded) row.folded_end = piece.kv_end;
    }
  }
  slot_count_ = 0;
  for (size_t q = 0; q < plan_.rows_.size(); ++q) {
    AttentionPlanRow& row = plan_.rows_[q];
    const int32_t rest = row.slot_count - row.folded_end;
    row.slot_count = 0;
    if (rest <= 0 && covered_[size_t(row.row.sequence)] == 0) continue;
    row.slot = int32_t(slot_count_);
    row.slot_count = 1 + (std::max(rest, 0) + kKvSplitTokens - 1) / kKvSplitTokens;
    slot_count_ += size_t(row.slot_count);
    plan_.merged_rows_.push_back(int32_t(q));
  }
  for (AttentionWorkItem& piece : plan_.pieces_) {
    const int32_t first = plan_.row_ids_[size_t(piece.row_begin)];
    if (plan_.rows_[size_t(first)].slot_count == 0) {
      piece.output = AttentionWorkItem::Output::kFinal;
    }
  }
}

// Longest first, ties as planned.
void AttentionPlanner::Order() {
  constexpr int kIndexBits = 24;  // ties beyond 2^24 pieces would fall differently: harmless
  plan_.order_.resize(plan_.pieces_.size());
  for (size_t i = 0; i < plan_.pieces_.size(); ++i) {
    const uint64_t cost_ns =
        uint64_t(std::min(plan_.Cost(plan_.pieces_[i]) / 1000, double(uint64_t{1} << 39)));
    plan_.order_[i] = (~cost_ns << kIndexBits) | i;
  }
  std::sort(plan_.order_.begin(), plan_.order_.end());
  plan_.work_items_.clear();
  for (const uint64_t key : plan_.order_) {
    plan_.work_items_.push_back(plan_.pieces_[key & ((uint64_t{1} << kIndexBits) - 1)]);
  }
}

Status AttentionPlanner::PlaceWorkspace() {
  const AttentionSpec& spec = plan_.spec_;
  const size_t slot_floats = AttentionStates::FloatCount(spec.group_size(), spec.v_dim());
  plan_.scratch_offset_ =
      (slot_count_ * spec.num_kv_heads * slot_floats * sizeof(float) + 63) / 64 * 64;
  const size_t byte_count =
      plan_.scratch_offset_ +
      plan_.thread_count_ *
          AttentionScratch::ByteCount(spec, plan_.row_count_max_, plan_.weight_groups_);
  if (byte_count > plan_.workspace_.size()) {
    // Half as much again: a sequence that grows token by token should seldom come here.
    plan_.workspace_ = AlignedBuffer();
    KVASIR_ASSIGN_OR_RETURN(plan_.workspace_, AlignedBuffer::Allocate(byte_count / 2 * 3));
  }
  return OkStatus();
}

Status PlanBatchAttention(const AttentionSpec& spec, std::span<const int32_t> qo_indptr,
                          const PagedKv& kv, const AttentionPlanOptions& options,
                          BatchAttentionPlan* plan) {
  if (options.thread_count == 0) {
    return InvalidArgument("thread_count is 0, at least 1 is needed");
  }
  KVASIR_RETURN_IF_ERROR(CheckAttention(spec, qo_indptr, kv));
  return AttentionPlanner(kv, plan).Plan(spec, qo_indptr, options);
}

}  // namespace kvasir
