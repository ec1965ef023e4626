// JsonOutput: the one way in which commands print JSON. Main thread.

#ifndef KVASIR_CLI_JSON_OUTPUT_H_
#define KVASIR_CLI_JSON_OUTPUT_H_

#include "kvasir/base/json.h"
#include "kvasir/base/status.h"

namespace kvasir {

// Prints `value` on standard output, indented, with a newline. A reader that has closed its pipe is
// no error.
Status PrintJson(const Json& value);

}  // namespace kvasir

#endif  // KVASIR_CLI_JSON_OUTPUT_H_
