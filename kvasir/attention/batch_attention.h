// BatchAttention: attention of a mixed batch (decode, chunked prefill, whole prefill together) over
// paged KV, as plan and run after FlashInfer (Ye et al. 2025, arXiv 2501.01005): PlanBatchAttention
// once a step cuts the batch into work items, Run once a layer executes them. A plan is a value
// that can be reused for every layer of the step with the same window.
//
// Causal and right-aligned: query i of q_len sees keys 0 .. kv_len - q_len + i. Every number of the
// result depends only on its own query row and on the keys that the row sees: not on the batch, the
// chunking of prompts, the page ids or the number of threads (splits lie at fixed token boundaries
// and are merged in order).

#ifndef KVASIR_ATTENTION_BATCH_ATTENTION_H_
#define KVASIR_ATTENTION_BATCH_ATTENTION_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "kvasir/attention/paged_kv.h"
#include "kvasir/base/aligned_buffer.h"
#include "kvasir/base/matrix_view.h"
#include "kvasir/base/status.h"
#include "kvasir/base/thread_pool.h"

namespace kvasir {

// Keys that one work item covers: split boundaries are multiples of it, whatever the batch. 8
// blocks: long enough that writing and merging a partial state (head_dim + 2 floats a query head)
// is ~1 % of reading 256 keys and values.
inline constexpr int32_t kKvSplitTokens = 256;

struct AttentionSpec {
  uint32_t num_qo_heads = 0;
  uint32_t num_kv_heads = 0;  // divides num_qo_heads
  uint32_t head_dim = 0;      // 1..576
  float sm_scale = 0;         // multiplies q.k
  int32_t window_left = -1;   // keys visible left of the query's own position; -1 = all
  float logits_soft_cap = 0;  // cap * tanh(x / cap) on scaled logits; 0 = off
};

// One unit of work: the query rows [q_begin, q_end) of one sequence and one KV head (all its query
// heads) over the keys of [kv_begin, kv_end), one or more splits.
struct AttentionWorkItem {
  int32_t sequence = 0;
  int32_t kv_head = 0;
  int32_t q_begin = 0;  // rows of the batch's q matrix
  int32_t q_end = 0;
  int32_t kv_begin = 0;  // token positions in the sequence; a multiple of kKvSplitTokens
  int32_t kv_end = 0;    // a multiple of it, or the last key that any of the rows sees, plus 1
  int32_t merge = -1;    // the merge item that it belongs to; -1: it covers all keys of its rows,
                         // and writes `out` itself
};

// Query rows whose keys are dealt to several work items: each leaves one partial state a split in
// the workspace, and the item that finishes last folds them in order of splits.
struct AttentionMergeItem {
  int32_t kv_begin = 0;  // of the first split
  int32_t split_count = 0;
  int32_t work_item_count = 0;
  size_t first_partial = 0;  // of the first split's states, in floats from the workspace's partials
};

// A work item before it is repeated for each KV head; for the planner alone.
struct AttentionPlanPiece {
  uint64_t order = 0;  // sorts: longest first, then as planned
  AttentionWorkItem item;
};

class BatchAttentionPlan {
 public:
  BatchAttentionPlan() = default;

  std::span<const AttentionWorkItem> work_items() const { return work_items_; }
  std::span<const AttentionMergeItem> merge_items() const { return merge_items_; }
  size_t workspace_bytes() const { return workspace_.size(); }

  // Computes attention of layer `layer` for q [rows, num_qo_heads * head_dim] into out (the same
  // shape; may not overlap). The keys and values of the batch's own tokens must have been appended.
  // `kv` is the view that was planned, or one with the same lengths and other page ids of equal
  // content. No allocation; call it from the thread that owns `pool`.
  void Run(const PagedKv& kv, uint32_t layer, MatrixView<const float> q, MatrixView<float> out,
           ThreadPool& pool) const;

 private:
  friend class AttentionPlanner;

  AttentionSpec spec_;
  std::vector<int32_t> qo_indptr_;
  std::vector<AttentionWorkItem> work_items_;  // longest first
  std::vector<AttentionMergeItem> merge_items_;
  std::vector<AttentionPlanPiece> pieces_;  // kept for its memory
  size_t thread_count_ = 0;                 // that the workspace has scratch for
  size_t row_count_max_ = 0;                // of a work item, in (query, head) pairs
  size_t scratch_offset_ = 0;               // of the first worker's scratch in the workspace
  size_t finished_offset_ = 0;              // of a counter for each merge item
  AlignedBuffer workspace_;                 // | partial states | counters | scratch by worker |
};

// Plans the batch for pools of up to `thread_count` threads, with queries qo_indptr [batch + 1]
// (rows, rising from 0) over `kv`. Reuses the memory of *plan. kInvalidArgument names the argument
// and its range; an empty batch, q_len 0, kv_len 0 (output 0) and q_len > kv_len (rows that see no
// key get 0) are allowed.
Status PlanBatchAttention(const AttentionSpec& spec, std::span<const int32_t> qo_indptr,
                          const PagedKv& kv, size_t thread_count, BatchAttentionPlan* plan);

}  // namespace kvasir

#endif  // KVASIR_ATTENTION_BATCH_ATTENTION_H_
