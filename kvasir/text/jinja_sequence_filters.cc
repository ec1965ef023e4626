// Filters over sequences: first and last, sorting, grouping, sums ... Those that jinja2 defines as
// generators give their elements once, when they are asked for.

#include <algorithm>
#include <utility>

#include "kvasir/text/jinja_filters.h"
#include "kvasir/text/jinja_loop.h"
#include "kvasir/text/jinja_operators.h"
#include "kvasir/text/jinja_print.h"
#include "kvasir/text/jinja_unicode.h"

namespace kvasir {

namespace {

using Keyed = std::pair<JinjaValue, JinjaValue>;  // what to sort by, and the element

bool Flag(const std::optional<JinjaValue>& argument) {
  return argument.has_value() && JinjaTruth(*argument);
}

Result<JinjaValue> Length(JinjaRuntime& runtime, const JinjaValue& input,
                          const JinjaArguments& arguments) {
  KVASIR_RETURN_IF_ERROR(JinjaBind("length", arguments, {}, 0).status());
  if (input.is_object() && input.object()->kind() == JinjaObjectKind::kLoop) {
    KVASIR_ASSIGN_OR_RETURN(const size_t length,
                            static_cast<JinjaLoop*>(input.object())->Length(runtime));
    return JinjaValue::FromSize(length);
  }
  KVASIR_ASSIGN_OR_RETURN(const size_t length, JinjaLength(input));
  return JinjaValue::FromSize(length);
}

Result<JinjaValue> First(JinjaRuntime& runtime, const JinjaValue& input,
                         const JinjaArguments& arguments) {
  KVASIR_RETURN_IF_ERROR(JinjaBind("first", arguments, {}, 0).status());
  KVASIR_ASSIGN_OR_RETURN(JinjaIterator* const iterator, JinjaIterate(runtime, input));
  KVASIR_ASSIGN_OR_RETURN(std::optional<JinjaValue> element, iterator->Next(runtime));
  if (element.has_value()) return std::move(*element);
  return JinjaValue::Undefined("No first item, sequence was empty");
}

// What Python's reversed() takes: sequences and dicts, not what can only be iterated.
bool Reversible(const JinjaValue& value) { return !value.is_object() && JinjaLength(value).ok(); }

// All elements of `value`, last one first. REQUIRES Reversible(value).
Result<std::vector<JinjaValue>> ReversedElements(JinjaRuntime& runtime, const JinjaValue& value) {
  KVASIR_ASSIGN_OR_RETURN(std::vector<JinjaValue> elements, JinjaElements(runtime, value));
  std::reverse(elements.begin(), elements.end());
  return elements;
}

Result<JinjaValue> Last(JinjaRuntime& runtime, const JinjaValue& input,
                        const JinjaArguments& arguments) {
  KVASIR_RETURN_IF_ERROR(JinjaBind("last", arguments, {}, 0).status());
  if (!Reversible(input)) {
    return InvalidArgument("'" + std::string(JinjaTypeName(input)) + "' object is not reversible");
  }
  KVASIR_ASSIGN_OR_RETURN(std::vector<JinjaValue> elements, ReversedElements(runtime, input));
  if (!elements.empty()) return std::move(elements.front());
  return JinjaValue::Undefined("No last item, sequence was empty");
}

Result<JinjaValue> ToList(JinjaRuntime& runtime, const JinjaValue& input,
                          const JinjaArguments& arguments) {
  KVASIR_RETURN_IF_ERROR(JinjaBind("list", arguments, {}, 0).status());
  KVASIR_ASSIGN_OR_RETURN(std::vector<JinjaValue> elements, JinjaElements(runtime, input));
  return runtime.NewList(std::move(elements));
}

// The elements of a list, one after another.
Result<JinjaValue> IterateList(JinjaRuntime& runtime, std::vector<JinjaValue> elements) {
  KVASIR_ASSIGN_OR_RETURN(const JinjaValue list, runtime.NewList(std::move(elements)));
  KVASIR_ASSIGN_OR_RETURN(JinjaIterator* const iterator, JinjaIterate(runtime, list));
  return JinjaValue(static_cast<JinjaObject*>(iterator));
}

Result<JinjaValue> Reverse(JinjaRuntime& runtime, const JinjaValue& input,
                           const JinjaArguments& arguments) {
  KVASIR_RETURN_IF_ERROR(JinjaBind("reverse", arguments, {}, 0).status());
  if (input.is_string()) {
    return JinjaSlice(runtime, input, JinjaValue(), JinjaValue(), JinjaValue(int64_t{-1}));
  }
  KVASIR_ASSIGN_OR_RETURN(std::vector<JinjaValue> elements, ReversedElements(runtime, input));
  if (Reversible(input)) return IterateList(runtime, std::move(elements));
  return runtime.NewList(std::move(elements));
}

Result<JinjaValue> Items(JinjaRuntime& runtime, const JinjaValue& input,
                         const JinjaArguments& arguments) {
  KVASIR_RETURN_IF_ERROR(JinjaBind("items", arguments, {}, 0).status());
  return JinjaNewIterator(
      runtime, input.depth(),
      [input, index = size_t{0}](JinjaRuntime& r) mutable -> Result<std::optional<JinjaValue>> {
        if (input.is_undefined()) return std::optional<JinjaValue>();
        if (!input.is_dict()) return InvalidArgument("Can only get item pairs from a mapping");
        if (index == input.dict().entries.size()) return std::optional<JinjaValue>();
        const auto& [key, value] = input.dict().entries[index++];
        KVASIR_ASSIGN_OR_RETURN(JinjaValue pair, r.NewList({key, value}, JinjaListKind::kTuple));
        return std::optional(std::move(pair));
      });
}

// The values of a sort, without their keys.
Result<JinjaValue> SortedList(JinjaRuntime& runtime, std::vector<Keyed> keyed, bool reverse) {
  KVASIR_RETURN_IF_ERROR(JinjaSort(runtime, keyed, reverse));
  std::vector<JinjaValue> sorted;
  sorted.reserve(keyed.size());
  for (Keyed& entry : keyed) sorted.push_back(std::move(entry.second));
  return runtime.NewList(std::move(sorted));
}

Result<JinjaValue> DictSort(JinjaRuntime& runtime, const JinjaValue& input,
                            const JinjaArguments& arguments) {
  KVASIR_ASSIGN_OR_RETURN(const JinjaBound bound,
                          JinjaBind("dictsort", arguments, {"case_sensitive", "by", "reverse"}, 0));
  const JinjaValue by = bound[1].value_or(JinjaValue("key"));
  if (!by.is_string() || (by.text() != "key" && by.text() != "value")) {
    return InvalidArgument("You can only sort by either \"key\" or \"value\"");
  }
  if (input.is_undefined()) return JinjaUndefinedError(input);
  if (!input.is_dict()) {
    return InvalidArgument("dictsort() takes a dict, not " + std::string(JinjaTypeName(input)));
  }
  std::vector<Keyed> keyed;
  for (const auto& [key, value] : input.dict().entries) {
    JinjaValue sort_key = by.text() == "key" ? key : value;
    if (!Flag(bound[0])) {
      KVASIR_ASSIGN_OR_RETURN(sort_key, JinjaIgnoreCase(runtime, sort_key));
    }
    KVASIR_ASSIGN_OR_RETURN(JinjaValue pair, runtime.NewList({key, value}, JinjaListKind::kTuple));
    keyed.emplace_back(std::move(sort_key), std::move(pair));
  }
  return SortedList(runtime, std::move(keyed), Flag(bound[2]));
}

// The sort keys of one element for "name,age": a list, so that they are compared one by one.
Result<JinjaValue> SortKeys(JinjaRuntime& runtime, const std::vector<JinjaPath>& paths,
                            const JinjaValue& element, bool case_sensitive) {
  std::vector<JinjaValue> keys;
  for (const JinjaPath& path : paths) {
    KVASIR_ASSIGN_OR_RETURN(JinjaValue key, path.Follow(runtime, element));
    if (!case_sensitive) {
      KVASIR_ASSIGN_OR_RETURN(key, JinjaIgnoreCase(runtime, key));
    }
    keys.push_back(std::move(key));
  }
  return runtime.NewList(std::move(keys));
}

Result<JinjaValue> Sort(JinjaRuntime& runtime, const JinjaValue& input,
                        const JinjaArguments& arguments) {
  KVASIR_ASSIGN_OR_RETURN(
      const JinjaBound bound,
      JinjaBind("sort", arguments, {"reverse", "case_sensitive", "attribute"}, 0));
  const JinjaValue attribute = bound[2].value_or(JinjaValue());
  std::vector<JinjaPath> paths;
  if (attribute.is_string()) {
    std::string_view rest = attribute.text();
    for (bool more = true; more;) {
      const size_t comma = rest.find(',');
      KVASIR_ASSIGN_OR_RETURN(JinjaPath path, JinjaPath::Parse(JinjaValue(rest.substr(0, comma))));
      paths.push_back(std::move(path));
      more = comma != std::string_view::npos;
      if (more) rest.remove_prefix(comma + 1);
    }
  } else {
    KVASIR_ASSIGN_OR_RETURN(JinjaPath path, JinjaPath::Parse(attribute));
    paths.push_back(std::move(path));
  }
  KVASIR_ASSIGN_OR_RETURN(std::vector<JinjaValue> elements, JinjaElements(runtime, input));
  std::vector<Keyed> keyed;
  keyed.reserve(elements.size());
  for (JinjaValue& element : elements) {
    KVASIR_ASSIGN_OR_RETURN(JinjaValue keys, SortKeys(runtime, paths, element, Flag(bound[1])));
    keyed.emplace_back(std::move(keys), std::move(element));
  }
  return SortedList(runtime, std::move(keyed), Flag(bound[0]));
}

// The key that an element is compared by: along `path`, in lower case unless `case_sensitive`.
Result<JinjaValue> CompareKey(JinjaRuntime& runtime, const JinjaPath& path,
                              const JinjaValue& element, bool case_sensitive) {
  KVASIR_ASSIGN_OR_RETURN(const JinjaValue key, path.Follow(runtime, element));
  return case_sensitive ? Result<JinjaValue>(key) : JinjaIgnoreCase(runtime, key);
}

Result<JinjaValue> Extreme(JinjaRuntime& runtime, const JinjaValue& input,
                           const JinjaArguments& arguments, bool largest) {
  KVASIR_ASSIGN_OR_RETURN(const JinjaBound bound, JinjaBind(largest ? "max" : "min", arguments,
                                                            {"case_sensitive", "attribute"}, 0));
  KVASIR_ASSIGN_OR_RETURN(const JinjaPath path, JinjaPath::Parse(bound[1].value_or(JinjaValue())));
  KVASIR_ASSIGN_OR_RETURN(std::vector<JinjaValue> elements, JinjaElements(runtime, input));
  if (elements.empty()) return JinjaValue::Undefined("No aggregated item, sequence was empty");
  size_t best = 0;
  KVASIR_ASSIGN_OR_RETURN(JinjaValue best_key,
                          CompareKey(runtime, path, elements[0], Flag(bound[0])));
  for (size_t i = 1; i < elements.size(); ++i) {
    KVASIR_ASSIGN_OR_RETURN(JinjaValue key, CompareKey(runtime, path, elements[i], Flag(bound[0])));
    KVASIR_ASSIGN_OR_RETURN(
        const bool better,
        JinjaCompare(runtime, largest ? JinjaOperator::kGreater : JinjaOperator::kLess, key,
                     best_key));
    if (!better) continue;
    best = i;
    best_key = std::move(key);
  }
  return elements[best];
}

Result<JinjaValue> Min(JinjaRuntime& runtime, const JinjaValue& input,
                       const JinjaArguments& arguments) {
  return Extreme(runtime, input, arguments, /*largest=*/false);
}

Result<JinjaValue> Max(JinjaRuntime& runtime, const JinjaValue& input,
                       const JinjaArguments& arguments) {
  return Extreme(runtime, input, arguments, /*largest=*/true);
}

Result<JinjaValue> Unique(JinjaRuntime& runtime, const JinjaValue& input,
                          const JinjaArguments& arguments) {
  KVASIR_ASSIGN_OR_RETURN(const JinjaBound bound,
                          JinjaBind("unique", arguments, {"case_sensitive", "attribute"}, 0));
  KVASIR_ASSIGN_OR_RETURN(const JinjaPath path, JinjaPath::Parse(bound[1].value_or(JinjaValue())));
  // Python finds what it has seen in a set, which takes hashable keys only.
  std::vector<std::pair<JinjaValue, JinjaValue>> seen;
  return JinjaNewIterator(
      runtime, input.depth(),
      [input, path, seen, case_sensitive = Flag(bound[0]),
       source = static_cast<JinjaIterator*>(nullptr)](
          JinjaRuntime& r) mutable -> Result<std::optional<JinjaValue>> {
        if (source == nullptr) {
          KVASIR_ASSIGN_OR_RETURN(source, JinjaIterate(r, input));
        }
        while (true) {
          KVASIR_ASSIGN_OR_RETURN(std::optional<JinjaValue> element, source->Next(r));
          if (!element.has_value()) return element;
          KVASIR_ASSIGN_OR_RETURN(JinjaValue key, CompareKey(r, path, *element, case_sensitive));
          const size_t seen_before = seen.size();
          KVASIR_RETURN_IF_ERROR(JinjaInsert(r, seen, std::move(key), JinjaValue()));
          if (seen.size() > seen_before) return element;
        }
      });
}

Result<JinjaValue> GroupBy(JinjaRuntime& runtime, const JinjaValue& input,
                           const JinjaArguments& arguments) {
  KVASIR_ASSIGN_OR_RETURN(
      const JinjaBound bound,
      JinjaBind("groupby", arguments, {"attribute", "default", "case_sensitive"}, 1));
  KVASIR_ASSIGN_OR_RETURN(const JinjaPath path, JinjaPath::Parse(*bound[0]));
  const JinjaValue otherwise = bound[1].value_or(JinjaValue());
  const bool case_sensitive = Flag(bound[2]);
  KVASIR_ASSIGN_OR_RETURN(std::vector<JinjaValue> elements, JinjaElements(runtime, input));
  std::vector<Keyed> keyed;
  for (JinjaValue& element : elements) {
    KVASIR_ASSIGN_OR_RETURN(JinjaValue key, path.Follow(runtime, element, otherwise));
    if (!case_sensitive) {
      KVASIR_ASSIGN_OR_RETURN(key, JinjaIgnoreCase(runtime, key));
    }
    keyed.emplace_back(std::move(key), std::move(element));
  }
  KVASIR_RETURN_IF_ERROR(JinjaSort(runtime, keyed, /*reverse=*/false));

  std::vector<JinjaValue> groups;
  for (size_t begin = 0; begin < keyed.size();) {
    std::vector<JinjaValue> members;
    size_t end = begin;
    for (; end < keyed.size(); ++end) {
      KVASIR_ASSIGN_OR_RETURN(const bool same,
                              JinjaEqual(runtime, keyed[begin].first, keyed[end].first));
      if (!same) break;
      members.push_back(keyed[end].second);
    }
    // The group is called as its first member writes it.
    KVASIR_ASSIGN_OR_RETURN(const JinjaValue name,
                            path.Follow(runtime, keyed[begin].second, otherwise));
    KVASIR_ASSIGN_OR_RETURN(const JinjaValue list, runtime.NewList(std::move(members)));
    KVASIR_ASSIGN_OR_RETURN(JinjaValue group, runtime.NewList({name, list}, JinjaListKind::kTuple));
    groups.push_back(std::move(group));
    begin = end;
  }
  return runtime.NewList(std::move(groups));
}

Result<JinjaValue> Sum(JinjaRuntime& runtime, const JinjaValue& input,
                       const JinjaArguments& arguments) {
  KVASIR_ASSIGN_OR_RETURN(const JinjaBound bound,
                          JinjaBind("sum", arguments, {"attribute", "start"}, 0));
  KVASIR_ASSIGN_OR_RETURN(const JinjaPath path, JinjaPath::Parse(bound[0].value_or(JinjaValue())));
  JinjaValue sum = bound[1].value_or(JinjaValue(int64_t{0}));
  if (sum.is_string()) return InvalidArgument("sum() can't sum strings");
  KVASIR_ASSIGN_OR_RETURN(JinjaIterator* const iterator, JinjaIterate(runtime, input));
  while (true) {
    KVASIR_ASSIGN_OR_RETURN(const std::optional<JinjaValue> element, iterator->Next(runtime));
    if (!element.has_value()) return sum;
    KVASIR_ASSIGN_OR_RETURN(const JinjaValue item, path.Follow(runtime, *element));
    KVASIR_ASSIGN_OR_RETURN(sum, JinjaArithmetic(runtime, JinjaOperator::kAdd, sum, item));
  }
}

constexpr JinjaFilter kFilters[] = {
    {"count", Length}, {"dictsort", DictSort}, {"first", First},     {"groupby", GroupBy},
    {"items", Items},  {"last", Last},         {"length", Length},   {"list", ToList},
    {"max", Max},      {"min", Min},           {"reverse", Reverse}, {"sort", Sort},
    {"sum", Sum},      {"unique", Unique},
};

}  // namespace

std::span<const JinjaFilter> JinjaSequenceFilters() { return kFilters; }

}  // namespace kvasir
