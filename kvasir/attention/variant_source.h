// Turns a user's header of attention variants into the source of a shared object that exports them
// (variant_abi.h). The header holds structs as variant-inl.h describes them, each followed by the
// line KVASIR_ATTENTION_VARIANT(Name), and nothing else around: no includes, no guard, no
// namespace, because it is compiled once for each instruction set inside Kvasir's own. Pure
// functions of text.

#ifndef KVASIR_ATTENTION_VARIANT_SOURCE_H_
#define KVASIR_ATTENTION_VARIANT_SOURCE_H_

#include <string>
#include <string_view>
#include <vector>

#include "kvasir/base/status.h"

namespace kvasir {

// Highway includes the source again for each target: under this name, in a directory of its own on
// the include path.
inline constexpr std::string_view kVariantSourceName = "kvasir_variants.cc";

struct VariantSource {
  std::vector<std::string> names;  // of the variants, as the header has them
  std::string text;
};

// `path` is what compiler messages call the header. kInvalidArgument names path, line and what a
// header of variants may not have.
Result<VariantSource> MakeVariantSource(std::string_view header, const std::string& path);

}  // namespace kvasir

#endif  // KVASIR_ATTENTION_VARIANT_SOURCE_H_
