#include "kvasir/formats/kv_block_layout.h"

#include <algorithm>
#include <utility>

#include "kvasir/base/check.h"

namespace kvasir {

std::string_view KvFormatName(KvFormat format) {
  switch (format) {
    case KvFormat::kF32:
      return "f32";
    case KvFormat::kBF16:
      return "bf16";
    case KvFormat::kInt8:
      return "int8";
    case KvFormat::kInt4:
      return "int4";
    case KvFormat::kFp8E4M3:
      return "fp8_e4m3";
    case KvFormat::kFp8E5M2:
      return "fp8_e5m2";
  }
  return "unknown";
}

std::optional<KvFormat> KvFormatFromName(std::string_view name) {
  for (const KvFormat format : kKvFormats) {
    if (name == KvFormatName(format)) return format;
  }
  return std::nullopt;
}

std::string KvFormatsName(KvFormats formats) {
  const std::string k(KvFormatName(formats.k));
  return formats.k == formats.v ? k : k + "/" + std::string(KvFormatName(formats.v));
}

std::optional<KvFormats> KvFormatsFromName(std::string_view name) {
  if (name == "k8v4") return KvFormats(KvFormat::kInt8, KvFormat::kInt4);
  const size_t slash = std::min(name.find('/'), name.size());
  const auto k = KvFormatFromName(name.substr(0, slash));
  const auto v = slash == name.size() ? k : KvFormatFromName(name.substr(slash + 1));
  if (!k || !v || (*k != *v && (*k == KvFormat::kF32 || *v == KvFormat::kF32))) {
    return std::nullopt;
  }
  return KvFormats(*k, *v);
}

std::string KvFormatsHelp() {
  std::string names;
  for (const KvFormat format : kKvFormats) names += std::string(KvFormatName(format)) + "|";
  return names + "k8v4|K/V";
}

std::string KvLayoutName(const KvBlockLayout& layout) {
  return layout.layers ? "mixed" : KvFormatsName(layout.format);
}

bool KvBlockLayout::quantized() const {
  if (!layers) return format.quantized();
  return std::any_of(layers->formats.begin(), layers->formats.end(),
                     [](KvFormats layer) { return layer.quantized(); });
}

bool KvBlockLayout::rotates() const {
  for (uint32_t layer = 0; layer < layer_count; ++layer) {
    if (RotatesKeys(layer) || RotatesValues(layer)) return true;
    if (!layers) return false;
  }
  return false;
}

bool KvBlockLayout::operator==(const KvBlockLayout& other) const {
  if (layer_count != other.layer_count || kv_head_count != other.kv_head_count ||
      head_dim != other.head_dim) {
    return false;
  }
  if (rotates() != other.rotates() || open_blocks != other.open_blocks) return false;
  if (!layers && !other.layers) return format == other.format;
  for (uint32_t layer = 0; layer < layer_count; ++layer) {
    if (formats(layer) != other.formats(layer)) return false;
  }
  return true;
}

KvBlockLayout MixedKvLayout(const KvBlockLayout& layout, std::span<const KvFormats> formats) {
  KVASIR_CHECK(formats.size() == layout.layer_count);
  KvBlockLayout mixed = layout;
  if (formats.empty()) return mixed;
  mixed.format = formats[0];
  mixed.layers = nullptr;
  if (std::all_of(formats.begin(), formats.end(),
                  [&](KvFormats layer) { return layer == formats[0]; })) {
    return mixed;
  }
  auto map = std::make_shared<KvLayerMap>();
  map->formats.assign(formats.begin(), formats.end());
  map->offsets.assign(1, 0);
  for (const KvFormats layer : formats) {
    mixed.format = layer;
    map->offsets.push_back(map->offsets.back() + mixed.layer_bytes(0));
  }
  mixed.format = formats[0];
  mixed.layers = std::move(map);
  return mixed;
}

}  // namespace kvasir
