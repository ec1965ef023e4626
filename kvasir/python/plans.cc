#include "kvasir/python/plans.h"

#include <algorithm>
#include <optional>
#include <utility>

namespace kvasir {

namespace py = pybind11;

namespace {

// What stands for the keys and values of a plan that has not seen them yet; never read.
alignas(64) std::byte g_placeholder[64];

KvRows PlaceholderRows(KvRowType type) {
  KvRows rows;
  rows.type = type;
  rows.k = rows.v = rows.k_tail = g_placeholder;
  return rows;
}

// Null pointers of arrays without numbers would be taken for missing ones.
std::byte* DataOf(const Tensor& tensor) {
  return tensor.data == nullptr ? g_placeholder : tensor.data;
}

std::optional<OutputRows> OptionalRows(py::handle lse, int64_t rows, int64_t heads) {
  if (lse.is_none()) return std::nullopt;
  return OutputRows(TensorFromPython(lse, "lse"), rows, heads, 0);
}

void CheckPageCount(const Tensor& tensor, int64_t needed, bool is_ragged) {
  if (tensor.shape[0] >= needed) return;
  ThrowInvalid(tensor.name + " has " + std::to_string(tensor.shape[0]) +
               (is_ragged ? " tokens, kv_indptr ends at " + std::to_string(needed)
                          : " pages, kv_indices has page " + std::to_string(needed - 1)));
}

}  // namespace

int64_t OwnedPages::PagesNeeded() const {
  if (is_ragged) return kv_indptr.empty() ? 0 : int64_t{kv_indptr.back()};
  const auto used = std::min(kv_indices.size(), size_t(kv_indptr.empty() ? 0 : kv_indptr.back()));
  const auto largest = std::max_element(kv_indices.begin(), kv_indices.begin() + ptrdiff_t(used));
  return used == 0 ? 0 : int64_t{*largest} + 1;
}

int64_t OwnedPages::LengthMax() const {
  int64_t longest = 0;
  for (size_t b = 0; b + 1 < kv_indptr.size(); ++b) {
    longest = std::max(longest, int64_t{page_size} * (int64_t{kv_indptr[b + 1]} - kv_indptr[b]));
  }
  return longest;
}

PagedKv OwnedPages::View(KvRowType type) const {
  PagedKv kv;
  kv.rows = PlaceholderRows(type);
  kv.page_size = page_size;
  kv.is_ragged = is_ragged;
  kv.page_count = size_t(std::max<int64_t>(PagesNeeded(), 0));
  kv.kv_indptr = kv_indptr;
  kv.kv_indices = kv_indices;
  kv.kv_last_page_len = kv_last_page_len;
  return kv;
}

KvRows RowsFromTensors(const Tensor& k, const Tensor& v, bool has_pages, bool is_hnd,
                       const AttentionSpec& spec, int64_t page_size) {
  const char* dimensions = has_pages ? (is_hnd ? "[pages, num_kv_heads, page_size, head_dim]"
                                               : "[pages, page_size, num_kv_heads, head_dim]")
                                     : (is_hnd ? "[num_kv_heads, tokens, head_dim]"
                                               : "[tokens, num_kv_heads, head_dim]");
  const size_t rank = has_pages ? 4 : 3;
  const size_t head_axis = is_hnd ? rank - 3 : rank - 2, token_axis = is_hnd ? rank - 2 : rank - 3;
  const auto strides = [&](const Tensor& tensor, int64_t dim) {
    CheckNumbers(tensor, rank, dimensions);
    std::vector<int64_t> shape = tensor.shape;
    shape[head_axis] = spec.num_kv_heads;
    shape[rank - 1] = dim;
    if (has_pages) shape[token_axis] = page_size;
    CheckShape(tensor, shape);
    return KvRowStrides{.page = has_pages ? tensor.strides[0] : 0,
                        .token = tensor.strides[token_axis],
                        .head = tensor.strides[head_axis]};
  };
  KvRows rows;
  rows.k_strides = strides(k, spec.head_dim);
  rows.v_strides = strides(v, spec.v_dim());
  const size_t count_axis = has_pages ? 0 : token_axis;
  if (k.shape[count_axis] != v.shape[count_axis]) {
    ThrowInvalid(v.name + " has shape " + v.ShapeText() + ", " + k.name + " has " + k.ShapeText());
  }
  if (k.type != v.type) {
    ThrowInvalid(v.name + " has dtype " + v.type_name + ", " + k.name + " has " + k.type_name);
  }
  rows.type = RowType(k);
  rows.k = DataOf(k);
  rows.v = DataOf(v);
  return rows;
}

Status BoundPlan::PlanFor(KvRowType type, size_t thread_count) {
  planned_threads_ = 0;
  AttentionPlanOptions options;
  options.thread_count = thread_count;
  KVASIR_RETURN_IF_ERROR(Plan(type, options));
  planned_threads_ = thread_count;
  planned_type_ = type;
  return OkStatus();
}

void BoundPlan::PlanNow(KvRowType type) {
  plan_sinks_ = owned_.sinks;
  Status status;
  {
    const py::gil_scoped_release release;
    status = PlanFor(type, PoolThreads());
  }
  ThrowIfError(status);
}

void BoundPlan::UseSinks(const std::vector<float>& sinks) {
  if (sinks.size() == owned_.sinks.size()) {
    // The plan's spec points at these numbers.
    std::copy(sinks.begin(), sinks.end(), owned_.sinks.begin());
    return;
  }
  owned_.sinks = sinks;
  owned_.spec.sinks = owned_.sinks;
  planned_threads_ = 0;
}

void BoundPlan::Execute(KvRowType type, const QueryRows& q, py::handle out, py::handle lse,
                        const std::vector<float>& sinks, Job job) {
  const AttentionSpec& spec = owned_.spec;
  const int64_t heads = spec.num_qo_heads;
  const OutputRows out_rows(TensorFromPython(out, "out"), row_count_, heads, spec.v_dim());
  const std::optional<OutputRows> lse_rows = OptionalRows(lse, row_count_, heads);
  Status status;
  {
    const py::gil_scoped_release release;
    WithPool([&](ThreadPool& pool) {
      UseSinks(sinks);
      if (pool.thread_count() > planned_threads_ || type != planned_type_) {
        status = PlanFor(type, pool.thread_count());
        if (!status.ok()) return;
      }
      const MatrixView<float> lse_memory =
          lse_rows ? lse_rows->Memory(&lse_scratch_) : MatrixView<float>();
      job(q.Read(pool, &q_scratch_), out_rows.Memory(&out_scratch_), lse_memory, pool);
      out_rows.Finish(pool, out_scratch_);
      if (lse_rows) lse_rows->Finish(pool, lse_scratch_);
    });
  }
  ThrowIfError(status);
}

BoundBatchPlan::BoundBatchPlan(const py::dict& spec, std::vector<int32_t> qo_indptr,
                               OwnedPages pages, KvRowType type)
    : qo_indptr_(std::move(qo_indptr)), pages_(std::move(pages)) {
  ReadSpec(spec, &owned_);
  int64_t length_max = pages_.LengthMax();
  for (size_t b = 0; b + 1 < qo_indptr_.size(); ++b) {
    length_max = std::max(length_max, int64_t{qo_indptr_[b + 1]} - qo_indptr_[b]);
  }
  MakeRope(length_max, &owned_);
  PlanNow(type);
  row_count_ = qo_indptr_.back();
}

Status BoundBatchPlan::Plan(KvRowType type, const AttentionPlanOptions& options) {
  return PlanBatchAttention(owned_.spec, qo_indptr_, pages_.View(type), options, &plan_);
}

void BoundBatchPlan::Run(py::handle q, py::handle k, py::handle v, bool is_hnd, py::handle out,
                         py::handle lse, py::handle sinks) {
  const AttentionSpec& spec = owned_.spec;
  const bool has_pages = !pages_.is_ragged;
  const QueryRows q_rows(TensorFromPython(q, "q"), row_count_, spec.num_qo_heads, spec.head_dim);
  const Tensor k_tensor = TensorFromPython(k, has_pages ? "k_cache" : "k");
  const Tensor v_tensor = TensorFromPython(v, has_pages ? "v_cache" : "v");
  PagedKv kv = pages_.View(KvRowType::kF32);
  kv.rows = RowsFromTensors(k_tensor, v_tensor, has_pages, is_hnd, spec, pages_.page_size);
  const int64_t count = k_tensor.shape[!has_pages && is_hnd ? 1 : 0];
  Tensor counted = k_tensor;
  counted.shape[0] = count;
  CheckPageCount(counted, pages_.PagesNeeded(), pages_.is_ragged);
  kv.page_count = size_t(count);
  const auto job = [&](MatrixView<const float> q_view, MatrixView<float> out_view,
                       MatrixView<float> lse_view,
                       ThreadPool& pool) { plan_.Run(kv, 0, q_view, out_view, lse_view, pool); };
  if (sinks.is_none()) return Execute(kv.rows->type, q_rows, out, lse, job);
  const std::vector<float> numbers = FloatsFromPython(sinks, "sinks");
  if (numbers.size() != spec.num_qo_heads) {
    ThrowInvalid("sinks has " + std::to_string(numbers.size()) +
                 " entries, num_qo_heads = " + std::to_string(spec.num_qo_heads) + " are needed");
  }
  Execute(kv.rows->type, q_rows, out, lse, numbers, job);
}

BoundBlockSparsePlan::BoundBlockSparsePlan(const py::dict& spec, const BlockSparseMatrix& matrix,
                                           std::vector<int32_t> indptr,
                                           std::vector<int32_t> indices,
                                           std::vector<uint8_t> packed_mask, KvRowType type)
    : matrix_(matrix),
      indptr_(std::move(indptr)),
      indices_(std::move(indices)),
      packed_mask_(std::move(packed_mask)) {
  matrix_.indptr = indptr_;
  matrix_.indices = indices_;
  matrix_.packed_mask = packed_mask_;
  ReadSpec(spec, &owned_);
  MakeRope(std::max(matrix_.n, matrix_.m), &owned_);
  PlanNow(type);
  row_count_ = matrix_.m;
}

Status BoundBlockSparsePlan::Plan(KvRowType type, const AttentionPlanOptions& options) {
  return PlanBlockSparseAttention(owned_.spec, matrix_, PlaceholderRows(type), options, &plan_);
}

void BoundBlockSparsePlan::Run(py::handle q, py::handle k, py::handle v, py::handle out,
                               py::handle lse) {
  const AttentionSpec& spec = owned_.spec;
  const QueryRows q_rows(TensorFromPython(q, "q"), row_count_, spec.num_qo_heads, spec.head_dim);
  const Tensor k_tensor = TensorFromPython(k, "k"), v_tensor = TensorFromPython(v, "v");
  const KvRows rows = RowsFromTensors(k_tensor, v_tensor, false, false, spec, 1);
  CheckShape(k_tensor, {matrix_.n, spec.num_kv_heads, spec.head_dim});
  Execute(
      rows.type, q_rows, out, lse,
      [&](MatrixView<const float> q_view, MatrixView<float> out_view, MatrixView<float> lse_view,
          ThreadPool& pool) { plan_.Run(rows, q_view, out_view, lse_view, pool); });
}

BoundCascadePlan::BoundCascadePlan(const py::dict& spec, std::vector<Level> levels, KvRowType type)
    : levels_(std::move(levels)) {
  ReadSpec(spec, &owned_);
  int64_t length_max = 0;
  for (const Level& level : levels_) {
    int64_t longest = level.pages.LengthMax();
    for (size_t b = 0; b + 1 < level.qo_indptr.size(); ++b) {
      longest = std::max(longest, int64_t{level.qo_indptr[b + 1]} - level.qo_indptr[b]);
    }
    length_max += longest;
  }
  MakeRope(length_max, &owned_);
  PlanNow(type);
  row_count_ = levels_.back().qo_indptr.back();
}

Status BoundCascadePlan::Plan(KvRowType type, const AttentionPlanOptions& options) {
  if (levels_.empty()) return InvalidArgument("qo_indptr_arr is empty, at least 1 level is needed");
  std::vector<CascadeLevel> levels;
  PagedKv memory = levels_[0].pages.View(type);
  for (const Level& level : levels_) {
    levels.push_back({.qo_indptr = level.qo_indptr,
                      .kv_indptr = level.pages.kv_indptr,
                      .kv_indices = level.pages.kv_indices,
                      .kv_last_page_len = level.pages.kv_last_page_len});
    memory.page_count = std::max(memory.page_count, level.pages.View(type).page_count);
  }
  return PlanMultiLevelCascadeAttention(owned_.spec, levels, memory, options, &plan_);
}

void BoundCascadePlan::Run(py::handle q, py::handle k, py::handle v, bool is_hnd, py::handle out,
                           py::handle lse) {
  const AttentionSpec& spec = owned_.spec;
  const QueryRows q_rows(TensorFromPython(q, "q"), row_count_, spec.num_qo_heads, spec.head_dim);
  const Tensor k_tensor = TensorFromPython(k, "k_cache"), v_tensor = TensorFromPython(v, "v_cache");
  PagedKv memory = levels_[0].pages.View(KvRowType::kF32);
  memory.rows = RowsFromTensors(k_tensor, v_tensor, true, is_hnd, spec, memory.page_size);
  for (const Level& level : levels_) CheckPageCount(k_tensor, level.pages.PagesNeeded(), false);
  memory.page_count = size_t(k_tensor.shape[0]);
  Execute(
      memory.rows->type, q_rows, out, lse,
      [&](MatrixView<const float> q_view, MatrixView<float> out_view, MatrixView<float> lse_view,
          ThreadPool& pool) { plan_.Run(memory, 0, q_view, out_view, lse_view, pool); });
}

BoundMlaPlan::BoundMlaPlan(const MlaSpec& spec, std::vector<int32_t> qo_indptr, OwnedPages pages,
                           KvRowType type)
    : mla_(spec), qo_indptr_(std::move(qo_indptr)), pages_(std::move(pages)) {
  owned_.spec = mla_.attention();
  PlanNow(type);
  row_count_ = qo_indptr_.back();
}

Status BoundMlaPlan::Plan(KvRowType type, const AttentionPlanOptions& options) {
  PagedKv kv = pages_.View(type);
  kv.rows = MlaRows(mla_, type, g_placeholder, g_placeholder, pages_.page_size);
  return PlanBatchMlaPagedAttention(mla_, qo_indptr_, kv, options, &plan_);
}

void BoundMlaPlan::Run(py::handle q_nope, py::handle q_pe, py::handle ckv, py::handle kpe,
                       py::handle out, py::handle lse) {
  const int64_t heads = mla_.num_heads;
  const QueryRows nope_rows(TensorFromPython(q_nope, "q_nope"), row_count_, heads,
                            mla_.head_dim_ckv);
  const QueryRows pe_rows(TensorFromPython(q_pe, "q_pe"), row_count_, heads, mla_.head_dim_kpe);
  const Tensor ckv_tensor = TensorFromPython(ckv, "ckv_cache");
  const Tensor kpe_tensor = TensorFromPython(kpe, "kpe_cache");
  const auto strides = [&](const Tensor& tensor, uint32_t dim) {
    CheckNumbers(tensor, 3, "[pages, page_size, head_dim]");
    CheckShape(tensor, {tensor.shape[0], pages_.page_size, dim});
    CheckPageCount(tensor, pages_.PagesNeeded(), false);
    return KvRowStrides{.page = tensor.strides[0], .token = tensor.strides[1]};
  };
  const KvRowStrides ckv_strides = strides(ckv_tensor, mla_.head_dim_ckv);
  const KvRowStrides kpe_strides = strides(kpe_tensor, mla_.head_dim_kpe);
  if (ckv_tensor.type != kpe_tensor.type) {
    ThrowInvalid("kpe_cache has dtype " + kpe_tensor.type_name + ", ckv_cache has " +
                 ckv_tensor.type_name);
  }
  const KvRowType type = RowType(ckv_tensor);
  PagedKv kv = pages_.View(type);
  kv.rows = MlaRows(mla_, type, DataOf(ckv_tensor), ckv_strides, DataOf(kpe_tensor), kpe_strides);
  kv.page_count = size_t(std::min(ckv_tensor.shape[0], kpe_tensor.shape[0]));
  Execute(type, nope_rows, out, lse,
          [&](MatrixView<const float> q_view, MatrixView<float> out_view,
              MatrixView<float> lse_view, ThreadPool& pool) {
            plan_.Run(kv, q_view, pe_rows.Read(pool, &q_pe_scratch_), out_view, lse_view, pool);
          });
}

}  // namespace kvasir
