#include "kvasir/text/jinja_methods.h"

#include <algorithm>

#include "kvasir/text/jinja_operators.h"

namespace kvasir {

namespace {

Result<JinjaValue> DictView(JinjaRuntime& runtime, const JinjaValue& self,
                            const JinjaArguments& arguments, JinjaListKind kind,
                            std::string_view name) {
  KVASIR_RETURN_IF_ERROR(JinjaBind(name, arguments, {}, 0).status());
  std::vector<JinjaValue> items;
  items.reserve(self.dict().entries.size());
  for (const auto& [key, value] : self.dict().entries) {
    if (kind == JinjaListKind::kDictKeys) {
      items.push_back(key);
    } else if (kind == JinjaListKind::kDictValues) {
      items.push_back(value);
    } else {
      KVASIR_ASSIGN_OR_RETURN(JinjaValue pair,
                              runtime.NewList({key, value}, JinjaListKind::kTuple));
      items.push_back(std::move(pair));
    }
  }
  return runtime.NewList(std::move(items), kind);
}

Result<JinjaValue> DictKeys(JinjaRuntime& runtime, const JinjaValue& self,
                            const JinjaArguments& arguments) {
  return DictView(runtime, self, arguments, JinjaListKind::kDictKeys, "keys");
}

Result<JinjaValue> DictValues(JinjaRuntime& runtime, const JinjaValue& self,
                              const JinjaArguments& arguments) {
  return DictView(runtime, self, arguments, JinjaListKind::kDictValues, "values");
}

Result<JinjaValue> DictItems(JinjaRuntime& runtime, const JinjaValue& self,
                             const JinjaArguments& arguments) {
  return DictView(runtime, self, arguments, JinjaListKind::kDictItems, "items");
}

Result<JinjaValue> DictGet(JinjaRuntime& runtime, const JinjaValue& self,
                           const JinjaArguments& arguments) {
  KVASIR_ASSIGN_OR_RETURN(const JinjaBound bound, JinjaBind("get", arguments, {"", ""}, 1));
  if (!bound[0]->hashable()) {
    return InvalidArgument("unhashable type: '" + std::string(JinjaTypeName(*bound[0])) + "'");
  }
  KVASIR_ASSIGN_OR_RETURN(const JinjaValue* const found,
                          JinjaFind(runtime, self.dict(), *bound[0]));
  return found != nullptr ? *found : bound[1].value_or(JinjaValue());
}

// Values never change, so a copy is the value itself.
Result<JinjaValue> Copy(JinjaRuntime&, const JinjaValue& self, const JinjaArguments& arguments) {
  KVASIR_RETURN_IF_ERROR(JinjaBind("copy", arguments, {}, 0).status());
  return self;
}

Result<JinjaValue> ListCount(JinjaRuntime& runtime, const JinjaValue& self,
                             const JinjaArguments& arguments) {
  KVASIR_ASSIGN_OR_RETURN(const JinjaBound bound, JinjaBind("count", arguments, {""}, 1));
  KVASIR_ASSIGN_OR_RETURN(const std::vector<JinjaValue> items, JinjaElements(runtime, self));
  int64_t count = 0;
  for (const JinjaValue& item : items) {
    KVASIR_ASSIGN_OR_RETURN(const bool equal, JinjaEqual(runtime, item, *bound[0]));
    count += equal;
  }
  return JinjaValue(count);
}

Result<JinjaValue> ListIndex(JinjaRuntime& runtime, const JinjaValue& self,
                             const JinjaArguments& arguments) {
  KVASIR_ASSIGN_OR_RETURN(const JinjaBound bound, JinjaBind("index", arguments, {""}, 1));
  KVASIR_ASSIGN_OR_RETURN(const std::vector<JinjaValue> items, JinjaElements(runtime, self));
  for (size_t i = 0; i < items.size(); ++i) {
    KVASIR_ASSIGN_OR_RETURN(const bool equal, JinjaEqual(runtime, items[i], *bound[0]));
    if (equal) return JinjaValue::FromSize(i);
  }
  return InvalidArgument("the value that index() looks for is not in the list");
}

constexpr JinjaMethod kDictMethods[] = {
    {"keys", DictKeys},
    {"values", DictValues},
    {"items", DictItems},
    {"get", DictGet},
    {"copy", Copy},
    {"fromkeys"},
    {"clear", nullptr, true},
    {"pop", nullptr, true},
    {"popitem", nullptr, true},
    {"setdefault", nullptr, true},
    {"update", nullptr, true},
};

constexpr JinjaMethod kListMethods[] = {
    {"copy", Copy},
    {"count", ListCount},
    {"index", ListIndex},
    {"append", nullptr, true},
    {"clear", nullptr, true},
    {"extend", nullptr, true},
    {"insert", nullptr, true},
    {"pop", nullptr, true},
    {"remove", nullptr, true},
    {"reverse", nullptr, true},
    {"sort", nullptr, true},
};

constexpr JinjaMethod kTupleAndRangeMethods[] = {
    {"count", ListCount},
    {"index", ListIndex},
};

std::span<const JinjaMethod> MethodsOf(const JinjaValue& value) {
  if (value.is_string()) return JinjaStringMethods();
  if (value.is_dict()) return kDictMethods;
  if (value.is_list_of(JinjaListKind::kList)) return kListMethods;
  if (value.is_list_of(JinjaListKind::kTuple) || value.is_range()) return kTupleAndRangeMethods;
  return {};
}

std::string Refusal(const JinjaValue& value, const JinjaMethod& method) {
  const std::string type(JinjaTypeName(value));
  const std::string name(method.name);
  if (method.mutates) {
    return "access to attribute '" + name + "' of '" + type +
           "' object is unsafe: templates must not change values";
  }
  return "the method '" + name + "' of '" + type + "' is not supported";
}

}  // namespace

const JinjaMethod* JinjaFindMethod(const JinjaValue& value, std::string_view name) {
  const std::span<const JinjaMethod> methods = MethodsOf(value);
  const auto it = std::find_if(methods.begin(), methods.end(),
                               [&](const JinjaMethod& method) { return method.name == name; });
  return it == methods.end() ? nullptr : &*it;
}

Result<JinjaValue> JinjaBindMethod(JinjaRuntime& runtime, const JinjaValue& value,
                                   const JinjaMethod& method) {
  if (method.function == nullptr) return JinjaValue::Undefined(Refusal(value, method));
  KVASIR_ASSIGN_OR_RETURN(
      JinjaFunction* const function,
      runtime.New<JinjaFunction>(
          std::string(method.name),
          [value, body = method.function](JinjaRuntime& r, const JinjaArguments& arguments) {
            return body(r, value, arguments);
          }));
  return JinjaValue(static_cast<JinjaObject*>(function));
}

Result<JinjaValue> JinjaCallMethod(JinjaRuntime& runtime, const JinjaValue& value,
                                   const JinjaMethod& method, const JinjaArguments& arguments) {
  if (method.function == nullptr) return InvalidArgument(Refusal(value, method));
  return method.function(runtime, value, arguments);
}

}  // namespace kvasir
