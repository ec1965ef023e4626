// Filters (value|name(arguments)) and tests (value is name(arguments)) of templates: those of
// jinja2, with tojson as transformers defines it. Tables of functions; any thread.

#ifndef KVASIR_TEXT_JINJA_FILTERS_H_
#define KVASIR_TEXT_JINJA_FILTERS_H_

#include <span>
#include <string>
#include <string_view>

#include "kvasir/base/status.h"
#include "kvasir/text/jinja_runtime.h"
#include "kvasir/text/jinja_value.h"

namespace kvasir {

struct JinjaFilter {
  using Function = Result<JinjaValue> (*)(JinjaRuntime&, const JinjaValue& input,
                                          const JinjaArguments&);
  std::string_view name;
  Function function;
};

struct JinjaTest {
  using Function = Result<bool> (*)(JinjaRuntime&, const JinjaValue& input, const JinjaArguments&);
  std::string_view name;
  Function function;
};

// nullptr when there is none of that name.
const JinjaFilter* JinjaFindFilter(std::string_view name);
const JinjaTest* JinjaFindTest(std::string_view name);

// The same at run time, by name; kInvalidArgument when there is none.
Result<JinjaValue> JinjaApplyFilter(JinjaRuntime& runtime, std::string_view name,
                                    const JinjaValue& input, const JinjaArguments& arguments);
Result<bool> JinjaApplyTest(JinjaRuntime& runtime, std::string_view name, const JinjaValue& input,
                            const JinjaArguments& arguments);

// Parts of the table by subject: jinja_text_filters.cc, jinja_number_filters.cc,
// jinja_sequence_filters.cc and jinja_selection_filters.cc.
std::span<const JinjaFilter> JinjaTextFilters();
std::span<const JinjaFilter> JinjaNumberFilters();
std::span<const JinjaFilter> JinjaSequenceFilters();
std::span<const JinjaFilter> JinjaSelectionFilters();

// Looks into a value along a path: "address.city", 0, "items.0", with subscripts at each point.
// None leads to the value itself.
class JinjaPath {
 public:
  static Result<JinjaPath> Parse(const JinjaValue& attribute);
  // `otherwise` stands for what is undefined on the way, unless it is None.
  Result<JinjaValue> Follow(JinjaRuntime& runtime, const JinjaValue& value,
                            const JinjaValue& otherwise = JinjaValue()) const;

 private:
  std::vector<JinjaValue> parts_;
};

// Strings in lower case, anything else as it is: how filters compare unless told otherwise.
Result<JinjaValue> JinjaIgnoreCase(JinjaRuntime& runtime, const JinjaValue& value);

}  // namespace kvasir

#endif  // KVASIR_TEXT_JINJA_FILTERS_H_
