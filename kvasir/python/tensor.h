// Tensor: an array of Python's as the module sees it: numpy arrays, and whatever has __dlpack__ in
// the memory of the CPU (torch, jax, ...), without a copy. Holds a reference to the object, so the
// memory stays; create, copy and destroy it with the GIL held, read the fields without.

#ifndef KVASIR_PYTHON_TENSOR_H_
#define KVASIR_PYTHON_TENSOR_H_

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "kvasir/attention/paged_kv.h"
#include "kvasir/base/status.h"

namespace kvasir {

enum class NumberType : uint8_t { kF32, kF16, kBF16, kI32, kI64, kU32, kU64, kU8, kBool, kOther };

struct Tensor {
  std::string name;       // of the argument, for messages
  std::string type_name;  // "float32"
  NumberType type = NumberType::kOther;
  std::byte* data = nullptr;
  std::vector<int64_t> shape;
  std::vector<int64_t> strides;  // in numbers
  bool is_writable = true;
  pybind11::object owner;

  size_t rank() const { return shape.size(); }
  std::string ShapeText() const;  // "[3, 4]"
};

// Throws ValueError with the Status' sentence (MemoryError for kResourceExhausted) when not ok.
void ThrowIfError(const Status& status);
[[noreturn]] void ThrowInvalid(const std::string& message);

// Throws ValueError that names the argument when the object is no array, not in the memory of a
// CPU, or cannot be viewed.
Tensor TensorFromPython(pybind11::handle object, const std::string& name);

// Throws ValueError unless the tensor has this many dimensions, numbers f32, f16 or bf16, aligned,
// and the last dimension contiguous.
void CheckNumbers(const Tensor& tensor, size_t rank, const char* dimensions);

// Throws ValueError unless the shape is this one.
void CheckShape(const Tensor& tensor, const std::vector<int64_t>& shape);

// REQUIRES CheckNumbers.
KvRowType RowType(const Tensor& tensor);

}  // namespace kvasir

#endif  // KVASIR_PYTHON_TENSOR_H_
