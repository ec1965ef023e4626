#include "kvasir/text/tokenizer_json_value.h"

#include <cstdint>
#include <exception>

namespace kvasir {

namespace {

constexpr size_t kByteCountMax = size_t{256} << 20;
constexpr int kDepthMax = 64;
constexpr int64_t kTokenIdEnd = int64_t{1} << 24;

}  // namespace

Result<JsonValue> ParseTokenizerJson(std::string_view text) {
  if (text.size() > kByteCountMax) {
    return InvalidArgument("tokenizer.json has " + std::to_string(text.size()) +
                           " bytes, at most " + std::to_string(kByteCountMax) + " are allowed");
  }
  bool too_deep = false;
  const auto limit_depth = [&](int depth, JsonValue::parse_event_t event, JsonValue&) {
    too_deep |= depth > kDepthMax;
    return depth <= kDepthMax;  // false: deeper values are dropped
  };
  try {
    JsonValue value = JsonValue::parse(text.begin(), text.end(), limit_depth);
    if (too_deep) {
      return InvalidArgument("tokenizer.json is nested deeper than " + std::to_string(kDepthMax) +
                             " levels");
    }
    return value;
  } catch (const std::exception& e) {
    return InvalidArgument(std::string("tokenizer.json is malformed: ") + e.what());
  }
}

const JsonValue* FindMember(const JsonValue& object, const char* key) {
  if (!object.is_object()) return nullptr;
  const auto it = object.find(key);
  return it == object.end() || it->is_null() ? nullptr : &*it;
}

std::string StringOr(const JsonValue& object, const char* key, std::string_view otherwise) {
  const JsonValue* value = FindMember(object, key);
  return value != nullptr && value->is_string() ? value->get<std::string>()
                                                : std::string(otherwise);
}

bool BoolOr(const JsonValue& object, const char* key, bool otherwise) {
  const JsonValue* value = FindMember(object, key);
  return value != nullptr && value->is_boolean() ? value->get<bool>() : otherwise;
}

TokenId ReadTokenId(const JsonValue& value) {
  if (!value.is_number_integer()) return kNoToken;
  // Unsigned numbers over 2^63 read as negative ones.
  const int64_t id = value.get<int64_t>();
  if (id < 0 || id >= kTokenIdEnd) return kNoToken;
  return static_cast<TokenId>(id);
}

}  // namespace kvasir
