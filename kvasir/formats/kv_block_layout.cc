#include "kvasir/formats/kv_block_layout.h"

namespace kvasir {

std::string_view KvFormatName(KvFormat format) {
  switch (format) {
    case KvFormat::kF32:
      return "f32";
    case KvFormat::kBF16:
      return "bf16";
  }
  return "unknown";
}

std::optional<KvFormat> KvFormatFromName(std::string_view name) {
  for (const KvFormat format : {KvFormat::kF32, KvFormat::kBF16}) {
    if (name == KvFormatName(format)) return format;
  }
  return std::nullopt;
}

}  // namespace kvasir
