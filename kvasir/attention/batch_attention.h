// BatchAttention: attention of a mixed batch (decode, chunked prefill, whole prefill, speculative
// verification together) over paged KV, as plan and run after FlashInfer (Ye et al. 2025, arXiv
// 2501.01005): PlanBatchAttention once a step cuts the batch into work items, Run once a layer
// executes them. A plan is a value that can be reused for every layer of the step with the same
// spec.
//
// Every number of the result depends only on its own query row and on the keys that the row sees:
// not on the batch, the chunking of prompts, the page ids, the sharing of pages between sequences
// or the number of threads (splits lie at fixed token boundaries and are merged in order).
//
// Leading pages that several sequences share are read once for all of them (a cascade) where the
// costs say that it pays; nothing needs to be told.

#ifndef KVASIR_ATTENTION_BATCH_ATTENTION_H_
#define KVASIR_ATTENTION_BATCH_ATTENTION_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "kvasir/attention/attention_spec.h"
#include "kvasir/attention/cost_model.h"
#include "kvasir/attention/paged_kv.h"
#include "kvasir/attention/prefix_tree.h"
#include "kvasir/base/aligned_buffer.h"
#include "kvasir/base/matrix_view.h"
#include "kvasir/base/status.h"
#include "kvasir/base/thread_pool.h"

namespace kvasir {

// Keys between two split boundaries, which are multiples of it, whatever the batch. 8 blocks: long
// enough that writing and merging a partial state (head_dim + 2 floats a query head) is ~1 % of
// reading 256 keys and values.
inline constexpr int32_t kKvSplitTokens = 256;

struct AttentionPlanOptions {
  size_t thread_count = 1;  // of the pools that the plan may run on, at most
  bool cascade = true;      // share the reading of common leading pages
  AttentionCosts costs = {};
};

// One unit of work: some query rows and the query heads of one KV head over the keys of
// [kv_begin, kv_end), one or more splits. Stands for num_kv_heads of them, one for each KV head.
struct AttentionWorkItem {
  int32_t sequence = 0;   // whose pages are read; the rows may be those of several that share them
  int32_t row_begin = 0;  // entries of row_ids
  int32_t row_end = 0;
  int32_t kv_begin = 0;  // token positions in the sequence; a multiple of kKvSplitTokens
  int32_t kv_end = 0;    // a multiple of it, or the last key that any of the rows sees, plus 1
  // What becomes of the states: the output, if the item covers all keys of its rows; otherwise
  // partial states, folded into one if it covers the first of them, or one for each split.
  enum class Output : uint8_t { kFinal, kFolded, kSplits } output = Output::kFinal;
};

// What the plan knows of a query row.
struct AttentionPlanRow {
  AttentionRow row = {};      // but for the head
  int32_t visible_begin = 0;  // keys that it sees, before any custom mask
  int32_t visible_end = 0;
  // Of a row whose keys several items cover: its partial states, slots [slot, slot + slot_count) of
  // the workspace, for the keys before folded_end and for each split from there on. slot_count 0: a
  // row of a kFinal item.
  int32_t folded_end = 0;
  int32_t slot = 0;
  int32_t slot_count = 0;
};

class BatchAttentionPlan {
 public:
  BatchAttentionPlan() = default;

  const AttentionSpec& spec() const { return spec_; }
  std::span<const AttentionWorkItem> work_items() const { return work_items_; }  // longest first
  std::span<const AttentionPlanRow> rows() const { return rows_; }       // [rows of the batch]
  std::span<const int32_t> row_ids() const { return row_ids_; }          // of work items, in rows
  std::span<const int32_t> merged_rows() const { return merged_rows_; }  // with partial states
  size_t workspace_bytes() const { return workspace_.size(); }
  // Predicted cost of an item for one KV head, in picoseconds.
  double Cost(const AttentionWorkItem& item) const;

  // Computes attention of layer `layer` (of blocks; 0 for rows) for q [rows, num_qo_heads *
  // head_dim] into out [rows, num_qo_heads * v_dim], which may not overlap, and, if given, the
  // natural-log LSE of each row and head into lse [rows, num_qo_heads]. A row that sees no key gets
  // (0, -inf), or with a sink (0, sink). The keys and values of the batch's own tokens must have
  // been appended. `kv` is the view that was planned, or one with the same lengths and sharing and
  // other page ids. No allocation; call it from the thread that owns `pool`.
  void Run(const PagedKv& kv, uint32_t layer, MatrixView<const float> q, MatrixView<float> out,
           ThreadPool& pool) const;
  void Run(const PagedKv& kv, uint32_t layer, MatrixView<const float> q, MatrixView<float> out,
           MatrixView<float> lse, ThreadPool& pool) const;

 private:
  friend class AttentionPlanner;

  // Predicted picoseconds of a key and value for `queries` queries of one KV head, read at key_ps.
  double KeyCost(int32_t queries, double key_ps) const;

  AttentionSpec spec_;
  AttentionCosts costs_;
  std::vector<AttentionPlanRow> rows_;
  std::vector<int32_t> row_ids_;
  std::vector<AttentionWorkItem> work_items_;
  std::vector<int32_t> merged_rows_;
  size_t batch_size_ = 0;
  size_t key_bytes_ = 0;  // of a key and its value, for one KV head
  bool is_blocks_ = true;
  size_t weight_groups_ = 0;   // of quantised KV: AttentionScratch
  size_t thread_count_ = 0;    // that the workspace has scratch for
  size_t row_count_max_ = 0;   // of a work item, in (query, head) pairs
  size_t scratch_offset_ = 0;  // of the first worker's scratch in the workspace
  AlignedBuffer workspace_;    // | partial states | scratch by worker |
  // Kept for their memory.
  std::vector<AttentionWorkItem> pieces_;
  std::vector<uint64_t> order_;
  std::vector<int32_t> counts_;
  std::vector<double> costs_of_runs_, busy_;
  PrefixTree tree_;
};

// Plans the batch with queries qo_indptr [batch + 1] (rows, rising from 0) over `kv`. Reuses the
// memory of *plan. kInvalidArgument names the argument and its range; an empty batch, q_len 0,
// kv_len 0 and q_len > kv_len are allowed.
Status PlanBatchAttention(const AttentionSpec& spec, std::span<const int32_t> qo_indptr,
                          const PagedKv& kv, const AttentionPlanOptions& options,
                          BatchAttentionPlan* plan);

// The checks of PlanBatchAttention alone: that spec, queries and page table fit together, and that
// every index is in range.
Status CheckAttention(const AttentionSpec& spec, std::span<const int32_t> qo_indptr,
                      const PagedKv& kv);

}  // namespace kvasir

#endif  // KVASIR_ATTENTION_BATCH_ATTENTION_H_
