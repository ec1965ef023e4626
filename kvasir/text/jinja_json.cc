// JinjaToJson: json.dumps as the tojson filter of chat templates calls it.

#include <algorithm>
#include <cmath>

#include "kvasir/text/jinja_operators.h"
#include "kvasir/text/jinja_print.h"
#include "kvasir/text/jinja_unicode.h"

namespace kvasir {

namespace {

using Entry = std::pair<JinjaValue, JinjaValue>;

std::string JsonFloat(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value > 0 ? "Infinity" : "-Infinity";
  return JinjaFloatRepr(value);
}

void AppendUnicodeEscape(uint32_t unit, std::string& out) {
  out += "\\u";
  for (int shift = 12; shift >= 0; shift -= 4)
    out.push_back("0123456789abcdef"[unit >> shift & 15]);
}

void AppendJsonCharacter(std::string_view character, bool ensure_ascii, std::string& out) {
  constexpr std::string_view kEscaped = "\"\\\n\r\t\f\b";
  constexpr std::string_view kEscapes = "\"\\nrtfb";
  const uint32_t code_point = JinjaCodePoint(character);
  const size_t escape =
      character.size() == 1 ? kEscaped.find(character[0]) : std::string_view::npos;
  if (escape != std::string_view::npos) {
    out.push_back('\\');
    out.push_back(kEscapes[escape]);
  } else if (code_point < 0x20 || (ensure_ascii && code_point >= 0x7F && code_point <= 0xFFFF)) {
    AppendUnicodeEscape(code_point, out);
  } else if (ensure_ascii && code_point > 0xFFFF) {
    AppendUnicodeEscape(0xD800 + ((code_point - 0x10000) >> 10), out);
    AppendUnicodeEscape(0xDC00 + ((code_point - 0x10000) & 0x3FF), out);
  } else {
    out += character;
  }
}

class JsonWriter {
 public:
  JsonWriter(JinjaRuntime& runtime, const JinjaJsonOptions& options, std::string& out)
      : runtime_(runtime), options_(options), out_(out) {}

  Status Write(const JinjaValue& value, size_t level) {
    const JinjaDepthGuard guard(runtime_);
    KVASIR_RETURN_IF_ERROR(guard.status());
    KVASIR_RETURN_IF_ERROR(runtime_.budget().SpendSteps(1));
    if (value.is_string()) {
      KVASIR_RETURN_IF_ERROR(WriteString(value.text()));
    } else if (value.is_list_or_tuple()) {
      KVASIR_RETURN_IF_ERROR(WriteArray(value.list(), level));
    } else if (value.is_dict()) {
      KVASIR_RETURN_IF_ERROR(WriteObject(value.dict(), level));
    } else {
      KVASIR_ASSIGN_OR_RETURN(const std::string scalar, Scalar(value));
      out_ += scalar;
    }
    return runtime_.budget().CheckBytes(out_.size());
  }

 private:
  static Result<std::string> Scalar(const JinjaValue& value) {
    if (value.is_none()) return std::string("null");
    if (value.is_bool()) return std::string(value.boolean() ? "true" : "false");
    if (value.is_int()) return std::to_string(value.integral());
    if (value.is_float()) return JsonFloat(value.number());
    return InvalidArgument("Object of type " + std::string(JinjaTypeName(value)) +
                           " is not JSON serializable");
  }

  Status WriteString(std::string_view text) {
    KVASIR_RETURN_IF_ERROR(runtime_.budget().SpendBytes(text.size()));
    out_.push_back('"');
    for (size_t offset = 0; offset < text.size();) {
      const std::string_view character = text.substr(offset, JinjaCharBytes(text, offset));
      AppendJsonCharacter(character, options_.ensure_ascii, out_);
      offset += character.size();
    }
    out_.push_back('"');
    return OkStatus();
  }

  Status NewLine(size_t level) {
    if (!options_.indent.has_value()) return OkStatus();
    KVASIR_RETURN_IF_ERROR(runtime_.budget().SpendBytes(level * options_.indent->size()));
    out_.push_back('\n');
    for (size_t i = 0; i < level; ++i) out_ += *options_.indent;
    return OkStatus();
  }

  Status WriteArray(const JinjaList& list, size_t level) {
    out_.push_back('[');
    for (size_t i = 0; i < list.items.size(); ++i) {
      if (i > 0) out_ += options_.item_separator;
      KVASIR_RETURN_IF_ERROR(NewLine(level + 1));
      KVASIR_RETURN_IF_ERROR(Write(list.items[i], level + 1));
    }
    if (!list.items.empty()) KVASIR_RETURN_IF_ERROR(NewLine(level));
    out_.push_back(']');
    return OkStatus();
  }

  Status WriteObject(const JinjaDict& dict, size_t level) {
    std::vector<Entry> sorted;
    if (options_.sort_keys) {
      KVASIR_ASSIGN_OR_RETURN(sorted, JinjaSortEntries(runtime_, dict.entries));
    }
    const std::vector<Entry>& entries = options_.sort_keys ? sorted : dict.entries;
    out_.push_back('{');
    for (size_t i = 0; i < entries.size(); ++i) {
      if (i > 0) out_ += options_.item_separator;
      KVASIR_RETURN_IF_ERROR(NewLine(level + 1));
      KVASIR_RETURN_IF_ERROR(WriteKey(entries[i].first));
      out_ += options_.key_separator;
      KVASIR_RETURN_IF_ERROR(Write(entries[i].second, level + 1));
    }
    if (!entries.empty()) KVASIR_RETURN_IF_ERROR(NewLine(level));
    out_.push_back('}');
    return OkStatus();
  }

  Status WriteKey(const JinjaValue& key) {
    if (key.is_string()) return WriteString(key.text());
    const Result<std::string> scalar = Scalar(key);
    if (!scalar.ok()) {
      return InvalidArgument("keys must be str, int, float, bool or None, not " +
                             std::string(JinjaTypeName(key)));
    }
    return WriteString(*scalar);
  }

  JinjaRuntime& runtime_;
  const JinjaJsonOptions& options_;
  std::string& out_;
};

}  // namespace

Result<std::string> JinjaToJson(JinjaRuntime& runtime, const JinjaValue& value,
                                const JinjaJsonOptions& options) {
  std::string out;
  KVASIR_RETURN_IF_ERROR(JsonWriter(runtime, options, out).Write(value, 0));
  return out;
}

}  // namespace kvasir
