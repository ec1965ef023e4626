// JinjaValue: what an expression of a template can be: Python's values as far as templates see
// them. A small value type: strings and containers are immutable and shared, so copies are cheap.
// What changes or lives (namespaces, loops, iterators, macros) is a JinjaObject, owned by the
// rendering (jinja_runtime.h) and only pointed to here: such a value is valid as long as its
// rendering. Values without objects (literals) may be shared between threads.

#ifndef KVASIR_TEXT_JINJA_VALUE_H_
#define KVASIR_TEXT_JINJA_VALUE_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "kvasir/base/json.h"
#include "kvasir/base/status.h"

namespace kvasir {

class JinjaObject;
class JinjaValue;

struct JinjaString {
  std::string text;
  size_t char_count = 0;
  bool markup = false;  // result of |safe or |escape: joins with plain strings by escaping them

  bool ascii() const { return char_count == text.size(); }
};

// What a sequence of values calls itself.
enum class JinjaListKind { kList, kTuple, kDictKeys, kDictValues, kDictItems };

struct JinjaList {
  JinjaListKind kind = JinjaListKind::kList;
  std::vector<JinjaValue> items;
  size_t depth = 1;       // levels of containers, this one included
  bool hashable = false;  // a tuple of hashable values: may be a key of a dict
};

// In the order of insertion. Keys are unique; a lookup walks all of them, which for the dicts of
// chats is faster than hashing.
struct JinjaDict {
  std::vector<std::pair<JinjaValue, JinjaValue>> entries;
  size_t depth = 1;
};

struct JinjaRange {
  int64_t start = 0;
  int64_t stop = 0;
  int64_t step = 1;

  size_t length() const;
  int64_t at(size_t index) const { return start + static_cast<int64_t>(index) * step; }
  bool operator==(const JinjaRange&) const = default;
};

enum class JinjaKind {
  kUndefined,
  kNone,
  kBool,
  kInt,
  kFloat,
  kString,
  kList,  // any JinjaListKind
  kDict,
  kRange,
  kObject,
};

class JinjaValue {
 public:
  JinjaValue() = default;  // None
  explicit JinjaValue(bool value) : rep_(value) {}
  explicit JinjaValue(int64_t value) : rep_(value) {}
  explicit JinjaValue(double value) : rep_(value) {}
  explicit JinjaValue(std::string text, bool markup = false);
  explicit JinjaValue(std::string_view text) : JinjaValue(std::string(text)) {}
  explicit JinjaValue(const char* text) : JinjaValue(std::string(text)) {}
  explicit JinjaValue(JinjaRange range) : rep_(range) {}
  explicit JinjaValue(JinjaObject* object) : rep_(object) {}
  static JinjaValue FromSize(size_t value) { return JinjaValue(static_cast<int64_t>(value)); }

  // `message` says why there is no value, for the error that its use becomes.
  static JinjaValue Undefined(std::string message);
  // kResourceExhausted when `items` or `entries` are nested deeper than `depth_max`.
  static Result<JinjaValue> List(std::vector<JinjaValue> items, size_t depth_max,
                                 JinjaListKind kind = JinjaListKind::kList);
  static Result<JinjaValue> Dict(std::vector<std::pair<JinjaValue, JinjaValue>> entries,
                                 size_t depth_max);

  JinjaKind kind() const { return static_cast<JinjaKind>(rep_.index()); }
  bool is_undefined() const { return kind() == JinjaKind::kUndefined; }
  bool is_none() const { return kind() == JinjaKind::kNone; }
  bool is_bool() const { return kind() == JinjaKind::kBool; }
  bool is_int() const { return kind() == JinjaKind::kInt; }
  bool is_float() const { return kind() == JinjaKind::kFloat; }
  bool is_string() const { return kind() == JinjaKind::kString; }
  bool is_dict() const { return kind() == JinjaKind::kDict; }
  bool is_range() const { return kind() == JinjaKind::kRange; }
  bool is_object() const { return kind() == JinjaKind::kObject; }
  bool is_list_of(JinjaListKind kind) const;
  // A list or a tuple, not a view of a dict.
  bool is_list_or_tuple() const;
  // Python's int: bool is one.
  bool is_integral() const { return is_int() || is_bool(); }
  bool is_number() const { return is_integral() || is_float(); }
  bool is_markup() const { return is_string() && string().markup; }

  // Each REQUIRES the kind it names; integral() bool or int, number() any of the three.
  const std::string& undefined_message() const;
  bool boolean() const { return std::get<bool>(rep_); }
  int64_t integral() const;
  double number() const;
  const JinjaString& string() const { return *std::get<StringRef>(rep_); }
  const std::string& text() const { return string().text; }
  const JinjaList& list() const { return *std::get<ListRef>(rep_); }
  const JinjaDict& dict() const { return *std::get<DictRef>(rep_); }
  const JinjaRange& range() const { return std::get<JinjaRange>(rep_); }
  JinjaObject* object() const { return std::get<JinjaObject*>(rep_); }

  // Levels of containers; 0 for scalars.
  size_t depth() const;
  // Whether it may be a key of a dict.
  bool hashable() const;
  // Python's `is`.
  bool IsSame(const JinjaValue& other) const;

 private:
  // Shared, so that the message of each undefined value costs one pointer.
  struct UndefinedInfo {
    std::string message;
  };
  using StringRef = std::shared_ptr<const JinjaString>;
  using ListRef = std::shared_ptr<const JinjaList>;
  using DictRef = std::shared_ptr<const JinjaDict>;
  // In the order of JinjaKind.
  using Rep = std::variant<std::shared_ptr<const UndefinedInfo>, std::monostate, bool, int64_t,
                           double, StringRef, ListRef, DictRef, JinjaRange, JinjaObject*>;

  Rep rep_ = std::monostate();
};

// The value that JSON text stands for in Python. Integers beyond 64 bits become floats.
// kResourceExhausted when nested deeper than `depth_max`.
Result<JinjaValue> JinjaFromJson(const Json& json, size_t depth_max);

// Python's name of the type: "str", "NoneType", "dict_items" ...
std::string_view JinjaTypeName(const JinjaValue& value);

// Python's bool(). Undefined is false.
bool JinjaTruth(const JinjaValue& value);

}  // namespace kvasir

#endif  // KVASIR_TEXT_JINJA_VALUE_H_
