// JSON for the whole project: nlohmann-json behind one parse function that never throws and bounds
// depth and size. Values are nlohmann::ordered_json, so that objects keep the order of their text
// (chat templates print them). Reading a member: check with contains() and is_*() first; get<T>()
// and at() throw and are for checked values only.

#ifndef KVASIR_BASE_JSON_H_
#define KVASIR_BASE_JSON_H_

#include <cstddef>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "kvasir/base/status.h"

namespace kvasir {

using Json = nlohmann::ordered_json;

struct JsonLimits {
  size_t depth_max = 64;             // nested arrays and objects
  size_t byte_count_max = 64 << 20;  // of the text
};

// Strict JSON (no comments, no trailing text). kInvalidArgument says where and what; a duplicate
// key keeps the last.
Result<Json> ParseJson(std::string_view text, const JsonLimits& limits = {});

// Never throws: invalid UTF-8 is replaced by U+FFFD.
std::string DumpJson(const Json& value, int indent = -1);

}  // namespace kvasir

#endif  // KVASIR_BASE_JSON_H_
