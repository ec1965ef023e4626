// AlignedBuffer: a fixed run of zeroed bytes for weights, activations and KV blocks: page-aligned,
// taken from the kernel with mmap, huge pages asked for where it is large. Movable, not copyable;
// the bytes live as long as the object. One owner; the bytes themselves may be shared between
// threads as their users agree.

#ifndef KVASIR_BASE_ALIGNED_BUFFER_H_
#define KVASIR_BASE_ALIGNED_BUFFER_H_

#include <cstddef>
#include <span>
#include <utility>

#include "kvasir/base/status.h"

namespace kvasir {

class AlignedBuffer {
 public:
  AlignedBuffer() = default;
  AlignedBuffer(AlignedBuffer&& other) noexcept { *this = std::move(other); }
  AlignedBuffer& operator=(AlignedBuffer&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(byte_count_, other.byte_count_);
    return *this;
  }
  ~AlignedBuffer();

  // Zeroed bytes at a 4 KiB boundary. kResourceExhausted names the size when the kernel has none. 0
  // bytes is allowed.
  static Result<AlignedBuffer> Allocate(size_t byte_count);

  std::byte* data() const { return data_; }
  size_t size() const { return byte_count_; }
  template <typename T>
  T* as() const {
    return reinterpret_cast<T*>(data_);
  }

 private:
  std::byte* data_ = nullptr;
  size_t byte_count_ = 0;
};

}  // namespace kvasir

#endif  // KVASIR_BASE_ALIGNED_BUFFER_H_
