#include "kvasir/python/tensor.h"

#include <algorithm>
#include <utility>

#include "kvasir/python/dlpack.h"

namespace kvasir {

namespace py = pybind11;

namespace {

struct NamedType {
  NumberType type;
  const char* name;
  size_t bytes;
  uint8_t dl_code;
};
constexpr NamedType kTypes[] = {
    {NumberType::kF32, "float32", 4, kDlFloat},    {NumberType::kF16, "float16", 2, kDlFloat},
    {NumberType::kBF16, "bfloat16", 2, kDlBfloat}, {NumberType::kI32, "int32", 4, kDlInt},
    {NumberType::kI64, "int64", 8, kDlInt},        {NumberType::kU32, "uint32", 4, kDlUint},
    {NumberType::kU64, "uint64", 8, kDlUint},      {NumberType::kU8, "uint8", 1, kDlUint},
    {NumberType::kBool, "bool", 1, kDlBool}};

size_t NumberBytes(NumberType type) {
  for (const NamedType& named : kTypes) {
    if (named.type == type) return named.bytes;
  }
  return 1;
}

Tensor FromNumpy(const py::array& array, const std::string& name) {
  Tensor tensor;
  tensor.name = name;
  tensor.type_name = py::cast<std::string>(py::str(array.dtype()));
  for (const NamedType& named : kTypes) {
    // Another byte order has another name.
    if (tensor.type_name == named.name) tensor.type = named.type;
  }
  tensor.data = static_cast<std::byte*>(const_cast<void*>(array.data()));
  tensor.is_writable = array.writeable();
  const auto bytes = int64_t(array.itemsize());
  for (py::ssize_t i = 0; i < array.ndim(); ++i) {
    tensor.shape.push_back(array.shape(i));
    if (array.strides(i) % bytes != 0) {
      ThrowInvalid(name + " has a stride of " + std::to_string(array.strides(i)) +
                   " bytes, allowed are multiples of its numbers' " + std::to_string(bytes));
    }
    tensor.strides.push_back(array.strides(i) / bytes);
  }
  tensor.owner = array;
  return tensor;
}

// Takes over what a capsule lends and gives it back when the object goes.
template <typename Managed>
py::object Keep(Managed* managed, py::handle capsule, const char* used_name) {
  PyCapsule_SetName(capsule.ptr(), used_name);
  return py::capsule(managed, [](void* pointer) {
    auto* lent = static_cast<Managed*>(pointer);
    if (lent->deleter != nullptr) lent->deleter(lent);
  });
}

void FillFromDlTensor(const DlTensor& from, Tensor* tensor) {
  const DlDataType& type = from.dtype;
  tensor->type_name =
      "code " + std::to_string(type.code) + " of " + std::to_string(type.bits) + " bits in DLPack";
  for (const NamedType& named : kTypes) {
    if (type.lanes == 1 && type.code == named.dl_code && type.bits == 8 * named.bytes) {
      tensor->type = named.type;
      tensor->type_name = named.name;
    }
  }
  if (type.lanes == 1 && type.code == kDlFloat && type.bits == 64) tensor->type_name = "float64";
  tensor->data = static_cast<std::byte*>(from.data) + from.byte_offset;
  tensor->shape.assign(from.shape, from.shape + from.ndim);
  if (from.strides != nullptr) {
    tensor->strides.assign(from.strides, from.strides + from.ndim);
    return;
  }
  tensor->strides.resize(size_t(from.ndim));
  int64_t stride = 1;
  for (size_t i = size_t(from.ndim); i-- > 0;) {
    tensor->strides[i] = stride;
    stride *= from.shape[i];
  }
}

// The capsule of the newest protocol that the object speaks.
py::object DlpackCapsule(py::handle object) {
  try {
    return object.attr("__dlpack__")(py::arg("max_version") = py::make_tuple(1, 0));
  } catch (py::error_already_set& error) {
    if (!error.matches(PyExc_TypeError)) throw;
  }
  return object.attr("__dlpack__")();
}

Tensor FromDlpack(py::handle object, const std::string& name) {
  const auto device = py::cast<std::pair<int32_t, int64_t>>(object.attr("__dlpack_device__")());
  if (device.first != kDlCpu && device.first != kDlCudaHost) {
    ThrowInvalid(name + " is on a device of DLPack type " + std::to_string(device.first) +
                 ", allowed is the memory of the CPU");
  }
  Tensor tensor;
  tensor.name = name;
  const py::object capsule = DlpackCapsule(object);
  if (PyCapsule_IsValid(capsule.ptr(), "dltensor_versioned")) {
    auto* managed = static_cast<DlManagedTensorVersioned*>(
        PyCapsule_GetPointer(capsule.ptr(), "dltensor_versioned"));
    if (managed->major != 1) {
      ThrowInvalid(name + " speaks version " + std::to_string(managed->major) +
                   " of DLPack, allowed is 1");
    }
    tensor.owner = Keep(managed, capsule, "used_dltensor_versioned");
    tensor.is_writable = (managed->flags & kDlReadOnly) == 0;
    FillFromDlTensor(managed->tensor, &tensor);
    return tensor;
  }
  if (!PyCapsule_IsValid(capsule.ptr(), "dltensor")) {
    ThrowInvalid(name + " has a __dlpack__ that gives no DLPack capsule");
  }
  auto* managed = static_cast<DlManagedTensor*>(PyCapsule_GetPointer(capsule.ptr(), "dltensor"));
  tensor.owner = Keep(managed, capsule, "used_dltensor");
  FillFromDlTensor(managed->tensor, &tensor);
  return tensor;
}

std::string ListText(const std::vector<int64_t>& numbers) {
  std::string text = "[";
  for (size_t i = 0; i < numbers.size(); ++i) {
    text += (i == 0 ? "" : ", ") + std::to_string(numbers[i]);
  }
  return text + "]";
}

}  // namespace

std::string Tensor::ShapeText() const { return ListText(shape); }

void ThrowInvalid(const std::string& message) { throw py::value_error(message); }

void ThrowIfError(const Status& status) {
  if (status.ok()) return;
  if (status.code() == StatusCode::kResourceExhausted) {
    PyErr_SetString(PyExc_MemoryError, status.message().c_str());
    throw py::error_already_set();
  }
  throw py::value_error(status.message());
}

Tensor TensorFromPython(py::handle object, const std::string& name) {
  if (py::isinstance<py::array>(object)) {
    return FromNumpy(py::reinterpret_borrow<py::array>(object), name);
  }
  if (py::hasattr(object, "__dlpack__") && py::hasattr(object, "__dlpack_device__")) {
    return FromDlpack(object, name);
  }
  ThrowInvalid(name + " is a " +
               py::cast<std::string>(py::str(object.get_type().attr("__name__"))) +
               ", allowed are numpy arrays and objects with __dlpack__");
}

void CheckNumbers(const Tensor& tensor, size_t rank, const char* dimensions) {
  if (tensor.type != NumberType::kF32 && tensor.type != NumberType::kF16 &&
      tensor.type != NumberType::kBF16) {
    ThrowInvalid(tensor.name + " has dtype " + tensor.type_name +
                 ", allowed are float32, float16 and bfloat16");
  }
  if (tensor.rank() != rank) {
    ThrowInvalid(tensor.name + " has shape " + tensor.ShapeText() + ", allowed is " + dimensions);
  }
  // Strides of arrays without numbers mean nothing.
  const bool is_empty = std::count(tensor.shape.begin(), tensor.shape.end(), 0) > 0;
  if (!is_empty && tensor.shape.back() > 1 && tensor.strides.back() != 1) {
    ThrowInvalid(tensor.name + " has a stride of " + std::to_string(tensor.strides.back()) +
                 " numbers in its last dimension, allowed is 1");
  }
  if (reinterpret_cast<uintptr_t>(tensor.data) % NumberBytes(tensor.type) != 0) {
    ThrowInvalid(tensor.name + " is not aligned to its numbers");
  }
}

void CheckShape(const Tensor& tensor, const std::vector<int64_t>& shape) {
  if (tensor.shape == shape) return;
  ThrowInvalid(tensor.name + " has shape " + tensor.ShapeText() + ", allowed is " +
               ListText(shape));
}

KvRowType RowType(const Tensor& tensor) {
  if (tensor.type == NumberType::kF32) return KvRowType::kF32;
  return tensor.type == NumberType::kBF16 ? KvRowType::kBF16 : KvRowType::kF16;
}

}  // namespace kvasir
