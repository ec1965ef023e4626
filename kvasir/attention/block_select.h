// BlockSelection: attention over a part of a long context (Quest, Tang et al. 2024, arXiv
// 2406.10774): each KV head of a decode row reads the pages that can hold its largest logits, as
// far as the bounds of their keys tell (block_summaries.h), the first pages, where attention sinks
// lie, and the latest ones. An approximation: what other pages hold is not seen.
//
// Plan once a step decides who selects and how many pages each reads; Select once a layer decides
// which, and kv() is the page table to run attention with: every KV head has pages of its own, in
// rising order. The lengths are the same in all layers, so one plan of PlanBatchAttention for kv()
// serves them all.
//
// The pages of a row depend on its query and on the keys of its pages alone, not on the batch, the
// threads or the target (within a numerics class). Positions are not known to attention any more:
// not for windows, ALiBi, masks, or keys that are rotated as they are read. Owned by whoever owns
// the plan; keeps its memory between steps; one thread at a time.

#ifndef KVASIR_ATTENTION_BLOCK_SELECT_H_
#define KVASIR_ATTENTION_BLOCK_SELECT_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "kvasir/attention/block_summaries.h"
#include "kvasir/attention/paged_kv.h"
#include "kvasir/base/matrix_view.h"
#include "kvasir/base/status.h"
#include "kvasir/base/thread_pool.h"

namespace kvasir {

struct BlockSelectOptions {
  // Pages that a row reads; sequences that have no more read all. At least sink_blocks +
  // recent_blocks + 1.
  int32_t budget_blocks = 0;
  int32_t sink_blocks = 1;    // at the start, always read; at least 0
  int32_t recent_blocks = 2;  // at the end, always read; at least 1: the open page has no bounds
};

class BlockSelection {
 public:
  BlockSelection() = default;
  BlockSelection(const BlockSelection&) = delete;
  BlockSelection& operator=(const BlockSelection&) = delete;

  // Sequences with one query and more than budget_blocks pages select, of those that `may_select`
  // [batch] names (empty = all). REQUIRES a page table that CheckAttention accepts, of blocks, with
  // one list of pages for all heads; it must outlive the use of kv(). kInvalidArgument names the
  // option that is out of range.
  Status Plan(const BlockSelectOptions& options, std::span<const int32_t> qo_indptr,
              const PagedKv& kv, std::span<const uint8_t> may_select = {});
  // No sequence selects until the next Plan.
  void Clear() { rows_.clear(); }
  // Whether no sequence selects: attention as usual.
  bool empty() const { return rows_.empty(); }
  // The pages that Select will judge: BlockSummaries must have refreshed them.
  std::span<const int32_t> candidates() const { return candidates_; }
  // Chooses the pages of layer `layer` for q [rows, num_qo_heads * head_dim], of which num_kv_heads
  // of the layout divides num_qo_heads. Ties go to the earlier page. REQUIRES sm_scale > 0 of the
  // attention that follows. Allocates
  // in the first layer of a step at most.
  void Select(const BlockSummaries& summaries, uint32_t layer, MatrixView<const float> q,
              ThreadPool& pool);
  // The planned page table with the pages of the last Select (before it, with some pages of the
  // same number). Valid until the next Plan.
  PagedKv kv() const;

 private:
  struct Row {  // that selects
    int32_t row = 0;
    size_t first_candidate = 0;  // in candidates_
    size_t candidate_count = 0;
    size_t first_index = 0;  // of the pages to choose, in the list of each head
  };

  void SelectHead(const BlockSummaries& summaries, uint32_t layer, MatrixView<const float> q,
                  const Row& row, size_t kv_head);

  PagedKv source_;
  int32_t chosen_count_ = 0;  // of a row's candidates
  std::vector<Row> rows_;
  std::vector<int32_t> candidates_;
  std::vector<int32_t> kv_indptr_;   // [batch + 1]
  std::vector<int32_t> kv_indices_;  // [num_kv_heads, kv_indptr_.back()]
  // Scratch of Select: a piece for each row and KV head.
  std::vector<float> split_queries_;  // [selecting rows, num_qo_heads, 2, padded dim]
  std::vector<float> bounds_;         // [num_kv_heads, candidates]
  std::vector<uint64_t> order_;       // [num_kv_heads, candidates]
};

}  // namespace kvasir

#endif  // KVASIR_ATTENTION_BLOCK_SELECT_H_
