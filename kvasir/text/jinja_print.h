// How values of a template become text: Python's str() and repr(), and JSON as Python's json.dumps
// writes it. The spelling matters to the byte: models were trained on prompts written this way.

#ifndef KVASIR_TEXT_JINJA_PRINT_H_
#define KVASIR_TEXT_JINJA_PRINT_H_

#include <optional>
#include <string>
#include <string_view>

#include "kvasir/base/status.h"
#include "kvasir/text/jinja_runtime.h"
#include "kvasir/text/jinja_value.h"

namespace kvasir {

// str(value); an undefined value is empty.
Result<std::string> JinjaStr(JinjaRuntime& runtime, const JinjaValue& value);

// repr(value): strings in quotes, with escapes.
Result<std::string> JinjaRepr(JinjaRuntime& runtime, const JinjaValue& value);

// Python's shortest text that reads back as `value`: "0.1", "1e+16", "inf".
std::string JinjaFloatRepr(double value);

struct JinjaJsonOptions {
  bool ensure_ascii = false;
  std::optional<std::string> indent;  // what one level is indented by; nullopt: one line
  std::string item_separator = ", ";
  std::string key_separator = ": ";
  bool sort_keys = false;
};

// kInvalidArgument for values that JSON does not have (undefined, namespaces ...).
Result<std::string> JinjaToJson(JinjaRuntime& runtime, const JinjaValue& value,
                                const JinjaJsonOptions& options);

// `text` with & < > ' " as HTML entities.
std::string JinjaEscapeHtml(std::string_view text);

}  // namespace kvasir

#endif  // KVASIR_TEXT_JINJA_PRINT_H_
