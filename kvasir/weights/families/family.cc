#include "kvasir/weights/families/family.h"

#include <algorithm>

#include "kvasir/weights/printable.h"

namespace kvasir {

namespace {

using NamesOf = const std::vector<std::string_view> ModelFamily::*;

Result<const ModelFamily*> FamilyBy(NamesOf names_of, std::string_view name,
                                    std::string_view field) {
  std::string supported;
  for (const ModelFamily* family : AllFamilies()) {
    const std::vector<std::string_view>& names = family->*names_of;
    if (std::find(names.begin(), names.end(), name) != names.end()) return family;
    for (const std::string_view known : names) {
      supported += (supported.empty() ? "" : ", ") + std::string(known);
    }
  }
  return Unimplemented(std::string(field) + " is \"" + Printable(name) + "\", supported are " +
                       supported);
}

}  // namespace

const std::vector<const ModelFamily*>& AllFamilies() {
  static const std::vector<const ModelFamily*> families = {
      &LlamaFamily(), &MistralFamily(), &Qwen2Family(), &Qwen3Family(), &Gemma3Family(),
  };
  return families;
}

Result<const ModelFamily*> FamilyByGgufArchitecture(std::string_view architecture) {
  return FamilyBy(&ModelFamily::gguf_architectures, architecture, "general.architecture");
}

Result<const ModelFamily*> FamilyByHfModelType(std::string_view model_type) {
  return FamilyBy(&ModelFamily::hf_model_types, model_type, "model_type in config.json");
}

}  // namespace kvasir
