#include "kvasir/text/jinja_value.h"

#include <algorithm>
#include <limits>

#include "kvasir/text/jinja_runtime.h"
#include "kvasir/text/jinja_unicode.h"

namespace kvasir {

namespace {

Status TooDeep(size_t depth_max) {
  return ResourceExhausted("values of the chat template are nested deeper than " +
                           std::to_string(depth_max) + " levels");
}

Result<JinjaValue> ArrayFromJson(const Json& json, size_t depth_max) {
  std::vector<JinjaValue> items;
  items.reserve(json.size());
  for (const Json& element : json) {
    KVASIR_ASSIGN_OR_RETURN(JinjaValue item, JinjaFromJson(element, depth_max - 1));
    items.push_back(std::move(item));
  }
  return JinjaValue::List(std::move(items), depth_max);
}

Result<JinjaValue> ObjectFromJson(const Json& json, size_t depth_max) {
  std::vector<std::pair<JinjaValue, JinjaValue>> entries;
  entries.reserve(json.size());
  for (auto it = json.begin(); it != json.end(); ++it) {
    KVASIR_ASSIGN_OR_RETURN(JinjaValue value, JinjaFromJson(it.value(), depth_max - 1));
    entries.emplace_back(JinjaValue(it.key()), std::move(value));
  }
  return JinjaValue::Dict(std::move(entries), depth_max);
}

}  // namespace

size_t JinjaRange::length() const {
  // Bounds are within 64 bits and step is not 0; the distance needs 65 bits.
  const __int128 distance = static_cast<__int128>(stop) - start;
  if ((step > 0 && distance <= 0) || (step < 0 && distance >= 0)) return 0;
  const __int128 stride = step;
  return static_cast<size_t>((distance + stride + (step > 0 ? -1 : 1)) / stride);
}

JinjaValue::JinjaValue(std::string text, bool markup) {
  const size_t char_count = JinjaCharCount(text);
  rep_ = std::make_shared<const JinjaString>(JinjaString{std::move(text), char_count, markup});
}

JinjaValue JinjaValue::Undefined(std::string message) {
  JinjaValue value;
  value.rep_ = std::make_shared<const UndefinedInfo>(UndefinedInfo{std::move(message)});
  return value;
}

Result<JinjaValue> JinjaValue::List(std::vector<JinjaValue> items, size_t depth_max,
                                    JinjaListKind kind) {
  size_t depth = 0;
  bool hashable = kind == JinjaListKind::kTuple;
  for (const JinjaValue& item : items) {
    depth = std::max(depth, item.depth());
    hashable = hashable && item.hashable();
  }
  if (depth + 1 > depth_max) return TooDeep(depth_max);
  JinjaValue value;
  value.rep_ =
      std::make_shared<const JinjaList>(JinjaList{kind, std::move(items), depth + 1, hashable});
  return value;
}

Result<JinjaValue> JinjaValue::Dict(std::vector<std::pair<JinjaValue, JinjaValue>> entries,
                                    size_t depth_max) {
  size_t depth = 0;
  for (const auto& [key, item] : entries) depth = std::max({depth, key.depth(), item.depth()});
  if (depth + 1 > depth_max) return TooDeep(depth_max);
  JinjaValue value;
  value.rep_ = std::make_shared<const JinjaDict>(JinjaDict{std::move(entries), depth + 1});
  return value;
}

bool JinjaValue::is_list_of(JinjaListKind list_kind) const {
  return kind() == JinjaKind::kList && list().kind == list_kind;
}

bool JinjaValue::is_list_or_tuple() const {
  return is_list_of(JinjaListKind::kList) || is_list_of(JinjaListKind::kTuple);
}

const std::string& JinjaValue::undefined_message() const {
  return std::get<std::shared_ptr<const UndefinedInfo>>(rep_)->message;
}

int64_t JinjaValue::integral() const {
  return is_bool() ? static_cast<int64_t>(boolean()) : std::get<int64_t>(rep_);
}

double JinjaValue::number() const {
  return is_float() ? std::get<double>(rep_) : static_cast<double>(integral());
}

size_t JinjaValue::depth() const {
  switch (kind()) {
    case JinjaKind::kList:
      return list().depth;
    case JinjaKind::kDict:
      return dict().depth;
    case JinjaKind::kObject:
      return object()->kind() == JinjaObjectKind::kIterator
                 ? static_cast<const JinjaIterator*>(object())->depth()
                 : 0;
    default:
      return 0;
  }
}

bool JinjaValue::hashable() const {
  if (kind() == JinjaKind::kList) return list().hashable;
  return !is_dict();
}

bool JinjaValue::IsSame(const JinjaValue& other) const {
  if (kind() != other.kind()) return false;
  switch (kind()) {
    case JinjaKind::kNone:
      return true;
    case JinjaKind::kBool:
    case JinjaKind::kInt:
      return integral() == other.integral();
    case JinjaKind::kRange:
      return false;
    default:
      return rep_ == other.rep_;
  }
}

Result<JinjaValue> JinjaFromJson(const Json& json, size_t depth_max) {
  constexpr uint64_t kIntMax = std::numeric_limits<int64_t>::max();
  if (json.is_structured() && depth_max == 0) {
    return ResourceExhausted("the inputs of the chat template are nested too deeply");
  }
  switch (json.type()) {
    case Json::value_t::array:
      return ArrayFromJson(json, depth_max);
    case Json::value_t::object:
      return ObjectFromJson(json, depth_max);
    case Json::value_t::string:
      return JinjaValue(json.get_ref<const std::string&>());
    case Json::value_t::boolean:
      return JinjaValue(json.get<bool>());
    case Json::value_t::number_integer:
      return JinjaValue(json.get<int64_t>());
    case Json::value_t::number_unsigned:
      return json.get<uint64_t>() <= kIntMax ? JinjaValue(json.get<int64_t>())
                                             : JinjaValue(json.get<double>());
    case Json::value_t::number_float:
      return JinjaValue(json.get<double>());
    default:
      return JinjaValue();
  }
}

std::string_view JinjaTypeName(const JinjaValue& value) {
  switch (value.kind()) {
    case JinjaKind::kUndefined:
      return "Undefined";
    case JinjaKind::kNone:
      return "NoneType";
    case JinjaKind::kBool:
      return "bool";
    case JinjaKind::kInt:
      return "int";
    case JinjaKind::kFloat:
      return "float";
    case JinjaKind::kString:
      return value.string().markup ? "Markup" : "str";
    case JinjaKind::kList: {
      constexpr std::string_view kNames[] = {"list", "tuple", "dict_keys", "dict_values",
                                             "dict_items"};
      return kNames[static_cast<size_t>(value.list().kind)];
    }
    case JinjaKind::kDict:
      return "dict";
    case JinjaKind::kRange:
      return "range";
    case JinjaKind::kObject:
      return value.object()->type_name();
  }
  return "object";
}

bool JinjaTruth(const JinjaValue& value) {
  switch (value.kind()) {
    case JinjaKind::kUndefined:
    case JinjaKind::kNone:
      return false;
    case JinjaKind::kBool:
    case JinjaKind::kInt:
      return value.integral() != 0;
    case JinjaKind::kFloat:
      return value.number() != 0;
    case JinjaKind::kString:
      return !value.text().empty();
    case JinjaKind::kList:
      return !value.list().items.empty();
    case JinjaKind::kDict:
      return !value.dict().entries.empty();
    case JinjaKind::kRange:
      return value.range().length() != 0;
    case JinjaKind::kObject:
      return true;
  }
  return true;
}

}  // namespace kvasir
