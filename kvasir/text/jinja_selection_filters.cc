// Filters that give one element after another: map, select and their kin, batch and slice.

#include <algorithm>
#include <utility>

#include "kvasir/text/jinja_filters.h"
#include "kvasir/text/jinja_operators.h"

namespace kvasir {

namespace {

using MaybeValue = Result<std::optional<JinjaValue>>;

// jinja2 looks into a sequence only when it is true: |map of none is empty, of 1 an error.
Result<JinjaIterator*> SourceOf(JinjaRuntime& runtime, const JinjaValue& input) {
  if (JinjaTruth(input)) return JinjaIterate(runtime, input);
  return JinjaIterate(runtime, JinjaValue::Undefined("empty"));
}

// The arguments from `first` on, for the filter or test that is applied to each element.
JinjaArguments Rest(const JinjaArguments& arguments, size_t first) {
  JinjaArguments rest = arguments;
  rest.positional.erase(rest.positional.begin(), rest.positional.begin() + first);
  return rest;
}

// What |map does with an element: look up an attribute, or apply a filter.
class Mapping {
 public:
  static Result<Mapping> Create(const JinjaArguments& arguments) {
    Mapping mapping;
    if (!arguments.positional.empty()) {
      if (!arguments.positional[0].is_string()) {
        return InvalidArgument("map() takes the name of a filter");
      }
      mapping.filter_ = arguments.positional[0].text();
      mapping.arguments_ = Rest(arguments, 1);
      return mapping;
    }
    std::optional<JinjaValue> attribute;
    for (const auto& [name, value] : arguments.keyword) {
      if (name == "attribute") {
        attribute = value;
      } else if (name == "default") {
        mapping.default_ = value;
      } else {
        return InvalidArgument("map() takes no argument named '" + name + "'");
      }
    }
    if (!attribute.has_value()) return InvalidArgument("map requires a filter argument");
    KVASIR_ASSIGN_OR_RETURN(mapping.path_, JinjaPath::Parse(*attribute));
    return mapping;
  }

  Result<JinjaValue> Apply(JinjaRuntime& runtime, const JinjaValue& element) const {
    if (filter_.empty()) return path_.Follow(runtime, element, default_);
    return JinjaApplyFilter(runtime, filter_, element, arguments_);
  }

 private:
  std::string filter_;
  JinjaArguments arguments_;
  JinjaPath path_;
  JinjaValue default_;
};

Result<JinjaValue> Map(JinjaRuntime& runtime, const JinjaValue& input,
                       const JinjaArguments& arguments) {
  return JinjaNewIterator(
      runtime, input.depth(),
      [input, arguments, mapping = Mapping(),
       source = static_cast<JinjaIterator*>(nullptr)](JinjaRuntime& r) mutable -> MaybeValue {
        if (source == nullptr) {
          KVASIR_ASSIGN_OR_RETURN(source, SourceOf(r, input));
          if (JinjaTruth(input)) {
            KVASIR_ASSIGN_OR_RETURN(mapping, Mapping::Create(arguments));
          }
        }
        KVASIR_ASSIGN_OR_RETURN(const std::optional<JinjaValue> element, source->Next(r));
        if (!element.has_value()) return element;
        KVASIR_ASSIGN_OR_RETURN(JinjaValue mapped, mapping.Apply(r, *element));
        return std::optional(std::move(mapped));
      });
}

// What |select and its kin ask of an element: a test of it or of an attribute, or its truth.
class Condition {
 public:
  static Result<Condition> Create(const JinjaArguments& arguments, bool by_attribute) {
    Condition condition;
    size_t next = 0;
    if (by_attribute) {
      if (arguments.positional.empty()) {
        return InvalidArgument("Missing parameter for attribute name");
      }
      KVASIR_ASSIGN_OR_RETURN(condition.path_, JinjaPath::Parse(arguments.positional[next++]));
    }
    if (arguments.positional.size() > next) {
      if (!arguments.positional[next].is_string()) {
        return InvalidArgument("select() takes the name of a test");
      }
      condition.test_ = arguments.positional[next++].text();
      condition.arguments_ = Rest(arguments, next);
    }
    return condition;
  }

  Result<bool> Holds(JinjaRuntime& runtime, const JinjaValue& element) const {
    KVASIR_ASSIGN_OR_RETURN(const JinjaValue value, path_.Follow(runtime, element));
    if (test_.empty()) return JinjaTruth(value);
    return JinjaApplyTest(runtime, test_, value, arguments_);
  }

 private:
  JinjaPath path_;
  std::string test_;
  JinjaArguments arguments_;
};

template <bool kWanted, bool kByAttribute>
Result<JinjaValue> Select(JinjaRuntime& runtime, const JinjaValue& input,
                          const JinjaArguments& arguments) {
  return JinjaNewIterator(
      runtime, input.depth(),
      [input, arguments, condition = Condition(),
       source = static_cast<JinjaIterator*>(nullptr)](JinjaRuntime& r) mutable -> MaybeValue {
        if (source == nullptr) {
          KVASIR_ASSIGN_OR_RETURN(source, SourceOf(r, input));
          if (JinjaTruth(input)) {
            KVASIR_ASSIGN_OR_RETURN(condition, Condition::Create(arguments, kByAttribute));
          }
        }
        while (true) {
          KVASIR_ASSIGN_OR_RETURN(std::optional<JinjaValue> element, source->Next(r));
          if (!element.has_value()) return element;
          KVASIR_ASSIGN_OR_RETURN(const bool holds, condition.Holds(r, *element));
          if (holds == kWanted) return element;
        }
      });
}

// Lists of `size` elements; the last is filled up with `fill` unless it is None.
Result<JinjaValue> Batch(JinjaRuntime& runtime, const JinjaValue& input,
                         const JinjaArguments& arguments) {
  KVASIR_ASSIGN_OR_RETURN(const JinjaBound bound,
                          JinjaBind("batch", arguments, {"linecount", "fill_with"}, 1));
  return JinjaNewIterator(
      runtime, input.depth(),
      [input, size = *bound[0], fill = bound[1].value_or(JinjaValue()), pending = JinjaValue(),
       has_pending = false,
       source = static_cast<JinjaIterator*>(nullptr)](JinjaRuntime& r) mutable -> MaybeValue {
        if (source == nullptr) {
          KVASIR_ASSIGN_OR_RETURN(source, JinjaIterate(r, input));
        }
        if (!size.is_number()) return InvalidArgument("batch() takes a number of elements");
        std::vector<JinjaValue> items;
        if (std::exchange(has_pending, false)) items.push_back(pending);
        while (true) {
          KVASIR_ASSIGN_OR_RETURN(std::optional<JinjaValue> element, source->Next(r));
          if (!element.has_value()) break;
          if (static_cast<double>(items.size()) == size.number()) {
            pending = std::move(*element);
            has_pending = true;
            KVASIR_ASSIGN_OR_RETURN(JinjaValue batch, r.NewList(std::move(items)));
            return std::optional(std::move(batch));
          }
          items.push_back(std::move(*element));
        }
        if (items.empty()) return std::optional<JinjaValue>();
        const double missing = size.number() - static_cast<double>(items.size());
        if (!fill.is_none() && missing > 0) {
          KVASIR_RETURN_IF_ERROR(r.budget().CheckBytes(
              missing < 1e9 ? static_cast<size_t>(missing) * sizeof(JinjaValue) : SIZE_MAX));
          items.insert(items.end(), static_cast<size_t>(missing), fill);
        }
        KVASIR_ASSIGN_OR_RETURN(JinjaValue batch, r.NewList(std::move(items)));
        return std::optional(std::move(batch));
      });
}

// `slices` lists that share the elements evenly, the longer ones first.
Result<JinjaValue> Slice(JinjaRuntime& runtime, const JinjaValue& input,
                         const JinjaArguments& arguments) {
  KVASIR_ASSIGN_OR_RETURN(const JinjaBound bound,
                          JinjaBind("slice", arguments, {"slices", "fill_with"}, 1));
  return JinjaNewIterator(
      runtime, input.depth(),
      [input, slices = *bound[0], fill = bound[1].value_or(JinjaValue()), index = size_t{0},
       items = std::vector<JinjaValue>()](JinjaRuntime& r) mutable -> MaybeValue {
        if (index == 0) {
          KVASIR_ASSIGN_OR_RETURN(items, JinjaElements(r, input));
        }
        if (!slices.is_integral() || slices.integral() == 0) {
          return InvalidArgument("slice() takes a number of slices other than 0");
        }
        if (slices.integral() < 0 || index == static_cast<size_t>(slices.integral())) {
          return std::optional<JinjaValue>();
        }
        const size_t count = static_cast<size_t>(slices.integral());
        const size_t length = items.size() / count;
        const size_t longer = items.size() % count;
        const size_t begin = index * length + std::min(index, longer);
        const size_t end = begin + length + (index < longer ? 1 : 0);
        std::vector<JinjaValue> slice(items.begin() + begin, items.begin() + end);
        if (!fill.is_none() && index >= longer) slice.push_back(fill);
        ++index;
        KVASIR_ASSIGN_OR_RETURN(JinjaValue list, r.NewList(std::move(slice)));
        return std::optional(std::move(list));
      });
}

constexpr JinjaFilter kFilters[] = {
    {"batch", Batch},
    {"map", Map},
    {"reject", Select<false, false>},
    {"rejectattr", Select<false, true>},
    {"select", Select<true, false>},
    {"selectattr", Select<true, true>},
    {"slice", Slice},
};

}  // namespace

std::span<const JinjaFilter> JinjaSelectionFilters() { return kFilters; }

}  // namespace kvasir
