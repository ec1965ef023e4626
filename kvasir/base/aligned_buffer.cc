#include "kvasir/base/aligned_buffer.h"

#include <sys/mman.h>

#include <string>

namespace kvasir {

AlignedBuffer::~AlignedBuffer() {
  if (data_ != nullptr) munmap(data_, byte_count_);
}

Result<AlignedBuffer> AlignedBuffer::Allocate(size_t byte_count) {
  AlignedBuffer buffer;
  if (byte_count == 0) return buffer;
  void* memory =
      mmap(nullptr, byte_count, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) {
    return ResourceExhausted("cannot allocate " + std::to_string(byte_count >> 20) +
                             " MiB of memory");
  }
  // From 4 MiB up, where rounding to 2 MiB pages costs little. A refusal is harmless.
  if (byte_count >= (4u << 20)) madvise(memory, byte_count, MADV_HUGEPAGE);
  buffer.data_ = static_cast<std::byte*>(memory);
  buffer.byte_count_ = byte_count;
  return buffer;
}

}  // namespace kvasir
