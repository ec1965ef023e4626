// Block-sparse attention: M query rows and N keys in plain arrays, cut into blocks of R rows and C
// keys, of which only listed pairs are computed (block compressed sparse rows, as in FlashInfer's
// BlockSparseAttention):
//
//   indptr   [M / R + 1]  the list of row block i is indices[indptr[i]] .. [indptr[i + 1] - 1]
//   indices  [nnz]        column blocks, < N / C, in any order; the order is that of the keys
//   mask     [nnz, R, C]  bits, optional: which keys of each listed block each row sees
//
// A row block is a sequence and a column block a page of C tokens of PlanBatchAttention, which does
// the work; positions (of windows, ALiBi, RoPE and `causal`) are those within the row block's list.
//
// A plan is a value that owns copies of its lists; any thread may plan, one Run at a time, from the
// thread that owns the pool.

#ifndef KVASIR_ATTENTION_BLOCK_SPARSE_H_
#define KVASIR_ATTENTION_BLOCK_SPARSE_H_

#include <cstdint>
#include <span>
#include <vector>

#include "kvasir/attention/batch_attention.h"
#include "kvasir/attention/paged_kv.h"
#include "kvasir/base/matrix_view.h"
#include "kvasir/base/status.h"
#include "kvasir/base/thread_pool.h"

namespace kvasir {

struct BlockSparseMatrix {
  int32_t m = 0;  // query rows, a multiple of r
  int32_t n = 0;  // keys, a multiple of c
  int32_t r = 0;  // query rows of a block
  int32_t c = 0;  // keys of a block
  std::span<const int32_t> indptr;
  std::span<const int32_t> indices;
  // [nnz, r, c] bits, row-major, least significant bit first, packed without gaps; empty = all
  // seen.
  std::span<const uint8_t> packed_mask = {};
};

class BlockSparseAttentionPlan {
 public:
  const BatchAttentionPlan& attention() const { return attention_; }

  // q [m, num_qo_heads * head_dim], out [m, num_qo_heads * v_dim], lse [m, num_qo_heads] or empty.
  // `rows` holds the n keys and values; their page strides are unused. No allocation.
  void Run(const KvRows& rows, MatrixView<const float> q, MatrixView<float> out,
           MatrixView<float> lse, ThreadPool& pool) const;

 private:
  friend Status PlanBlockSparseAttention(const AttentionSpec& spec, const BlockSparseMatrix& matrix,
                                         const KvRows& rows, const AttentionPlanOptions& options,
                                         BlockSparseAttentionPlan* plan);
  PagedKv View(const KvRows& rows) const;

  int32_t m_ = 0, n_ = 0, c_ = 1;
  std::vector<int32_t> qo_indptr_, kv_indptr_, kv_indices_, kv_last_page_len_;
  std::vector<uint8_t> mask_;  // by row block: r x keys of its list
  std::vector<int32_t> mask_indptr_;
  BatchAttentionPlan attention_;
};

// Plans; spec.causal is false unless positions within the lists mean something, and a custom mask
// is given by the matrix alone. `rows` is what will be run, or rows of the same type.
// kInvalidArgument names the argument and its range.
Status PlanBlockSparseAttention(const AttentionSpec& spec, const BlockSparseMatrix& matrix,
                                const KvRows& rows, const AttentionPlanOptions& options,
                                BlockSparseAttentionPlan* plan);

}  // namespace kvasir

#endif  // KVASIR_ATTENTION_BLOCK_SPARSE_H_
