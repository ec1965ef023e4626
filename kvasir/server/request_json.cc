#include "kvasir/server/request_json.h"

#include <cmath>
#include <exception>
#include <limits>
#include <unordered_set>
#include <utility>

namespace kvasir {

namespace {

// Ends a parse from inside nlohmann's callback; caught in ParseRequestJson.
struct LimitReached : std::exception {
  explicit LimitReached(std::string text) : message(std::move(text)) {}
  const char* what() const noexcept override { return message.c_str(); }
  std::string message;
};

// Counts what the parser finds, before it is stored.
class LimitedParse {
 public:
  explicit LimitedParse(const RequestJsonLimits& limits) : limits_(limits) {}

  bool OnEvent(Json::parse_event_t event, const Json& value) {
    using Event = Json::parse_event_t;
    if (event == Event::key) {
      AddKey(value.get_ref<const std::string&>());
    } else if (event == Event::object_start || event == Event::array_start) {
      keys_.emplace_back();
      CountValue();
      if (keys_.size() > limits_.depth_max) {
        throw LimitReached("nested deeper than " + std::to_string(limits_.depth_max) + " levels");
      }
    } else if (event == Event::object_end || event == Event::array_end) {
      keys_.pop_back();
    } else {
      CountValue();
    }
    return true;
  }

 private:
  void CountValue() {
    if (++value_count_ > limits_.value_count_max) {
      throw LimitReached("more than " + std::to_string(limits_.value_count_max) + " values");
    }
  }

  void AddKey(const std::string& key) {
    if (!keys_.back().insert(key).second) {
      throw LimitReached("a key twice in one object");
    }
    if (keys_.back().size() > limits_.member_count_max) {
      throw LimitReached("an object with more than " + std::to_string(limits_.member_count_max) +
                         " members");
    }
  }

  const RequestJsonLimits& limits_;
  size_t value_count_ = 0;
  std::vector<std::unordered_set<std::string>> keys_;  // of the objects that are open
};

// nlohmann's sentence begins with its own "[json.exception.parse_error.101] " and quotes the last
// bytes read, which may be anything.
std::string ParserSentence(std::string text) {
  if (const size_t end = text.find("] "); end != std::string::npos) text.erase(0, end + 2);
  if (const size_t quote = text.find("; last read"); quote != std::string::npos) text.erase(quote);
  return text;
}

std::string ShortNumber(double value) {
  char buffer[32];
  std::snprintf(buffer, sizeof(buffer), "%g", value);
  return buffer;
}

}  // namespace

ApiError ParseRequestJson(std::string_view body, Json* json, const RequestJsonLimits& limits) {
  LimitedParse counting(limits);
  try {
    Json parsed = Json::parse(body.begin(), body.end(),
                              [&](int depth, Json::parse_event_t event, Json& value) {
                                return counting.OnEvent(event, value);
                              });
    if (!parsed.is_object()) {
      return InvalidJsonError("the body must be a JSON object, not " + DescribeJsonType(parsed));
    }
    *json = std::move(parsed);
    return {};
  } catch (const LimitReached& reached) {
    return InvalidJsonError("the body's JSON has " + reached.message);
  } catch (const std::exception& error) {
    return InvalidJsonError("the body is not valid JSON: " + ParserSentence(error.what()));
  }
}

std::string DescribeJsonType(const Json& value) {
  switch (value.type()) {
    case Json::value_t::object:
      return "an object";
    case Json::value_t::array:
      return "an array";
    case Json::value_t::string:
      return "a string";
    case Json::value_t::boolean:
      return "a boolean";
    case Json::value_t::null:
      return "null";
    default:
      return "a number";
  }
}

ObjectReader::ObjectReader(const Json& object, std::string path)
    : object_(object), path_(std::move(path)) {
  if (!object.is_object()) {
    Fail(InvalidValueError(path_,
                           "'" + path_ + "' must be an object, not " + DescribeJsonType(object)));
  }
}

const Json* ObjectReader::Find(const char* name) {
  known_.insert(name);
  if (failed()) return nullptr;
  const auto found = object_.find(name);
  return found == object_.end() || found->is_null() ? nullptr : &*found;
}

const Json* ObjectReader::FindTyped(const char* name, bool (*is_right)(const Json&),
                                    const char* what) {
  const Json* value = Find(name);
  if (value == nullptr || is_right(*value)) return value;
  const std::string path = PathOf(name);
  Fail(InvalidValueError(path,
                         "'" + path + "' must be " + what + ", not " + DescribeJsonType(*value)));
  return nullptr;
}

bool ObjectReader::ReadBool(const char* name, bool* target) {
  const Json* value = FindTyped(
      name, [](const Json& v) { return v.is_boolean(); }, "true or false");
  if (value == nullptr) return false;
  *target = value->get<bool>();
  return true;
}

bool ObjectReader::ReadNumber(const char* name, double min, double max, float* target) {
  const Json* value = FindTyped(
      name, [](const Json& v) { return v.is_number(); }, "a number");
  if (value == nullptr) return false;
  const double number = value->get<double>();
  if (!(number >= min && number <= max)) {
    Fail(InvalidValueError(PathOf(name), "'" + PathOf(name) + "' is " + ShortNumber(number) +
                                             ", must be from " + ShortNumber(min) + " to " +
                                             ShortNumber(max)));
    return false;
  }
  *target = static_cast<float>(number);
  return true;
}

bool ObjectReader::ReadInteger(const char* name, int64_t min, int64_t max, int64_t* target) {
  const Json* value = FindTyped(
      name, [](const Json& v) { return v.is_number(); }, "a whole number");
  if (value == nullptr) return false;
  int64_t number = 0;
  // Clients in languages with one kind of number send 5.0 for 5.
  bool whole = value->is_number_integer();
  if (value->is_number_unsigned()) {
    const uint64_t large = value->get<uint64_t>();
    whole = large <= static_cast<uint64_t>(std::numeric_limits<int64_t>::max());
    number = whole ? static_cast<int64_t>(large) : 0;
  } else if (whole) {
    number = value->get<int64_t>();
  } else if (const double real = value->get<double>(); std::fabs(real) < 9e15) {
    number = static_cast<int64_t>(real);
    whole = static_cast<double>(number) == real;
  }
  if (!whole || number < min || number > max) {
    Fail(InvalidValueError(PathOf(name), "'" + PathOf(name) + "' is " + DumpJson(*value) +
                                             ", must be a whole number from " +
                                             std::to_string(min) + " to " + std::to_string(max)));
    return false;
  }
  *target = number;
  return true;
}

bool ObjectReader::ReadCount(const char* name, uint64_t min, uint64_t max, uint64_t* target) {
  int64_t value = 0;
  if (!ReadInteger(name, static_cast<int64_t>(min), static_cast<int64_t>(max), &value)) {
    return false;
  }
  *target = static_cast<uint64_t>(value);
  return true;
}

bool ObjectReader::ReadString(const char* name, size_t bytes_max, std::string* target) {
  const Json* value = FindTyped(
      name, [](const Json& v) { return v.is_string(); }, "a string");
  if (value == nullptr) return false;
  const std::string& text = value->get_ref<const std::string&>();
  if (text.size() > bytes_max) {
    Fail(InvalidValueError(PathOf(name), "'" + PathOf(name) + "' has " +
                                             std::to_string(text.size()) + " bytes, at most " +
                                             std::to_string(bytes_max) + " are allowed"));
    return false;
  }
  *target = text;
  return true;
}

bool ObjectReader::ReadStrings(const char* name, size_t count_max, size_t bytes_max,
                               std::vector<std::string>* target) {
  const Json* value = FindTyped(
      name, [](const Json& v) { return v.is_string() || v.is_array(); },
      "a string or an array of strings");
  if (value == nullptr) return false;
  std::vector<std::string> strings;
  const Json list = value->is_array() ? *value : Json::array({*value});
  for (size_t i = 0; i < list.size(); ++i) {
    const std::string path =
        PathOf(name) + (value->is_array() ? "[" + std::to_string(i) + "]" : "");
    if (!list[i].is_string()) {
      Fail(InvalidValueError(path,
                             "'" + path + "' must be a string, not " + DescribeJsonType(list[i])));
      return false;
    }
    strings.push_back(list[i].get<std::string>());
    if (strings.back().empty() || strings.back().size() > bytes_max) {
      Fail(InvalidValueError(path, "'" + path + "' must have 1 to " + std::to_string(bytes_max) +
                                       " bytes, not " + std::to_string(strings.back().size())));
      return false;
    }
  }
  if (strings.size() > count_max) {
    Fail(InvalidValueError(PathOf(name), "'" + PathOf(name) + "' has " +
                                             std::to_string(strings.size()) + " strings, at most " +
                                             std::to_string(count_max) + " are allowed"));
    return false;
  }
  *target = std::move(strings);
  return true;
}

void ObjectReader::Ignore(std::initializer_list<const char*> names) {
  known_.insert(names.begin(), names.end());
}

std::vector<std::string> ObjectReader::UnknownMembers() const {
  std::vector<std::string> unknown;
  if (!object_.is_object()) return unknown;
  for (const auto& [key, value] : object_.items()) {
    if (!known_.contains(key)) unknown.push_back(PathOf(key));
  }
  return unknown;
}

std::string ObjectReader::PathOf(std::string_view name) const {
  return path_.empty() ? std::string(name) : path_ + "." + std::string(name);
}

void ObjectReader::Fail(ApiError error) {
  if (!failed()) error_ = std::move(error);
}

}  // namespace kvasir
