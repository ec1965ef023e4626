#include "kvasir/cli/toml_file.h"

#include <toml++/toml.h>

#include <sstream>

#include "kvasir/base/mapped_file.h"

namespace kvasir {

namespace {

constexpr size_t kTomlBytesMax = 1 << 20;

Json ToJson(const toml::node& node) {
  if (const auto* table = node.as_table()) {
    Json object = Json::object();
    for (const auto& [key, value] : *table) object[std::string(key.str())] = ToJson(value);
    return object;
  }
  if (const auto* array = node.as_array()) {
    Json list = Json::array();
    for (const auto& value : *array) list.push_back(ToJson(value));
    return list;
  }
  if (const auto* text = node.as_string()) return text->get();
  if (const auto* integer = node.as_integer()) return integer->get();
  if (const auto* real = node.as_floating_point()) return real->get();
  if (const auto* boolean = node.as_boolean()) return boolean->get();
  std::ostringstream text;
  if (const auto* date = node.as_date()) text << date->get();
  if (const auto* time = node.as_time()) text << time->get();
  if (const auto* moment = node.as_date_time()) text << moment->get();
  return text.str();
}

}  // namespace

Result<Json> ParseToml(const std::string& text, const std::string& name) {
  try {
    return ToJson(toml::parse(text));
  } catch (const toml::parse_error& error) {
    return InvalidArgument(name + ", line " + std::to_string(error.source().begin.line) + ": " +
                           std::string(error.description()));
  }
}

Result<Json> ReadTomlFile(const std::string& path) {
  KVASIR_ASSIGN_OR_RETURN(const std::string text, ReadFile(path, kTomlBytesMax));
  return ParseToml(text, path);
}

}  // namespace kvasir
