#include "kvasir/loadgen/trace_file.h"

#include <algorithm>
#include <string>
#include <utility>

#include "kvasir/base/json.h"

namespace kvasir {

namespace {

// Ten times what the largest contexts take: beyond it a trace is no trace.
constexpr size_t kTokensMax = 10'000'000;
// A year: times are added up and scaled.
constexpr double kTimestampMsMax = 366.0 * 24 * 3600 * 1000;

Status ReadCount(const Json& line, const char* name, size_t* count) {
  const auto found = line.find(name);
  if (found == line.end()) return DataLoss(std::string(name) + " is missing");
  if (!found->is_number_unsigned() || found->get<uint64_t>() < 1 ||
      found->get<uint64_t>() > kTokensMax) {
    return DataLoss(std::string(name) + " is " + DumpJson(*found) +
                    ", not a whole number from 1 to " + std::to_string(kTokensMax));
  }
  *count = found->get<size_t>();
  return OkStatus();
}

Result<TraceRequest> ParseLine(std::string_view text) {
  KVASIR_ASSIGN_OR_RETURN(const Json line, ParseJson(text));
  if (!line.is_object()) return DataLoss("it is no JSON object");
  TraceRequest request;
  const auto timestamp = line.find("timestamp");
  if (timestamp == line.end() || !timestamp->is_number() || timestamp->get<double>() < 0 ||
      timestamp->get<double>() > kTimestampMsMax) {
    return DataLoss("timestamp is not a number of milliseconds from 0 up");
  }
  request.timestamp_ms = timestamp->get<double>();
  KVASIR_RETURN_IF_ERROR(ReadCount(line, "input_length", &request.input_tokens));
  KVASIR_RETURN_IF_ERROR(ReadCount(line, "output_length", &request.output_tokens));
  const auto ids = line.find("hash_ids");
  if (ids == line.end() || !ids->is_array()) return DataLoss("hash_ids is not an array");
  for (const Json& id : *ids) {
    if (!id.is_number_unsigned()) {
      return DataLoss("hash_ids holds " + DumpJson(id) + ", not a whole number from 0 up");
    }
    request.hash_ids.push_back(id.get<uint64_t>());
  }
  const size_t blocks = (request.input_tokens + kTraceBlockTokens - 1) / kTraceBlockTokens;
  if (request.hash_ids.size() != blocks) {
    return DataLoss("hash_ids has " + std::to_string(request.hash_ids.size()) + " ids, but " +
                    std::to_string(request.input_tokens) + " tokens are " + std::to_string(blocks) +
                    " blocks of " + std::to_string(kTraceBlockTokens));
  }
  return request;
}

}  // namespace

Result<std::vector<TraceRequest>> ParseTrace(std::string_view text, size_t request_count_max) {
  if (text.starts_with("\x1f\x8b")) {
    return DataLoss("the trace is packed with gzip: unpack it, or pipe it in with zcat and -");
  }
  std::vector<TraceRequest> requests;
  for (size_t number = 1; !text.empty() && requests.size() < request_count_max; ++number) {
    const size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    Result<TraceRequest> request = ParseLine(line);
    if (!request.ok()) {
      return DataLoss("line " + std::to_string(number) + ": " + request.status().message());
    }
    requests.push_back(std::move(*request));
  }
  if (requests.empty()) return DataLoss("the trace has no requests");
  std::stable_sort(
      requests.begin(), requests.end(),
      [](const TraceRequest& a, const TraceRequest& b) { return a.timestamp_ms < b.timestamp_ms; });
  return requests;
}

}  // namespace kvasir
