#include "kvasir/cli/json_output.h"

#include "kvasir/cli/output.h"

namespace kvasir {

Status PrintJson(const Json& value) {
  Output output;
  output.Write(DumpJson(value, 2) + "\n");
  return output.status();
}

}  // namespace kvasir
