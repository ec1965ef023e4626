#include "kvasir/base/json.h"

#include <exception>

namespace kvasir {

namespace {

// The deepest nesting of brackets outside strings: checked before parsing, because the parser
// recurses on destruction.
size_t BracketDepth(std::string_view text) {
  size_t depth = 0, deepest = 0;
  bool in_string = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\')
        ++i;
      else if (c == '"')
        in_string = false;
    } else if (c == '"') {
      in_string = true;
    } else if (c == '[' || c == '{') {
      deepest = std::max(deepest, ++depth);
    } else if ((c == ']' || c == '}') && depth > 0) {
      --depth;
    }
  }
  return deepest;
}

}  // namespace

Result<Json> ParseJson(std::string_view text, const JsonLimits& limits) {
  if (text.size() > limits.byte_count_max) {
    return InvalidArgument("JSON text has " + std::to_string(text.size()) + " bytes, at most " +
                           std::to_string(limits.byte_count_max) + " are allowed");
  }
  if (BracketDepth(text) > limits.depth_max) {
    return InvalidArgument("JSON is nested deeper than " + std::to_string(limits.depth_max) +
                           " levels");
  }
  try {
    return Json::parse(text.begin(), text.end());
  } catch (const std::exception& e) {
    return InvalidArgument(std::string("malformed JSON: ") + e.what());
  }
}

std::string DumpJson(const Json& value, int indent) {
  return value.dump(indent, ' ', /*ensure_ascii=*/false, Json::error_handler_t::replace);
}

}  // namespace kvasir
