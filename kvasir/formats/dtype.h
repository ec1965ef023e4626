// DType: how the numbers of a tensor lie in bytes, plain or in quantised blocks. Names and layouts
// of the quantised ones are those of GGUF (ggml); gguf_quants.h turns them into floats.

#ifndef KVASIR_FORMATS_DTYPE_H_
#define KVASIR_FORMATS_DTYPE_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace kvasir {

enum class DType : uint8_t {
  kF32,
  kF16,
  kBF16,
  kQ8_0,
  kQ4_0,
  kQ4_1,
  kQ5_0,
  kQ5_1,
  kQ4_K,
  kQ5_K,
  kQ6_K
};
inline constexpr size_t kDTypeCount = 11;

struct DTypeInfo {
  std::string_view name;    // "Q4_K"
  uint32_t block_elements;  // numbers in a block; 1 for plain types
  uint32_t block_bytes;
};

// REQUIRES a valid enumerator.
const DTypeInfo& GetDTypeInfo(DType dtype);
// Accepts "Q4_K", "q4_k", "f32" ...
std::optional<DType> DTypeFromName(std::string_view name);

// Bytes of `element_count` numbers. REQUIRES element_count to be a multiple of block_elements.
size_t DTypeBytes(DType dtype, size_t element_count);

}  // namespace kvasir

#endif  // KVASIR_FORMATS_DTYPE_H_
