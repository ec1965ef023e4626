// The description of the API in OpenAPI 3.0, as /openapi.json serves it: made from the limits in
// force, so that what it allows is what the server takes. A pure function.

#ifndef KVASIR_SERVER_OPENAPI_H_
#define KVASIR_SERVER_OPENAPI_H_

#include <cstddef>
#include <cstdint>
#include <string>

#include "kvasir/base/json.h"

namespace kvasir {

struct ApiDescription {
  std::string version;
  std::string model;
  size_t vocab_size = 0;
  size_t context_tokens = 0;
  uint64_t choice_count_max = 0;
  uint64_t timeout_ms_max = 0;
};

Json DescribeApi(const ApiDescription& api);

}  // namespace kvasir

#endif  // KVASIR_SERVER_OPENAPI_H_
