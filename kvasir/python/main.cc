// The Python module kvasir.attention._core: plans and functions with checked arrays, behind the
// names and keyword arguments that python/kvasir/attention gives them.

#include <pybind11/pybind11.h>

#include <utility>
#include <vector>

#include "kvasir/kernels/cpu_target.h"
#include "kvasir/python/functions.h"
#include "kvasir/python/plans.h"
#include "kvasir/python/sampling.h"
#include "kvasir/python/variants.h"

namespace kvasir {

namespace py = pybind11;

namespace {

KvRowType TypeFromName(const std::string& name) {
  if (name == "float32") return KvRowType::kF32;
  if (name == "float16") return KvRowType::kF16;
  if (name == "bfloat16") return KvRowType::kBF16;
  ThrowInvalid("kv_data_type is " + name + ", allowed are float32, float16 and bfloat16");
}

// Rows that do not exist would have no end.
std::vector<int32_t> QoIndptr(py::handle object) {
  std::vector<int32_t> indptr = IndicesFromPython(object, "qo_indptr");
  if (indptr.empty()) ThrowInvalid("qo_indptr is empty, batch + 1 entries are needed");
  return indptr;
}

OwnedPages PagesFromPython(py::handle kv_indptr, py::handle kv_indices, py::handle kv_last_page_len,
                           py::handle page_size) {
  OwnedPages pages;
  pages.kv_indptr = IndicesFromPython(kv_indptr, "kv_indptr");
  if (pages.kv_indptr.empty()) ThrowInvalid("kv_indptr is empty, batch + 1 entries are needed");
  pages.is_ragged = kv_indices.is_none();
  if (pages.is_ragged) return pages;
  pages.kv_indices = IndicesFromPython(kv_indices, "kv_indices");
  pages.kv_last_page_len = IndicesFromPython(kv_last_page_len, "kv_last_page_len");
  pages.page_size = int32_t(IntegerFromPython(page_size, "page_size", 1, 1 << 30));
  return pages;
}

void BindPlans(py::module_& module) {
  py::class_<BoundPlan>(module, "Plan").def_property_readonly("row_count", &BoundPlan::row_count);
  py::class_<BoundBatchPlan, BoundPlan>(module, "BatchPlan")
      .def(py::init([](const py::dict& spec, py::handle qo_indptr, py::handle kv_indptr,
                       py::handle kv_indices, py::handle kv_last_page_len, py::handle page_size,
                       const std::string& kv_type) {
        return std::make_unique<BoundBatchPlan>(
            spec, QoIndptr(qo_indptr),
            PagesFromPython(kv_indptr, kv_indices, kv_last_page_len, page_size),
            TypeFromName(kv_type));
      }))
      .def("run", &BoundBatchPlan::Run);
  py::class_<BoundBlockSparsePlan, BoundPlan>(module, "BlockSparsePlan")
      .def(py::init([](const py::dict& spec, py::handle m, py::handle n, py::handle r, py::handle c,
                       py::handle indptr, py::handle indices, py::handle packed_mask,
                       const std::string& kv_type) {
        const auto integer = [](py::handle object, const char* name) {
          return int32_t(IntegerFromPython(object, name, 0, 1 << 30));
        };
        const BlockSparseMatrix matrix = {.m = integer(m, "M"),
                                          .n = integer(n, "N"),
                                          .r = integer(r, "R"),
                                          .c = integer(c, "C"),
                                          .indptr = {},
                                          .indices = {}};
        return std::make_unique<BoundBlockSparsePlan>(
            spec, matrix, IndicesFromPython(indptr, "indptr"),
            IndicesFromPython(indices, "indices"),
            packed_mask.is_none() ? std::vector<uint8_t>()
                                  : BytesFromPython(packed_mask, "packed_mask"),
            TypeFromName(kv_type));
      }))
      .def("run", &BoundBlockSparsePlan::Run);
  py::class_<BoundCascadePlan, BoundPlan>(module, "CascadePlan")
      .def(py::init([](const py::dict& spec, const py::list& qo_indptr, const py::list& kv_indptr,
                       const py::list& kv_indices, const py::list& kv_last_page_len,
                       py::handle page_size, const std::string& kv_type) {
        std::vector<BoundCascadePlan::Level> levels(qo_indptr.size());
        for (size_t i = 0; i < levels.size(); ++i) {
          levels[i] = {.qo_indptr = QoIndptr(qo_indptr[i]),
                       .pages = PagesFromPython(kv_indptr[i], kv_indices[i], kv_last_page_len[i],
                                                page_size)};
        }
        return std::make_unique<BoundCascadePlan>(spec, std::move(levels), TypeFromName(kv_type));
      }))
      .def_property_readonly("is_flat", &BoundCascadePlan::is_flat)
      .def("run", &BoundCascadePlan::Run);
  py::class_<BoundMlaPlan, BoundPlan>(module, "MlaPlan")
      .def(py::init([](py::handle num_heads, py::handle head_dim_ckv, py::handle head_dim_kpe,
                       float sm_scale, bool causal, py::handle qo_indptr, py::handle kv_indptr,
                       py::handle kv_indices, py::handle kv_last_page_len, py::handle page_size,
                       const std::string& kv_type) {
        const auto integer = [](py::handle object, const char* name, int64_t min, int64_t max) {
          return uint32_t(IntegerFromPython(object, name, min, max));
        };
        const MlaSpec spec = {.num_heads = integer(num_heads, "num_heads", 1, 1 << 20),
                              .head_dim_ckv = integer(head_dim_ckv, "head_dim_ckv", 1, 576),
                              .head_dim_kpe = integer(head_dim_kpe, "head_dim_kpe", 1, 576),
                              .sm_scale = sm_scale,
                              .causal = causal};
        return std::make_unique<BoundMlaPlan>(
            spec, QoIndptr(qo_indptr),
            PagesFromPython(kv_indptr, kv_indices, kv_last_page_len, page_size),
            TypeFromName(kv_type));
      }))
      .def("run", &BoundMlaPlan::Run);
}

}  // namespace

}  // namespace kvasir

PYBIND11_MODULE(_core, module) {
  kvasir::ThrowIfError(kvasir::ForceCpuTargetFromEnvironment());
  kvasir::BindVariants(module);
  kvasir::BindPlans(module);
  kvasir::BindFunctions(module);
  kvasir::BindSampling(module);
}
