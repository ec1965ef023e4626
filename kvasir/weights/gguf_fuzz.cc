// Fuzz target: bytes as a GGUF file, opened as a checkpoint and read whole.

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "kvasir/formats/gguf_quants.h"
#include "kvasir/weights/checkpoint_builder.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using kvasir::CheckpointBuilder;
  const auto checkpoint = CheckpointBuilder::FromGgufBytes(std::as_bytes(std::span(data, size)));
  if (!checkpoint.ok()) return 0;
  for (const auto& [key, tensor] : (*checkpoint)->tensors()) {
    std::vector<float> row(tensor.cols);
    const size_t row_bytes = kvasir::DTypeBytes(tensor.dtype, tensor.cols);
    for (uint64_t r = 0; r < tensor.rows; ++r) {
      kvasir::DequantizeRow(tensor.dtype, tensor.bytes.data() + r * row_bytes, tensor.cols,
                            row.data());
    }
  }
  return 0;
}
