#include "kvasir/text/jinja_filters.h"

#include <algorithm>

#include "kvasir/text/jinja_operators.h"
#include "kvasir/text/jinja_unicode.h"

namespace kvasir {

const JinjaFilter* JinjaFindFilter(std::string_view name) {
  for (const auto filters : {JinjaTextFilters(), JinjaNumberFilters(), JinjaSequenceFilters(),
                             JinjaSelectionFilters()}) {
    const auto it = std::find_if(filters.begin(), filters.end(),
                                 [&](const JinjaFilter& filter) { return filter.name == name; });
    if (it != filters.end()) return &*it;
  }
  return nullptr;
}

Result<JinjaValue> JinjaApplyFilter(JinjaRuntime& runtime, std::string_view name,
                                    const JinjaValue& input, const JinjaArguments& arguments) {
  const JinjaFilter* const filter = JinjaFindFilter(name);
  if (filter == nullptr) return InvalidArgument("No filter named '" + std::string(name) + "'");
  KVASIR_RETURN_IF_ERROR(runtime.budget().SpendSteps(1));
  return filter->function(runtime, input, arguments);
}

Result<bool> JinjaApplyTest(JinjaRuntime& runtime, std::string_view name, const JinjaValue& input,
                            const JinjaArguments& arguments) {
  const JinjaTest* const test = JinjaFindTest(name);
  if (test == nullptr) return InvalidArgument("No test named '" + std::string(name) + "'");
  KVASIR_RETURN_IF_ERROR(runtime.budget().SpendSteps(1));
  return test->function(runtime, input, arguments);
}

Result<JinjaPath> JinjaPath::Parse(const JinjaValue& attribute) {
  JinjaPath path;
  if (attribute.is_none()) return path;
  if (!attribute.is_string()) {
    path.parts_.push_back(attribute);
    return path;
  }
  std::string_view rest = attribute.text();
  while (true) {
    const size_t dot = rest.find('.');
    const std::string_view part = rest.substr(0, dot);
    const bool digits =
        !part.empty() && part.find_first_not_of("0123456789") == std::string_view::npos;
    if (digits && part.size() > 18) {
      return InvalidArgument("the index " + std::string(part) + " of an attribute is too large");
    }
    path.parts_.push_back(digits ? JinjaValue(static_cast<int64_t>(std::stoll(std::string(part))))
                                 : JinjaValue(part));
    if (dot == std::string_view::npos) return path;
    rest.remove_prefix(dot + 1);
  }
}

Result<JinjaValue> JinjaPath::Follow(JinjaRuntime& runtime, const JinjaValue& value,
                                     const JinjaValue& otherwise) const {
  JinjaValue current = value;
  for (const JinjaValue& part : parts_) {
    KVASIR_RETURN_IF_ERROR(runtime.budget().SpendSteps(1));
    KVASIR_ASSIGN_OR_RETURN(current, JinjaGetItem(runtime, current, part));
    if (current.is_undefined() && !otherwise.is_none()) current = otherwise;
  }
  return current;
}

Result<JinjaValue> JinjaIgnoreCase(JinjaRuntime& runtime, const JinjaValue& value) {
  if (!value.is_string()) return value;
  KVASIR_RETURN_IF_ERROR(runtime.budget().SpendBytes(value.text().size() * 2));
  return JinjaValue(JinjaLower(value.text()), value.is_markup());
}

}  // namespace kvasir
