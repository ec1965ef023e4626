// Traces of real services in the format that the Mooncake project published: one JSON object a
// line, with `timestamp` (ms), `input_length`, `output_length` and `hash_ids`, one id for each
// block of 512 prompt tokens; equal ids are equal whole prefixes. There is no text: prompts are
// made from the ids. A value; pure functions.

#ifndef KVASIR_LOADGEN_TRACE_FILE_H_
#define KVASIR_LOADGEN_TRACE_FILE_H_

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "kvasir/base/status.h"

namespace kvasir {

inline constexpr size_t kTraceBlockTokens = 512;

struct TraceRequest {
  double timestamp_ms = 0;
  size_t input_tokens = 0;
  size_t output_tokens = 0;
  std::vector<uint64_t> hash_ids;  // ceil(input_tokens / kTraceBlockTokens)
};

// The first `request_count_max` requests, in order of time. kDataLoss names the line and member
// that is wrong, or says that there is no request at all or that the text is packed with gzip.
Result<std::vector<TraceRequest>> ParseTrace(std::string_view text, size_t request_count_max);

}  // namespace kvasir

#endif  // KVASIR_LOADGEN_TRACE_FILE_H_
