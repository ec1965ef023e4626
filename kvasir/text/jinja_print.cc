#include "kvasir/text/jinja_print.h"

#include <charconv>
#include <cmath>
#include <cstdint>
#include <cstdlib>

#include "kvasir/text/jinja_loop.h"
#include "kvasir/text/jinja_unicode.h"

namespace kvasir {

namespace {

void AppendHex(uint32_t value, size_t digits, std::string& out) {
  for (size_t shift = digits * 4; shift > 0; shift -= 4) {
    out.push_back("0123456789abcdef"[value >> (shift - 4) & 0xF]);
  }
}

void AppendEscaped(uint32_t code_point, std::string& out) {
  if (code_point <= 0xFF) {
    out += "\\x";
    AppendHex(code_point, 2, out);
  } else if (code_point <= 0xFFFF) {
    out += "\\u";
    AppendHex(code_point, 4, out);
  } else {
    out += "\\U";
    AppendHex(code_point, 8, out);
  }
}

void AppendQuoted(std::string_view text, std::string& out) {
  const bool has_single = text.find('\'') != std::string_view::npos;
  const bool has_double = text.find('"') != std::string_view::npos;
  const char quote = has_single && !has_double ? '"' : '\'';
  out.push_back(quote);
  for (size_t offset = 0; offset < text.size();) {
    const std::string_view character = text.substr(offset, JinjaCharBytes(text, offset));
    const uint32_t code_point = JinjaCodePoint(character);
    if (code_point == '\n') {
      out += "\\n";
    } else if (code_point == '\r') {
      out += "\\r";
    } else if (code_point == '\t') {
      out += "\\t";
    } else if (code_point == '\\' || code_point == static_cast<uint32_t>(quote)) {
      out.push_back('\\');
      out += character;
    } else if (JinjaIsPrintable(code_point)) {
      out += character;
    } else {
      AppendEscaped(code_point, out);
    }
    offset += character.size();
  }
  out.push_back(quote);
}

// Writes repr() of a value and all within, as far as the budget goes.
class ReprWriter {
 public:
  ReprWriter(JinjaRuntime& runtime, std::string& out) : runtime_(runtime), out_(out) {}

  Status Write(const JinjaValue& value) {
    const JinjaDepthGuard guard(runtime_);
    KVASIR_RETURN_IF_ERROR(guard.status());
    KVASIR_RETURN_IF_ERROR(WriteByKind(value));
    KVASIR_RETURN_IF_ERROR(runtime_.budget().CheckBytes(out_.size()));
    return runtime_.budget().SpendSteps(1);
  }

 private:
  Status WriteByKind(const JinjaValue& value) {
    switch (value.kind()) {
      case JinjaKind::kUndefined:
        out_ += "Undefined";
        return OkStatus();
      case JinjaKind::kNone:
        out_ += "None";
        return OkStatus();
      case JinjaKind::kBool:
        out_ += value.boolean() ? "True" : "False";
        return OkStatus();
      case JinjaKind::kInt:
        out_ += std::to_string(value.integral());
        return OkStatus();
      case JinjaKind::kFloat:
        out_ += JinjaFloatRepr(value.number());
        return OkStatus();
      case JinjaKind::kString:
        return WriteString(value);
      case JinjaKind::kList:
        return WriteList(value.list());
      case JinjaKind::kDict:
        return WriteDict(value.dict());
      case JinjaKind::kRange:
        WriteRange(value.range());
        return OkStatus();
      case JinjaKind::kObject:
        return WriteObject(*value.object());
    }
    return OkStatus();
  }

  Status WriteString(const JinjaValue& value) {
    KVASIR_RETURN_IF_ERROR(runtime_.budget().SpendBytes(value.text().size()));
    if (value.is_markup()) out_ += "Markup(";
    AppendQuoted(value.text(), out_);
    if (value.is_markup()) out_ += ")";
    return OkStatus();
  }

  Status WriteList(const JinjaList& list) {
    constexpr std::string_view kOpen[] = {"[", "(", "dict_keys([", "dict_values([", "dict_items(["};
    constexpr std::string_view kClose[] = {"]", ")", "])", "])", "])"};
    out_ += kOpen[static_cast<size_t>(list.kind)];
    for (size_t i = 0; i < list.items.size(); ++i) {
      if (i > 0) out_ += ", ";
      KVASIR_RETURN_IF_ERROR(Write(list.items[i]));
    }
    if (list.kind == JinjaListKind::kTuple && list.items.size() == 1) out_ += ",";
    out_ += kClose[static_cast<size_t>(list.kind)];
    return OkStatus();
  }

  Status WriteDict(const JinjaDict& dict) {
    out_ += "{";
    for (size_t i = 0; i < dict.entries.size(); ++i) {
      if (i > 0) out_ += ", ";
      KVASIR_RETURN_IF_ERROR(Write(dict.entries[i].first));
      out_ += ": ";
      KVASIR_RETURN_IF_ERROR(Write(dict.entries[i].second));
    }
    out_ += "}";
    return OkStatus();
  }

  void WriteRange(const JinjaRange& range) {
    out_ += "range(" + std::to_string(range.start) + ", " + std::to_string(range.stop);
    if (range.step != 1) out_ += ", " + std::to_string(range.step);
    out_ += ")";
  }

  Status WriteObject(JinjaObject& object) {
    if (object.kind() == JinjaObjectKind::kLoop) {
      JinjaLoop& loop = static_cast<JinjaLoop&>(object);
      KVASIR_ASSIGN_OR_RETURN(const size_t length, loop.Length(runtime_));
      out_ += "<LoopContext " + std::to_string(loop.index()) + "/" + std::to_string(length) + ">";
      return OkStatus();
    }
    if (object.kind() != JinjaObjectKind::kNamespace) {
      out_ += object.Repr();
      return OkStatus();
    }
    out_ += "<Namespace {";
    bool first = true;
    for (const auto& [name, value] : static_cast<JinjaNamespace&>(object).members()) {
      if (!first) out_ += ", ";
      first = false;
      AppendQuoted(name, out_);
      out_ += ": ";
      KVASIR_RETURN_IF_ERROR(Write(value));
    }
    out_ += "}>";
    return OkStatus();
  }

  JinjaRuntime& runtime_;
  std::string& out_;
};

}  // namespace

Result<std::string> JinjaStr(JinjaRuntime& runtime, const JinjaValue& value) {
  if (value.is_undefined()) return std::string();
  if (value.is_string()) {
    KVASIR_RETURN_IF_ERROR(runtime.budget().SpendBytes(value.text().size()));
    return value.text();
  }
  return JinjaRepr(runtime, value);
}

Result<std::string> JinjaRepr(JinjaRuntime& runtime, const JinjaValue& value) {
  std::string out;
  KVASIR_RETURN_IF_ERROR(ReprWriter(runtime, out).Write(value));
  return out;
}

std::string JinjaFloatRepr(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
  // The shortest digits, as d.ddde-xx; then laid out as Python does: without an exponent from 1e-4
  // up to 1e16.
  char buffer[40];
  const auto end =
      std::to_chars(buffer, buffer + sizeof(buffer), value, std::chars_format::scientific).ptr;
  std::string_view text(buffer, end - buffer);
  const bool negative = text[0] == '-';
  if (negative) text.remove_prefix(1);
  const size_t e = text.find('e');
  const int exponent = std::atoi(std::string(text.substr(e + 1)).c_str());
  std::string digits(1, text[0]);
  if (e > 2) digits += text.substr(2, e - 2);

  std::string out = negative ? "-" : "";
  if (exponent < -4 || exponent >= 16) {
    out += digits.substr(0, 1);
    if (digits.size() > 1) out += "." + digits.substr(1);
    const std::string magnitude = std::to_string(std::abs(exponent));
    out += exponent < 0 ? "e-" : "e+";
    return out + (magnitude.size() < 2 ? "0" : "") + magnitude;
  }
  if (exponent < 0) return out + "0." + std::string(-exponent - 1, '0') + digits;
  const size_t integer_digits = static_cast<size_t>(exponent) + 1;
  if (digits.size() <= integer_digits) {
    return out + digits + std::string(integer_digits - digits.size(), '0') + ".0";
  }
  return out + digits.substr(0, integer_digits) + "." + digits.substr(integer_digits);
}

std::string JinjaEscapeHtml(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (const char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '\'':
        out += "&#39;";
        break;
      case '"':
        out += "&#34;";
        break;
      default:
        out.push_back(c);
    }
  }
  return out;
}

}  // namespace kvasir
