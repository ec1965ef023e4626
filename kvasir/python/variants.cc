#include "kvasir/python/variants.h"

#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "kvasir/attention/variant_library.h"
#include "kvasir/python/tensor.h"

namespace kvasir {

namespace py = pybind11;

namespace {

// `params` are the bytes of the user's struct.
std::shared_ptr<BoundVariant> Bind(const LoadedAttentionVariant& loaded, const py::bytes& params) {
  const std::string_view bytes = params;
  auto bound = std::make_shared<BoundVariant>();
  Result<AlignedBuffer> memory = AlignedBuffer::Allocate(bytes.size());
  ThrowIfError(memory.status());
  bound->params = std::move(memory).value();
  if (!bytes.empty()) std::memcpy(bound->params.data(), bytes.data(), bytes.size());
  Result<AttentionVariant> variant =
      BindAttentionVariant(loaded, std::span<const std::byte>(bound->params.data(), bytes.size()));
  ThrowIfError(variant.status());
  bound->variant = *variant;
  return bound;
}

}  // namespace

void BindVariants(py::module_& module) {
  py::class_<LoadedAttentionVariant>(module, "LoadedVariant")
      .def_readonly("name", &LoadedAttentionVariant::name)
      .def_readonly("params_bytes", &LoadedAttentionVariant::params_bytes)
      .def_readonly("use_softmax", &LoadedAttentionVariant::use_softmax)
      .def("bind", &Bind);
  py::class_<BoundVariant, std::shared_ptr<BoundVariant>>(module, "BoundVariant");
  module.def("load_variants", [](const std::string& path) {
    Result<std::vector<LoadedAttentionVariant>> variants = LoadAttentionVariants(path);
    ThrowIfError(variants.status());
    py::list list;
    for (const LoadedAttentionVariant& variant : *variants) list.append(py::cast(variant));
    return list;
  });
}

}  // namespace kvasir
