#include "kvasir/weights/hf_config.h"

namespace kvasir {

namespace {

const Json* Member(const Json& object, std::string_view key) {
  const auto it = object.find(std::string(key));
  return it == object.end() ? nullptr : &*it;
}

FieldValue ToField(const Json* json) {
  if (json == nullptr || json->is_null()) return FieldAbsent{};
  if (json->is_boolean()) return json->get<bool>();
  if (json->is_number_unsigned()) return json->get<uint64_t>();
  if (json->is_number_integer()) return json->get<int64_t>();
  if (json->is_number_float()) return json->get<double>();
  if (json->is_string()) return std::string_view(json->get_ref<const std::string&>());
  return FieldOther{json->is_array() ? "an array" : "an object"};
}

}  // namespace

FieldValue JsonFields::Find(std::string_view key) const { return ToField(Member(object_, key)); }

Result<HfConfig> HfConfig::Parse(std::string_view text) {
  HfConfig config;
  KVASIR_ASSIGN_OR_RETURN(config.root_, ParseJson(text, {.depth_max = 32}));
  if (!config.root_.is_object()) return InvalidArgument("config.json is not a JSON object");
  return config;
}

std::string HfConfig::model_type() const {
  const FieldValue value = Find("model_type");
  const auto* text = std::get_if<std::string_view>(&value);
  return text == nullptr ? "" : std::string(*text);
}

const Json* HfConfig::FindJson(std::string_view key) const {
  const Json* text_config = Member(root_, "text_config");
  if (text_config != nullptr && text_config->is_object()) {
    const Json* inner = Member(*text_config, key);
    if (inner != nullptr) return inner;
  }
  return Member(root_, key);
}

FieldValue HfConfig::Find(std::string_view key) const { return ToField(FindJson(key)); }

}  // namespace kvasir
