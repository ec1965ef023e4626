// The structs of DLPack (github.com/dmlc/dlpack, version 1), the protocol by which Python's array
// libraries lend each other memory: what __dlpack__ puts into a capsule. Layouts are the
// protocol's; both the old capsule ("dltensor") and the versioned one have the same tensor.

#ifndef KVASIR_PYTHON_DLPACK_H_
#define KVASIR_PYTHON_DLPACK_H_

#include <cstdint>

namespace kvasir {

struct DlDevice {
  int32_t device_type;  // kDlCpu ...
  int32_t device_id;
};
inline constexpr int32_t kDlCpu = 1;
inline constexpr int32_t kDlCudaHost = 3;  // pinned memory of the CPU

struct DlDataType {
  uint8_t code;  // kDlInt ...
  uint8_t bits;
  uint16_t lanes;
};
inline constexpr uint8_t kDlInt = 0, kDlUint = 1, kDlFloat = 2, kDlBfloat = 4, kDlBool = 6;

struct DlTensor {
  void* data;
  DlDevice device;
  int32_t ndim;
  DlDataType dtype;
  int64_t* shape;
  int64_t* strides;  // in numbers; null: dense rows
  uint64_t byte_offset;
};

struct DlManagedTensor {
  DlTensor tensor;
  void* manager;
  void (*deleter)(DlManagedTensor* self);
};

struct DlManagedTensorVersioned {
  uint32_t major;
  uint32_t minor;
  void* manager;
  void (*deleter)(DlManagedTensorVersioned* self);
  uint64_t flags;  // kDlReadOnly
  DlTensor tensor;
};
inline constexpr uint64_t kDlReadOnly = 1;

}  // namespace kvasir

#endif  // KVASIR_PYTHON_DLPACK_H_
