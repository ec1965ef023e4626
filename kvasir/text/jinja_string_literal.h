// The text that a string literal of a template stands for. Pure function, any thread.

#ifndef KVASIR_TEXT_JINJA_STRING_LITERAL_H_
#define KVASIR_TEXT_JINJA_STRING_LITERAL_H_

#include <string>
#include <string_view>

#include "kvasir/base/status.h"

namespace kvasir {

// `literal` (what stands between the quotes) with Python's escapes resolved. An escape that Python
// does not know stays as it is. kInvalidArgument for incomplete escapes, surrogates and \N.
Result<std::string> JinjaUnescape(std::string_view literal);

}  // namespace kvasir

#endif  // KVASIR_TEXT_JINJA_STRING_LITERAL_H_
