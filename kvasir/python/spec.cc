#include "kvasir/python/spec.h"

#include "kvasir/python/tensor.h"

namespace kvasir {

namespace py = pybind11;

namespace {

// The numbers of a dense array of T.
template <typename T>
std::vector<T> Numbers(py::handle object, const std::string& name, NumberType type) {
  const Tensor tensor = TensorFromPython(object, name);
  const bool is_dense = tensor.rank() == 1 && (tensor.shape[0] <= 1 || tensor.strides[0] == 1);
  if (tensor.type != type || !is_dense) {
    ThrowInvalid(name + " has dtype " + tensor.type_name + " and shape " + tensor.ShapeText() +
                 ", a dense array of one dimension is needed");
  }
  const T* from = reinterpret_cast<const T*>(tensor.data);
  return std::vector<T>(from, from + tensor.shape[0]);
}

float FloatField(const py::dict& from, const char* name, float absent) {
  if (!from.contains(name) || from[name].is_none()) return absent;
  const double value = PyFloat_AsDouble(py::object(from[name]).ptr());
  if (PyErr_Occurred() != nullptr) throw py::error_already_set();
  return float(value);
}

}  // namespace

int64_t IntegerFromPython(py::handle object, const std::string& name, int64_t min, int64_t max) {
  const py::object index = py::reinterpret_steal<py::object>(PyNumber_Index(object.ptr()));
  if (!index) {
    PyErr_Clear();
    throw py::type_error(name + " is not an integer");
  }
  int overflow = 0;
  const int64_t value = PyLong_AsLongLongAndOverflow(index.ptr(), &overflow);
  if (overflow != 0 || value < min || value > max) {
    ThrowInvalid(name + " is " + py::cast<std::string>(py::str(index)) + ", allowed is " +
                 std::to_string(min) + " to " + std::to_string(max));
  }
  return value;
}

std::vector<int32_t> IndicesFromPython(py::handle object, const std::string& name) {
  return Numbers<int32_t>(object, name, NumberType::kI32);
}

std::vector<float> FloatsFromPython(py::handle object, const std::string& name) {
  return Numbers<float>(object, name, NumberType::kF32);
}

std::vector<uint8_t> BytesFromPython(py::handle object, const std::string& name) {
  return Numbers<uint8_t>(object, name, NumberType::kU8);
}

void ReadSpec(const py::dict& from, OwnedSpec* owned) {
  constexpr int64_t kHeadsMax = 1 << 20;
  AttentionSpec& spec = owned->spec;
  const auto integer = [&](const char* name, int64_t min, int64_t max) {
    return IntegerFromPython(from[name], name, min, max);
  };
  spec.num_qo_heads = uint32_t(integer("num_qo_heads", 1, kHeadsMax));
  spec.num_kv_heads = uint32_t(integer("num_kv_heads", 1, kHeadsMax));
  spec.head_dim = uint32_t(integer("head_dim", 1, 576));
  spec.head_dim_vo = uint32_t(integer("head_dim_vo", 1, 576));
  spec.window_left = int32_t(integer("window_left", -1, INT32_MAX));
  spec.causal = py::cast<bool>(from["causal"]);
  spec.sm_scale = FloatField(from, "sm_scale", 0);
  spec.logits_soft_cap = FloatField(from, "logits_soft_cap", 0);
  owned->rope_theta = FloatField(from, "rope_theta", 0);
  owned->rope_scale = FloatField(from, "rope_scale", 1);
  const auto has = [&](const char* name) { return from.contains(name) && !from[name].is_none(); };
  if (has("alibi_slopes")) {
    owned->alibi_slopes = FloatsFromPython(from["alibi_slopes"], "alibi_slopes");
    spec.alibi_slopes = owned->alibi_slopes;
  }
  if (has("sinks")) {
    owned->sinks = FloatsFromPython(from["sinks"], "sinks");
    spec.sinks = owned->sinks;
  }
  if (has("variant")) {
    owned->variant = py::cast<std::shared_ptr<BoundVariant>>(py::object(from["variant"]));
    spec.variant = &owned->variant->variant;
  }
  if (has("packed_custom_mask")) {
    owned->packed_custom_mask = BytesFromPython(from["packed_custom_mask"], "packed_custom_mask");
    // A mask without bits is still a mask: of queries that see no keys at all, or none.
    if (owned->packed_custom_mask.empty()) owned->packed_custom_mask.push_back(0);
    spec.packed_custom_mask = owned->packed_custom_mask;
    owned->mask_indptr = IndicesFromPython(from["mask_indptr"], "mask_indptr");
    spec.mask_indptr = owned->mask_indptr;
  }
}

void MakeRope(int64_t length_max, OwnedSpec* owned) {
  if (owned->rope_theta == 0) return;
  Result<RopeTable> table = RopeTable::Create(owned->spec.head_dim, owned->rope_theta,
                                              owned->rope_scale, size_t(length_max));
  ThrowIfError(table.status());
  owned->rope = std::move(table).value();
  owned->spec.rope = &owned->rope;
}

}  // namespace kvasir
