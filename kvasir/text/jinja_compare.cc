// Equality, order and membership of template values, and what rests on them: sorting and dicts.

#include <algorithm>
#include <cmath>

#include "kvasir/text/jinja_operators.h"

namespace kvasir {

namespace {

using Entry = std::pair<JinjaValue, JinjaValue>;

// The sign of a - b, or nullopt when one is not a number. Exact: long double holds 64-bit integers
// and doubles alike.
std::optional<int> CompareNumbers(const JinjaValue& a, const JinjaValue& b) {
  if (a.is_integral() && b.is_integral()) {
    return (a.integral() > b.integral()) - (a.integral() < b.integral());
  }
  const auto widen = [](const JinjaValue& v) {
    return v.is_float() ? static_cast<long double>(v.number())
                        : static_cast<long double>(v.integral());
  };
  const long double x = widen(a);
  const long double y = widen(b);
  if (std::isnan(x) || std::isnan(y)) return std::nullopt;
  return (x > y) - (x < y);
}

Result<bool> EqualLists(JinjaRuntime& runtime, const JinjaList& a, const JinjaList& b) {
  if (a.kind != b.kind || a.items.size() != b.items.size()) return false;
  for (size_t i = 0; i < a.items.size(); ++i) {
    KVASIR_ASSIGN_OR_RETURN(const bool equal, JinjaEqual(runtime, a.items[i], b.items[i]));
    if (!equal) return false;
  }
  return true;
}

Result<bool> EqualDicts(JinjaRuntime& runtime, const JinjaDict& a, const JinjaDict& b) {
  if (a.entries.size() != b.entries.size()) return false;
  for (const auto& [key, value] : a.entries) {
    KVASIR_ASSIGN_OR_RETURN(const JinjaValue* const other, JinjaFind(runtime, b, key));
    if (other == nullptr) return false;
    KVASIR_ASSIGN_OR_RETURN(const bool equal, JinjaEqual(runtime, value, *other));
    if (!equal) return false;
  }
  return true;
}

bool EqualRanges(const JinjaRange& a, const JinjaRange& b) {
  const size_t length = a.length();
  if (length != b.length()) return false;
  return length == 0 || (a.start == b.start && (length == 1 || a.step == b.step));
}

Status NoOrder(JinjaOperator op, const JinjaValue& a, const JinjaValue& b) {
  if (a.is_undefined()) return JinjaUndefinedError(a);
  if (b.is_undefined()) return JinjaUndefinedError(b);
  return InvalidArgument("'" + std::string(JinjaOperatorText(op)) +
                         "' not supported between instances of '" + std::string(JinjaTypeName(a)) +
                         "' and '" + std::string(JinjaTypeName(b)) + "'");
}

bool Holds(JinjaOperator op, int sign) {
  switch (op) {
    case JinjaOperator::kLess:
      return sign < 0;
    case JinjaOperator::kLessEqual:
      return sign <= 0;
    case JinjaOperator::kGreater:
      return sign > 0;
    default:
      return sign >= 0;
  }
}

// One of the four orders.
Result<bool> Ordered(JinjaRuntime& runtime, JinjaOperator op, const JinjaValue& a,
                     const JinjaValue& b) {
  KVASIR_RETURN_IF_ERROR(runtime.budget().SpendSteps(1));
  if (a.is_number() && b.is_number()) {
    const std::optional<int> sign = CompareNumbers(a, b);
    return sign.has_value() && Holds(op, *sign);
  }
  if (a.is_string() && b.is_string()) {
    // UTF-8 sorts like code points.
    KVASIR_RETURN_IF_ERROR(runtime.budget().SpendBytes(std::min(a.text().size(), b.text().size())));
    return Holds(op, a.text().compare(b.text()));
  }
  if (!a.is_list_or_tuple() || !b.is_list_or_tuple() || a.list().kind != b.list().kind) {
    return NoOrder(op, a, b);
  }
  const std::vector<JinjaValue>& x = a.list().items;
  const std::vector<JinjaValue>& y = b.list().items;
  for (size_t i = 0; i < std::min(x.size(), y.size()); ++i) {
    KVASIR_ASSIGN_OR_RETURN(const bool equal, JinjaEqual(runtime, x[i], y[i]));
    if (!equal) return Ordered(runtime, op, x[i], y[i]);
  }
  return Holds(op, (x.size() > y.size()) - (x.size() < y.size()));
}

Result<bool> Contains(JinjaRuntime& runtime, const JinjaValue& container, const JinjaValue& item) {
  if (container.is_string()) {
    if (item.is_undefined() || !item.is_string()) {
      return InvalidArgument("'in <string>' requires string as left operand, not " +
                             std::string(JinjaTypeName(item)));
    }
    KVASIR_RETURN_IF_ERROR(runtime.budget().SpendBytes(container.text().size()));
    return container.text().find(item.text()) != std::string::npos;
  }
  if (container.is_dict()) {
    if (!item.hashable()) {
      return InvalidArgument("unhashable type: '" + std::string(JinjaTypeName(item)) + "'");
    }
    KVASIR_ASSIGN_OR_RETURN(const JinjaValue* const found,
                            JinjaFind(runtime, container.dict(), item));
    return found != nullptr;
  }
  if (container.is_range() && item.is_int()) {
    const JinjaRange& range = container.range();
    const __int128 offset = static_cast<__int128>(item.integral()) - range.start;
    return offset % range.step == 0 && offset / range.step >= 0 &&
           static_cast<size_t>(offset / range.step) < range.length();
  }
  const Result<JinjaIterator*> iterator = JinjaIterate(runtime, container);
  if (!iterator.ok()) {
    return InvalidArgument("argument of type '" + std::string(JinjaTypeName(container)) +
                           "' is not iterable");
  }
  while (true) {
    KVASIR_ASSIGN_OR_RETURN(const std::optional<JinjaValue> element, (*iterator)->Next(runtime));
    if (!element.has_value()) return false;
    KVASIR_ASSIGN_OR_RETURN(const bool equal, JinjaEqual(runtime, *element, item));
    if (equal) return true;
  }
}

}  // namespace

std::string_view JinjaOperatorText(JinjaOperator op) {
  constexpr std::string_view kTexts[] = {
      "+", "-", "*", "/", "//", "%", "**", "==", "!=", "<", "<=", ">", ">=", "in", "not in"};
  return kTexts[static_cast<size_t>(op)];
}

Result<bool> JinjaEqual(JinjaRuntime& runtime, const JinjaValue& a, const JinjaValue& b) {
  KVASIR_RETURN_IF_ERROR(runtime.budget().SpendSteps(1));
  if (a.is_number() && b.is_number()) return CompareNumbers(a, b) == 0;
  if (a.kind() != b.kind()) return false;
  switch (a.kind()) {
    case JinjaKind::kUndefined:
    case JinjaKind::kNone:
      return true;
    case JinjaKind::kString:
      KVASIR_RETURN_IF_ERROR(
          runtime.budget().SpendBytes(std::min(a.text().size(), b.text().size())));
      return a.text() == b.text();
    case JinjaKind::kList:
      return EqualLists(runtime, a.list(), b.list());
    case JinjaKind::kDict:
      return EqualDicts(runtime, a.dict(), b.dict());
    case JinjaKind::kRange:
      return EqualRanges(a.range(), b.range());
    default:
      return a.IsSame(b);
  }
}

Result<bool> JinjaLess(JinjaRuntime& runtime, const JinjaValue& a, const JinjaValue& b) {
  return Ordered(runtime, JinjaOperator::kLess, a, b);
}

Result<bool> JinjaCompare(JinjaRuntime& runtime, JinjaOperator op, const JinjaValue& a,
                          const JinjaValue& b) {
  switch (op) {
    case JinjaOperator::kEqual:
      return JinjaEqual(runtime, a, b);
    case JinjaOperator::kNotEqual: {
      KVASIR_ASSIGN_OR_RETURN(const bool equal, JinjaEqual(runtime, a, b));
      return !equal;
    }
    case JinjaOperator::kIn:
      return Contains(runtime, b, a);
    case JinjaOperator::kNotIn: {
      KVASIR_ASSIGN_OR_RETURN(const bool contained, Contains(runtime, b, a));
      return !contained;
    }
    default:
      return Ordered(runtime, op, a, b);
  }
}

Status JinjaSort(JinjaRuntime& runtime, std::vector<Entry>& keyed, bool reverse) {
  // A merge sort of our own: std::stable_sort may not be left in the middle, and comparisons can
  // fail. `reverse` keeps the order of equal elements, as Python does.
  std::vector<Entry> merged(keyed.size());
  for (size_t width = 1; width < keyed.size(); width *= 2) {
    for (size_t begin = 0; begin < keyed.size(); begin += 2 * width) {
      size_t left = begin;
      const size_t left_end = std::min(begin + width, keyed.size());
      size_t right = left_end;
      const size_t right_end = std::min(begin + 2 * width, keyed.size());
      for (size_t out = begin; out < right_end; ++out) {
        bool take_right = left == left_end;
        if (!take_right && right < right_end) {
          const JinjaValue& first = reverse ? keyed[left].first : keyed[right].first;
          const JinjaValue& second = reverse ? keyed[right].first : keyed[left].first;
          KVASIR_ASSIGN_OR_RETURN(take_right, JinjaLess(runtime, first, second));
        }
        merged[out] = std::move(keyed[take_right ? right++ : left++]);
      }
    }
    keyed.swap(merged);
  }
  return OkStatus();
}

Result<std::vector<Entry>> JinjaSortEntries(JinjaRuntime& runtime,
                                            const std::vector<Entry>& entries) {
  std::vector<Entry> sorted = entries;
  KVASIR_RETURN_IF_ERROR(JinjaSort(runtime, sorted, /*reverse=*/false));
  return sorted;
}

Result<const JinjaValue*> JinjaFind(JinjaRuntime& runtime, const JinjaDict& dict,
                                    const JinjaValue& key) {
  const JinjaValue* found = nullptr;
  if (key.is_string()) {
    // The usual case; looking at 16 keys takes about as long as evaluating a node.
    KVASIR_RETURN_IF_ERROR(runtime.budget().SpendSteps(dict.entries.size() / 16));
    for (const auto& [name, value] : dict.entries) {
      if (name.is_string() && name.text() == key.text()) return found = &value;
    }
    return found;
  }
  for (const auto& [name, value] : dict.entries) {
    KVASIR_ASSIGN_OR_RETURN(const bool equal, JinjaEqual(runtime, name, key));
    if (equal) return found = &value;
  }
  return found;
}

Status JinjaInsert(JinjaRuntime& runtime, std::vector<Entry>& entries, JinjaValue key,
                   JinjaValue value) {
  if (!key.hashable()) {
    return InvalidArgument("unhashable type: '" + std::string(JinjaTypeName(key)) + "'");
  }
  for (auto& [name, old_value] : entries) {
    KVASIR_ASSIGN_OR_RETURN(const bool equal, JinjaEqual(runtime, name, key));
    if (!equal) continue;
    old_value = std::move(value);
    return OkStatus();
  }
  entries.emplace_back(std::move(key), std::move(value));
  return OkStatus();
}

}  // namespace kvasir
