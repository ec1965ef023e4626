// The plans of the Python module: each owns the arrays of its batch, plans when it is made, and
// plans again by itself when it is run on more threads or on keys of another type than it was
// planned for. Run checks every array that it is given and works without the GIL, one run at a time
// in the whole process.

#ifndef KVASIR_PYTHON_PLANS_H_
#define KVASIR_PYTHON_PLANS_H_

#include <pybind11/pybind11.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "kvasir/attention/batch_attention.h"
#include "kvasir/attention/block_sparse.h"
#include "kvasir/attention/cascade.h"
#include "kvasir/attention/mla.h"
#include "kvasir/python/rows.h"
#include "kvasir/python/shared_pool.h"
#include "kvasir/python/spec.h"
#include "kvasir/python/tensor.h"

namespace kvasir {

// The page table of a batch.
struct OwnedPages {
  std::vector<int32_t> kv_indptr, kv_indices, kv_last_page_len;
  int32_t page_size = 1;
  bool is_ragged = false;

  // Pages that must exist: the largest id, or the tokens of ragged arrays, plus what they imply.
  int64_t PagesNeeded() const;
  int64_t LengthMax() const;  // tokens of the longest sequence
  // The view for planning, before there is memory.
  PagedKv View(KvRowType type) const;
};

// The view of `k` and `v` with heads and dims as the spec says: pages [pages, page_size, heads,
// dim] or [pages, heads, page_size, dim] (is_hnd), or without pages and the first dimension.
KvRows RowsFromTensors(const Tensor& k, const Tensor& v, bool has_pages, bool is_hnd,
                       const AttentionSpec& spec, int64_t page_size);

class BoundPlan {
 public:
  virtual ~BoundPlan() = default;
  BoundPlan(const BoundPlan&) = delete;
  BoundPlan& operator=(const BoundPlan&) = delete;

  int64_t row_count() const { return row_count_; }

 protected:
  BoundPlan() = default;

  // Plans for this type of keys and so many threads.
  virtual Status Plan(KvRowType type, const AttentionPlanOptions& options) = 0;
  // The first plan; throws what it finds.
  void PlanNow(KvRowType type);

  // Runs `job` on the pool, with the matrices of q, out and lse (None: without), planned for
  // `type`.
  using Job = FunctionRef<void(MatrixView<const float> q, MatrixView<float> out,
                               MatrixView<float> lse, ThreadPool& pool)>;
  void Execute(KvRowType type, const QueryRows& q, pybind11::handle out, pybind11::handle lse,
               Job job) {
    Execute(type, q, out, lse, plan_sinks_, job);
  }
  // The same with other sinks than the plan's.
  void Execute(KvRowType type, const QueryRows& q, pybind11::handle out, pybind11::handle lse,
               const std::vector<float>& sinks, Job job);

  OwnedSpec owned_;
  std::vector<float> plan_sinks_;
  int64_t row_count_ = 0;

 private:
  Status PlanFor(KvRowType type, size_t thread_count);
  void UseSinks(const std::vector<float>& sinks);

  size_t planned_threads_ = 0;
  KvRowType planned_type_ = KvRowType::kF32;
  std::vector<float> q_scratch_, out_scratch_, lse_scratch_;
};

class BoundBatchPlan : public BoundPlan {
 public:
  BoundBatchPlan(const pybind11::dict& spec, std::vector<int32_t> qo_indptr, OwnedPages pages,
                 KvRowType type);
  // is_hnd as in RowsFromTensors; `lse` may be None, and `sinks`: then those of the plan.
  void Run(pybind11::handle q, pybind11::handle k, pybind11::handle v, bool is_hnd,
           pybind11::handle out, pybind11::handle lse, pybind11::handle sinks);

 protected:
  Status Plan(KvRowType type, const AttentionPlanOptions& options) override;

 private:
  std::vector<int32_t> qo_indptr_;
  OwnedPages pages_;
  BatchAttentionPlan plan_;
};

class BoundBlockSparsePlan : public BoundPlan {
 public:
  // `matrix` with its lists in the vectors.
  BoundBlockSparsePlan(const pybind11::dict& spec, const BlockSparseMatrix& matrix,
                       std::vector<int32_t> indptr, std::vector<int32_t> indices,
                       std::vector<uint8_t> packed_mask, KvRowType type);
  void Run(pybind11::handle q, pybind11::handle k, pybind11::handle v, pybind11::handle out,
           pybind11::handle lse);

 protected:
  Status Plan(KvRowType type, const AttentionPlanOptions& options) override;

 private:
  BlockSparseMatrix matrix_;
  std::vector<int32_t> indptr_, indices_;
  std::vector<uint8_t> packed_mask_;
  BlockSparseAttentionPlan plan_;
};

class BoundCascadePlan : public BoundPlan {
 public:
  struct Level {
    std::vector<int32_t> qo_indptr;
    OwnedPages pages;
  };
  BoundCascadePlan(const pybind11::dict& spec, std::vector<Level> levels, KvRowType type);
  bool is_flat() const { return plan_.is_flat(); }
  void Run(pybind11::handle q, pybind11::handle k, pybind11::handle v, bool is_hnd,
           pybind11::handle out, pybind11::handle lse);

 protected:
  Status Plan(KvRowType type, const AttentionPlanOptions& options) override;

 private:
  std::vector<Level> levels_;
  MultiLevelCascadeAttentionPlan plan_;
};

class BoundMlaPlan : public BoundPlan {
 public:
  BoundMlaPlan(const MlaSpec& spec, std::vector<int32_t> qo_indptr, OwnedPages pages,
               KvRowType type);
  void Run(pybind11::handle q_nope, pybind11::handle q_pe, pybind11::handle ckv,
           pybind11::handle kpe, pybind11::handle out, pybind11::handle lse);

 protected:
  Status Plan(KvRowType type, const AttentionPlanOptions& options) override;

 private:
  MlaSpec mla_;
  std::vector<int32_t> qo_indptr_;
  OwnedPages pages_;
  BatchMlaPagedAttentionPlan plan_;
  std::vector<float> q_pe_scratch_;
};

}  // namespace kvasir

#endif  // KVASIR_PYTHON_PLANS_H_
