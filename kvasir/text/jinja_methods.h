// Methods that values of templates have by their type: those of Python's str, dict, list and tuple
// that change nothing. Those that change a value exist by name and are refused, as transformers'
// immutable sandbox does.

#ifndef KVASIR_TEXT_JINJA_METHODS_H_
#define KVASIR_TEXT_JINJA_METHODS_H_

#include <span>
#include <string_view>

#include "kvasir/base/status.h"
#include "kvasir/text/jinja_runtime.h"
#include "kvasir/text/jinja_value.h"

namespace kvasir {

struct JinjaMethod {
  using Function = Result<JinjaValue> (*)(JinjaRuntime&, const JinjaValue& self,
                                          const JinjaArguments&);
  std::string_view name;
  Function function = nullptr;  // nullptr: there in Python, but not for templates
  bool mutates = false;         // then why
};

// The method `name` of values like `value`, nullptr when Python has none.
const JinjaMethod* JinjaFindMethod(const JinjaValue& value, std::string_view name);

// `value`.`method` as a value: a function, or undefined with the reason where it is refused.
Result<JinjaValue> JinjaBindMethod(JinjaRuntime& runtime, const JinjaValue& value,
                                   const JinjaMethod& method);
Result<JinjaValue> JinjaCallMethod(JinjaRuntime& runtime, const JinjaValue& value,
                                   const JinjaMethod& method, const JinjaArguments& arguments);

// All methods of strings; jinja_string_methods.cc.
std::span<const JinjaMethod> JinjaStringMethods();

}  // namespace kvasir

#endif  // KVASIR_TEXT_JINJA_METHODS_H_
