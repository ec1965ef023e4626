// MultiLevelCascadeAttention: FlashInfer's way to say which sequences share which pages. Level 0
// has the pages that the most rows share, the last level those of each sequence alone:
//
//   level 0       | rows of all sequences -> system prompt |
//   level 1       | rows of some -> document A | rows of the others -> document B |
//   last level    | rows of sequence 0 -> its pages | ... 1 -> ... | 2 | ...
//
// Each row sees all keys of its group on each level but the last, and there what the causal mask
// leaves. Where all shared levels end in full pages, the lists of a sequence are one list, and one
// flat plan computes all: PlanBatchAttention finds the shared pages by itself and decides which of
// them to read together, so that levels never make it slower. Otherwise each level runs alone and
// the results are merged.
//
// A plan is a value that owns copies of its lists and its workspace; one Run at a time, from the
// thread that owns the pool.

#ifndef KVASIR_ATTENTION_CASCADE_H_
#define KVASIR_ATTENTION_CASCADE_H_

#include <cstdint>
#include <span>
#include <vector>

#include "kvasir/attention/batch_attention.h"
#include "kvasir/attention/paged_kv.h"
#include "kvasir/base/aligned_buffer.h"
#include "kvasir/base/matrix_view.h"
#include "kvasir/base/status.h"
#include "kvasir/base/thread_pool.h"

namespace kvasir {

struct CascadeLevel {
  std::span<const int32_t> qo_indptr;         // [groups + 1], rows; all levels end at the same row
  std::span<const int32_t> kv_indptr;         // [groups + 1], in pages
  std::span<const int32_t> kv_indices;        // [kv_indptr[groups]]
  std::span<const int32_t> kv_last_page_len;  // [groups]
};

class MultiLevelCascadeAttentionPlan {
 public:
  // Whether one flat plan computes all levels.
  bool is_flat() const { return level_plans_.empty(); }
  const BatchAttentionPlan& flat() const { return flat_; }

  // As BatchAttentionPlan::Run; `memory` has the pages, its page table is not looked at.
  void Run(const PagedKv& memory, uint32_t layer, MatrixView<const float> q, MatrixView<float> out,
           MatrixView<float> lse, ThreadPool& pool) const;

 private:
  friend class CascadePlanner;
  struct Lists {
    std::vector<int32_t> kv_indptr, kv_indices, kv_last_page_len;
  };
  static PagedKv View(const PagedKv& memory, const Lists& lists);

  AttentionSpec spec_;
  size_t row_count_ = 0;
  Lists flat_lists_;
  BatchAttentionPlan flat_;
  std::vector<Lists> level_lists_;
  std::vector<BatchAttentionPlan> level_plans_;
  AlignedBuffer workspace_;  // | out of one level | its LSE | LSE of the levels before |
};

// Plans over the pages of `memory`, whose page table is not looked at. window_left, alibi_slopes,
// rope, custom masks and variants need levels that end in full pages, because they look at
// positions; a mask is over the joined lists. kInvalidArgument names level, argument and range.
Status PlanMultiLevelCascadeAttention(const AttentionSpec& spec,
                                      std::span<const CascadeLevel> levels, const PagedKv& memory,
                                      const AttentionPlanOptions& options,
                                      MultiLevelCascadeAttentionPlan* plan);

}  // namespace kvasir

#endif  // KVASIR_ATTENTION_CASCADE_H_
