// Formatting of strings: Python's `template % values`, and str.format as far as templates use it.

#ifndef KVASIR_TEXT_JINJA_FORMAT_H_
#define KVASIR_TEXT_JINJA_FORMAT_H_

#include "kvasir/base/status.h"
#include "kvasir/text/jinja_runtime.h"
#include "kvasir/text/jinja_value.h"

namespace kvasir {

// `format % values`: a tuple gives the values one by one, a dict by name, anything else is the only
// one. REQUIRES a string `format`.
Result<JinjaValue> JinjaPercentFormat(JinjaRuntime& runtime, const JinjaValue& format,
                                      const JinjaValue& values);

// format.format(...): {}, {0}, {name} with !s and !r; format specifications are refused by name.
// REQUIRES a string `format`.
Result<JinjaValue> JinjaBraceFormat(JinjaRuntime& runtime, const JinjaValue& format,
                                    const JinjaArguments& arguments);

}  // namespace kvasir

#endif  // KVASIR_TEXT_JINJA_FORMAT_H_
