// Fuzz target: bytes as a safetensors file, and as the index of a sharded one. Every byte that a
// tensor claims is read.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "kvasir/weights/safetensors.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto tensors = kvasir::ParseSafetensors(std::as_bytes(std::span(data, size)));
  volatile unsigned sum = 0;
  if (tensors.ok()) {
    for (const kvasir::FileTensor& tensor : *tensors) {
      for (const std::byte b : tensor.bytes) sum = sum + std::to_integer<unsigned>(b);
    }
  }
  (void)kvasir::ReadShardNames({reinterpret_cast<const char*>(data), size}).ok();
  return 0;
}
