#include "kvasir/formats/dtype.h"

#include <array>
#include <cctype>

#include "kvasir/base/check.h"
#include "kvasir/formats/gguf_quants.h"

namespace kvasir {

namespace {

// In the order of the enumerators.
constexpr std::array<DTypeInfo, kDTypeCount> kInfo = {{
    {"F32", 1, 4},
    {"F16", 1, 2},
    {"BF16", 1, 2},
    {"Q8_0", Q8_0Layout::kElements, Q8_0Layout::kBytes},
    {"Q4_0", Q4_0Layout::kElements, Q4_0Layout::kBytes},
    {"Q4_1", Q4_1Layout::kElements, Q4_1Layout::kBytes},
    {"Q5_0", Q5_0Layout::kElements, Q5_0Layout::kBytes},
    {"Q5_1", Q5_1Layout::kElements, Q5_1Layout::kBytes},
    {"Q4_K", Q4_KLayout::kElements, Q4_KLayout::kBytes},
    {"Q5_K", Q5_KLayout::kElements, Q5_KLayout::kBytes},
    {"Q6_K", Q6_KLayout::kElements, Q6_KLayout::kBytes},
}};

bool EqualIgnoringCase(std::string_view a, std::string_view b) {
  if (a.size() != b.size()) return false;
  for (size_t i = 0; i < a.size(); ++i) {
    if (std::toupper(static_cast<unsigned char>(a[i])) !=
        std::toupper(static_cast<unsigned char>(b[i]))) {
      return false;
    }
  }
  return true;
}

}  // namespace

const DTypeInfo& GetDTypeInfo(DType dtype) {
  const size_t index = static_cast<size_t>(dtype);
  KVASIR_CHECK(index < kInfo.size());
  return kInfo[index];
}

std::optional<DType> DTypeFromName(std::string_view name) {
  for (size_t i = 0; i < kInfo.size(); ++i) {
    if (EqualIgnoringCase(name, kInfo[i].name)) return static_cast<DType>(i);
  }
  return std::nullopt;
}

size_t DTypeBytes(DType dtype, size_t element_count) {
  const DTypeInfo& info = GetDTypeInfo(dtype);
  KVASIR_CHECK(element_count % info.block_elements == 0);
  return element_count / info.block_elements * info.block_bytes;
}

}  // namespace kvasir
