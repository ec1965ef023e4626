#include "kvasir/python/functions.h"

#include <pybind11/pybind11.h>

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "kvasir/attention/append.h"
#include "kvasir/attention/merge.h"
#include "kvasir/kernels/cpu_target.h"
#include "kvasir/python/functions.h"
#include "kvasir/python/plans.h"

namespace kvasir {

namespace py = pybind11;

namespace {

// Rows and their LSE, [rows, heads, dim] and [rows, heads], both as the kernels want them.
struct StateIn {
  QueryRows v, s;
  std::vector<float> v_scratch, s_scratch;

  StateIn(py::handle v_object, py::handle s_object, const std::string& v_name,
          const std::string& s_name, int64_t rows, int64_t heads, int64_t dim)
      : v(TensorFromPython(v_object, v_name), rows, heads, dim),
        s(LseTensor(s_object, s_name, rows, heads), rows, 1, heads) {}

  // [rows, heads] as [rows, 1, heads].
  static Tensor LseTensor(py::handle object, const std::string& name, int64_t rows, int64_t heads) {
    Tensor tensor = TensorFromPython(object, name);
    CheckShape(tensor, {rows, heads});
    if (tensor.type != NumberType::kF32) {
      ThrowInvalid(name + " has dtype " + tensor.type_name + ", allowed is float32");
    }
    tensor.shape = {rows, 1, heads};
    tensor.strides = {tensor.strides[0], heads, tensor.strides[1]};
    return tensor;
  }
};

// The shape of `object`, an array of `rank` dimensions.
std::vector<int64_t> ShapeOf(py::handle object, const char* name, size_t rank,
                             const char* dimensions) {
  const Tensor tensor = TensorFromPython(object, name);
  CheckNumbers(tensor, rank, dimensions);
  return tensor.shape;
}

void MergeStateIntoOutput(py::handle v_a, py::handle s_a, py::handle v_b, py::handle s_b,
                          py::handle v, py::handle s) {
  const std::vector<int64_t> shape = ShapeOf(v_a, "v_a", 3, "[rows, heads, head_dim]");
  StateIn a(v_a, s_a, "v_a", "s_a", shape[0], shape[1], shape[2]);
  StateIn b(v_b, s_b, "v_b", "s_b", shape[0], shape[1], shape[2]);
  const OutputRows v_out(TensorFromPython(v, "v"), shape[0], shape[1], shape[2]);
  const OutputRows s_out(TensorFromPython(s, "s"), shape[0], shape[1], 0);
  Status status;
  {
    const py::gil_scoped_release release;
    WithPool([&](ThreadPool& pool) {
      std::vector<float> v_scratch, s_scratch;
      status = MergeState(a.v.Read(pool, &a.v_scratch), a.s.Read(pool, &a.s_scratch),
                          b.v.Read(pool, &b.v_scratch), b.s.Read(pool, &b.s_scratch),
                          v_out.Memory(&v_scratch), s_out.Memory(&s_scratch), pool);
      v_out.Finish(pool, v_scratch);
      s_out.Finish(pool, s_scratch);
    });
  }
  ThrowIfError(status);
}

void MergeStateIntoFirst(py::handle v, py::handle s, py::handle v_other, py::handle s_other,
                         py::handle mask) {
  const std::vector<int64_t> shape = ShapeOf(v, "v", 3, "[rows, heads, head_dim]");
  StateIn own(v, s, "v", "s", shape[0], shape[1], shape[2]);
  StateIn other(v_other, s_other, "v_other", "s_other", shape[0], shape[1], shape[2]);
  const OutputRows v_out(TensorFromPython(v, "v"), shape[0], shape[1], shape[2]);
  const OutputRows s_out(TensorFromPython(s, "s"), shape[0], shape[1], 0);
  const std::vector<uint8_t> rows =
      mask.is_none() ? std::vector<uint8_t>() : BytesFromPython(mask, "mask");
  if (!mask.is_none() && int64_t(rows.size()) != shape[0]) {
    ThrowInvalid("mask has " + std::to_string(rows.size()) +
                 " entries, rows = " + std::to_string(shape[0]) + " are needed");
  }
  Status status;
  {
    const py::gil_scoped_release release;
    WithPool([&](ThreadPool& pool) {
      // What has to be copied is merged in the copy, which holds the old numbers.
      own.v.Read(pool, &own.v_scratch);
      own.s.Read(pool, &own.s_scratch);
      status = MergeStateInPlace(v_out.Memory(&own.v_scratch), s_out.Memory(&own.s_scratch),
                                 other.v.Read(pool, &other.v_scratch),
                                 other.s.Read(pool, &other.s_scratch), rows, pool);
      v_out.Finish(pool, own.v_scratch);
      s_out.Finish(pool, own.s_scratch);
    });
  }
  ThrowIfError(status);
}

// v [rows, states, heads, dim] and s [rows, states, heads].
void MergeStatesIntoOutput(py::handle v, py::handle s, py::handle v_merged, py::handle s_merged) {
  Tensor v_tensor = TensorFromPython(v, "v"), s_tensor = TensorFromPython(s, "s");
  CheckNumbers(v_tensor, 4, "[rows, num_states, heads, head_dim]");
  const int64_t rows = v_tensor.shape[0], states = v_tensor.shape[1], heads = v_tensor.shape[2];
  const int64_t dim = v_tensor.shape[3];
  CheckShape(s_tensor, {rows, states, heads});
  const auto dense = [](const Tensor& tensor, int64_t inner) {
    if (tensor.shape[1] > 1 && tensor.strides[1] != inner) {
      ThrowInvalid(tensor.name + " has a stride of " + std::to_string(tensor.strides[1]) +
                   " between states, allowed is " + std::to_string(inner));
    }
  };
  dense(v_tensor, heads * dim);
  dense(s_tensor, heads);
  v_tensor.shape = {rows, states * heads, dim};
  v_tensor.strides = {v_tensor.strides[0], v_tensor.strides[2], v_tensor.strides[3]};
  s_tensor.shape = {rows, 1, states * heads};
  s_tensor.strides = {s_tensor.strides[0], states * heads, s_tensor.strides[2]};
  if (s_tensor.type != NumberType::kF32) {
    ThrowInvalid("s has dtype " + s_tensor.type_name + ", allowed is float32");
  }
  const QueryRows v_rows(v_tensor, rows, states * heads, dim);
  const QueryRows s_rows(s_tensor, rows, 1, states * heads);
  const OutputRows v_out(TensorFromPython(v_merged, "v_merged"), rows, heads, dim);
  const OutputRows s_out(TensorFromPython(s_merged, "s_merged"), rows, heads, 0);
  Status status;
  {
    const py::gil_scoped_release release;
    WithPool([&](ThreadPool& pool) {
      std::vector<float> v_in, s_in, v_scratch, s_scratch;
      status = MergeStates(v_rows.Read(pool, &v_in), s_rows.Read(pool, &s_in), size_t(states),
                           v_out.Memory(&v_scratch), s_out.Memory(&s_scratch), pool);
      v_out.Finish(pool, v_scratch);
      s_out.Finish(pool, s_scratch);
    });
  }
  ThrowIfError(status);
}

KvNewRows NewRows(const Tensor& tensor, int64_t count, int64_t heads, int64_t dim) {
  CheckNumbers(tensor, 3, "[tokens, num_kv_heads, head_dim]");
  CheckShape(tensor, {count, heads, dim});
  return {.type = RowType(tensor),
          .data = tensor.data,
          .token_stride = tensor.strides[0],
          .head_stride = tensor.strides[1],
          .dim = uint32_t(dim)};
}

// One pool of pages, [pages, page_size, heads, dim] or with heads before page_size (is_hnd).
struct AppendTarget {
  Tensor memory;
  KvRowStrides strides;
  int64_t page_size, heads, dim;

  AppendTarget(Tensor tensor, bool is_hnd) : memory(std::move(tensor)) {
    CheckNumbers(memory, 4,
                 is_hnd ? "[pages, num_kv_heads, page_size, head_dim]"
                        : "[pages, page_size, num_kv_heads, head_dim]");
    if (!memory.is_writable) ThrowInvalid(memory.name + " is read-only");
    const size_t token_axis = is_hnd ? 2 : 1, head_axis = is_hnd ? 1 : 2;
    page_size = memory.shape[token_axis];
    heads = memory.shape[head_axis];
    dim = memory.shape[3];
    strides = {.page = memory.strides[0],
               .token = memory.strides[token_axis],
               .head = memory.strides[head_axis]};
  }
};

void AppendPages(py::handle append_key, py::handle append_value, py::handle batch_indices,
                 py::handle positions, py::handle k_cache, py::handle v_cache, bool is_hnd,
                 py::handle kv_indices, py::handle kv_indptr) {
  const Tensor k_new = TensorFromPython(append_key, "append_key");
  const AppendTarget k(TensorFromPython(k_cache, "k_cache"), is_hnd);
  const std::vector<int32_t> sequences = IndicesFromPython(batch_indices, "batch_indices");
  const std::vector<int32_t> places = IndicesFromPython(positions, "positions");
  const std::vector<int32_t> indptr = IndicesFromPython(kv_indptr, "kv_indptr");
  const std::vector<int32_t> indices = IndicesFromPython(kv_indices, "kv_indices");
  if (indptr.empty()) ThrowInvalid("kv_indptr is empty, batch + 1 entries are needed");
  const int64_t count = int64_t(sequences.size());
  const KvNewRows k_rows = NewRows(k_new, count, k.heads, k.dim);
  KvNewRows v_rows;
  std::optional<Tensor> v_new;
  std::optional<AppendTarget> v;
  if (!v_cache.is_none()) {
    v_new = TensorFromPython(append_value, "append_value");
    v.emplace(TensorFromPython(v_cache, "v_cache"), is_hnd);
    v_rows = NewRows(*v_new, count, k.heads, v->dim);
    if (v->memory.type != k.memory.type || v->page_size != k.page_size || v->heads != k.heads ||
        v->memory.shape[0] != k.memory.shape[0]) {
      ThrowInvalid("v_cache has shape " + v->memory.ShapeText() + " and dtype " +
                   v->memory.type_name + ", k_cache has " + k.memory.ShapeText() + " and " +
                   k.memory.type_name);
    }
  }
  KvRows rows;
  rows.type = RowType(k.memory);
  rows.k = k.memory.data;
  rows.k_strides = k.strides;
  if (v) {
    rows.v = v->memory.data;
    rows.v_strides = v->strides;
  }
  const std::vector<int32_t> last_page_len(indptr.size() - 1, int32_t(k.page_size));
  PagedKv kv;
  kv.rows = rows;
  kv.page_size = int32_t(k.page_size);
  kv.page_count = size_t(k.memory.shape[0]);
  kv.kv_indptr = indptr;
  kv.kv_indices = indices;
  kv.kv_last_page_len = last_page_len;
  Status status;
  {
    const py::gil_scoped_release release;
    WithPool([&](ThreadPool& pool) {
      status =
          AppendPagedKvRows(kv, uint32_t(k.heads), sequences, places, k_rows, v_rows, {}, pool);
    });
  }
  ThrowIfError(status);
}

}  // namespace

void BindFunctions(py::module_& module) {
  module.def("merge_state", &MergeStateIntoOutput);
  module.def("merge_state_in_place", &MergeStateIntoFirst);
  module.def("merge_states", &MergeStatesIntoOutput);
  module.def("append_paged_kv_cache", &AppendPages);
  module.def("set_num_threads", [](py::handle count) {
    const auto threads =
        size_t(IntegerFromPython(count, "num_threads", 1, int64_t{kPoolThreadsMax}));
    const py::gil_scoped_release release;
    SetPoolThreads(threads);
  });
  module.def("get_num_threads", [] {
    const py::gil_scoped_release release;
    return PoolThreads();
  });
  module.def("forget_pool_after_fork", &ForgetPoolAfterFork);
  module.def("cpu_target", [] { return std::string(CpuTargetName(ActiveCpuTarget())); });
}

}  // namespace kvasir
