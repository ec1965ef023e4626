#include "kvasir/text/jinja_format.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>

#include "kvasir/text/jinja_operators.h"
#include "kvasir/text/jinja_print.h"
#include "kvasir/text/jinja_unicode.h"

namespace kvasir {

namespace {

// Numbers and padding of one directive: wider ones are refused, no prompt needs them.
constexpr int kWidthMax = 1000;

struct Directive {
  std::string key;  // of %(key)s
  bool has_key = false;
  bool left = false;
  bool zero = false;
  bool plus = false;
  bool space = false;
  bool alternate = false;
  int width = 0;
  int precision = -1;
  char conversion = 's';
};

// Walks a %-format and takes the values that it asks for.
class PercentFormatter {
 public:
  PercentFormatter(JinjaRuntime& runtime, std::string_view format, const JinjaValue& values)
      : runtime_(runtime), format_(format), values_(values) {
    if (values.is_list_of(JinjaListKind::kTuple)) {
      positional_ = values.list().items;
    } else {
      positional_ = {values};
    }
  }

  Result<std::string> Run() {
    std::string out;
    while (position_ < format_.size()) {
      const size_t percent = format_.find('%', position_);
      out += format_.substr(position_, percent - position_);
      if (percent == std::string_view::npos) break;
      position_ = percent + 1;
      KVASIR_ASSIGN_OR_RETURN(const Directive directive, ParseDirective());
      KVASIR_ASSIGN_OR_RETURN(const std::string text, Convert(directive));
      out += text;
      KVASIR_RETURN_IF_ERROR(runtime_.budget().SpendBytes(text.size()));
      KVASIR_RETURN_IF_ERROR(runtime_.budget().CheckBytes(out.size()));
    }
    const bool mapping = values_.is_dict() || values_.is_list_of(JinjaListKind::kList) ||
                         values_.is_undefined() || values_.is_range();
    if (used_ < positional_.size() && !mapping) {
      return InvalidArgument("not all arguments converted during string formatting");
    }
    return out;
  }

 private:
  char Peek() const { return position_ < format_.size() ? format_[position_] : '\0'; }

  Result<int> ParseNumber() {
    int number = 0;
    for (; Peek() >= '0' && Peek() <= '9'; ++position_) {
      number = number * 10 + (Peek() - '0');
      if (number > kWidthMax) {
        return InvalidArgument("widths in a format must not exceed " + std::to_string(kWidthMax));
      }
    }
    return number;
  }

  Result<Directive> ParseDirective() {
    Directive d;
    if (Peek() == '(') {
      const size_t close = format_.find(')', position_);
      if (close == std::string_view::npos) return InvalidArgument("incomplete format key");
      d.key = std::string(format_.substr(position_ + 1, close - position_ - 1));
      d.has_key = true;
      position_ = close + 1;
    }
    for (bool flag = true; flag; position_ += flag) {
      const char c = Peek();
      d.left |= c == '-';
      d.zero |= c == '0';
      d.plus |= c == '+';
      d.space |= c == ' ';
      d.alternate |= c == '#';
      flag = c != '\0' && std::string_view("-0+ #").find(c) != std::string_view::npos;
    }
    KVASIR_ASSIGN_OR_RETURN(d.width, ParseNumber());
    if (Peek() == '.') {
      ++position_;
      KVASIR_ASSIGN_OR_RETURN(d.precision, ParseNumber());
    }
    if (position_ == format_.size()) return InvalidArgument("incomplete format");
    d.conversion = format_[position_++];
    if (std::string_view("sraiduxXofFeEgGc%").find(d.conversion) == std::string_view::npos) {
      return InvalidArgument("unsupported format character '" + std::string(1, d.conversion) + "'");
    }
    return d;
  }

  Result<JinjaValue> Take(const Directive& d) {
    if (d.has_key) {
      if (!values_.is_dict()) return InvalidArgument("format requires a mapping");
      used_ = positional_.size();
      KVASIR_ASSIGN_OR_RETURN(const JinjaValue* const value,
                              JinjaFind(runtime_, values_.dict(), JinjaValue(d.key)));
      if (value == nullptr) return InvalidArgument("the format names no key '" + d.key + "'");
      return *value;
    }
    if (used_ >= positional_.size()) {
      return InvalidArgument("not enough arguments for format string");
    }
    return positional_[used_++];
  }

  Result<std::string> Convert(const Directive& d) {
    if (d.conversion == '%') return std::string("%");
    KVASIR_ASSIGN_OR_RETURN(const JinjaValue value, Take(d));
    std::string text;
    if (d.conversion == 's' || d.conversion == 'r' || d.conversion == 'a') {
      KVASIR_ASSIGN_OR_RETURN(
          text, d.conversion == 's' ? JinjaStr(runtime_, value) : JinjaRepr(runtime_, value));
      if (d.precision >= 0) text.resize(JinjaCharOffset(text, d.precision));
      return Pad(std::move(text), d, /*numeric=*/false);
    }
    if (d.conversion == 'c') {
      KVASIR_ASSIGN_OR_RETURN(text, Character(value));
      return Pad(std::move(text), d, /*numeric=*/false);
    }
    if (value.is_undefined()) return JinjaUndefinedError(value);
    if (!value.is_number()) {
      return InvalidArgument("%" + std::string(1, d.conversion) +
                             " format: a real number is required, not " +
                             std::string(JinjaTypeName(value)));
    }
    KVASIR_ASSIGN_OR_RETURN(text,
                            std::string_view("fFeEgG").find(d.conversion) != std::string_view::npos
                                ? Result<std::string>(FloatText(value.number(), d))
                                : IntText(value, d));
    return Pad(std::move(text), d, /*numeric=*/true);
  }

  static Result<std::string> Character(const JinjaValue& value) {
    if (value.is_string() && value.string().char_count == 1) return value.text();
    if (!value.is_integral()) return InvalidArgument("%c requires int or char");
    if (value.integral() < 0 || value.integral() > 0x10FFFF) {
      return InvalidArgument("%c arg not in range(0x110000)");
    }
    std::string text;
    JinjaAppendUtf8(static_cast<uint32_t>(value.integral()), text);
    return text;
  }

  static std::string FloatText(double number, const Directive& d) {
    const std::string format = std::string("%") +
                               (d.plus    ? "+"
                                : d.space ? " "
                                          : "") +
                               (d.alternate ? "#" : "") + ".*" + d.conversion;
    char buffer[kWidthMax + 400];
    const int bytes = std::snprintf(buffer, sizeof(buffer), format.c_str(),
                                    d.precision >= 0 ? d.precision : 6, number);
    return std::string(buffer, bytes);
  }

  static Result<std::string> IntText(const JinjaValue& value, const Directive& d) {
    int64_t number = 0;
    const bool decimal = d.conversion != 'x' && d.conversion != 'X' && d.conversion != 'o';
    if (value.is_float()) {
      constexpr double kLimit = 9.2e18;
      if (!decimal) {
        return InvalidArgument("%" + std::string(1, d.conversion) +
                               " format: an integer is required, not float");
      }
      if (!(std::fabs(value.number()) < kLimit)) {
        return InvalidArgument("cannot convert the float to an integer of 64 bits");
      }
      number = static_cast<int64_t>(value.number());
    } else {
      number = value.integral();
    }
    const uint64_t magnitude =
        number < 0 ? uint64_t{0} - static_cast<uint64_t>(number) : static_cast<uint64_t>(number);
    char buffer[32];
    const char* const format = decimal               ? "%lu"
                               : d.conversion == 'x' ? "%lx"
                               : d.conversion == 'X' ? "%lX"
                                                     : "%lo";
    std::snprintf(buffer, sizeof(buffer), format, static_cast<unsigned long>(magnitude));
    std::string digits = buffer;
    if (d.precision > static_cast<int>(digits.size())) {
      digits.insert(0, d.precision - digits.size(), '0');
    }
    if (d.alternate && !decimal) digits.insert(0, std::string("0") + d.conversion);
    return (number < 0 ? "-" : d.plus ? "+" : d.space ? " " : "") + digits;
  }

  static std::string Pad(std::string text, const Directive& d, bool numeric) {
    const size_t chars = JinjaCharCount(text);
    const size_t width = static_cast<size_t>(d.width);
    if (chars >= width) return text;
    const size_t missing = width - chars;
    if (d.left) return text + std::string(missing, ' ');
    if (!d.zero || !numeric) return std::string(missing, ' ') + text;
    size_t prefix =
        !text.empty() && std::string_view("+- ").find(text[0]) != std::string_view::npos;
    if (d.alternate && text.size() > prefix + 1 && (text[prefix + 1] | 0x20) >= 'o') prefix += 2;
    return text.insert(prefix, missing, '0');
  }

  JinjaRuntime& runtime_;
  const std::string_view format_;
  const JinjaValue values_;
  std::vector<JinjaValue> positional_;
  size_t used_ = 0;
  size_t position_ = 0;
};

// Walks a {}-format.
class BraceFormatter {
 public:
  BraceFormatter(JinjaRuntime& runtime, std::string_view format, const JinjaArguments& arguments)
      : runtime_(runtime), format_(format), arguments_(arguments) {}

  Result<std::string> Run() {
    std::string out;
    for (size_t i = 0; i < format_.size(); ++i) {
      const char c = format_[i];
      const bool doubled = i + 1 < format_.size() && format_[i + 1] == c;
      if ((c == '{' || c == '}') && doubled) {
        out.push_back(c);
        ++i;
      } else if (c == '}') {
        return InvalidArgument("single '}' encountered in format string");
      } else if (c == '{') {
        const size_t close = format_.find('}', i);
        if (close == std::string_view::npos) {
          return InvalidArgument("expected '}' before end of string");
        }
        KVASIR_ASSIGN_OR_RETURN(const std::string text,
                                Field(format_.substr(i + 1, close - i - 1)));
        out += text;
        KVASIR_RETURN_IF_ERROR(runtime_.budget().SpendBytes(text.size()));
        KVASIR_RETURN_IF_ERROR(runtime_.budget().CheckBytes(out.size()));
        i = close;
      } else {
        out.push_back(c);
      }
    }
    return out;
  }

 private:
  Result<std::string> Field(std::string_view field) {
    if (field.find_first_of(":{[.") != std::string_view::npos) {
      return InvalidArgument("the format field '{" + std::string(field) +
                             "}' is not supported: only {}, {0}, {name}, !s and !r are");
    }
    std::string_view conversion = "s";
    if (const size_t mark = field.find('!'); mark != std::string_view::npos) {
      conversion = field.substr(mark + 1);
      field = field.substr(0, mark);
    }
    if (conversion != "s" && conversion != "r") {
      return InvalidArgument("unknown conversion '" + std::string(conversion) +
                             "' in format string");
    }
    KVASIR_ASSIGN_OR_RETURN(const JinjaValue value, Value(field));
    return conversion == "s" ? JinjaStr(runtime_, value) : JinjaRepr(runtime_, value);
  }

  Result<JinjaValue> Value(std::string_view name) {
    const bool is_number = name.find_first_not_of("0123456789") == std::string_view::npos;
    if (!is_number) {
      for (const auto& [keyword, value] : arguments_.keyword) {
        if (keyword == name) return value;
      }
      return InvalidArgument("the format string names '" + std::string(name) +
                             "', which is not given");
    }
    // Automatic and manual numbering do not mix.
    const bool manual = !name.empty();
    if (manual_.has_value() && *manual_ != manual) {
      return InvalidArgument("a format string must number all of its fields or none");
    }
    manual_ = manual;
    const size_t index = !manual           ? next_++
                         : name.size() > 6 ? std::numeric_limits<size_t>::max()
                                           : std::stoul(std::string(name));
    if (index >= arguments_.positional.size()) {
      return InvalidArgument("the format string has more fields than there are arguments");
    }
    return arguments_.positional[index];
  }

  JinjaRuntime& runtime_;
  const std::string_view format_;
  const JinjaArguments& arguments_;
  size_t next_ = 0;
  std::optional<bool> manual_;
};

}  // namespace

Result<JinjaValue> JinjaPercentFormat(JinjaRuntime& runtime, const JinjaValue& format,
                                      const JinjaValue& values) {
  KVASIR_ASSIGN_OR_RETURN(std::string text, PercentFormatter(runtime, format.text(), values).Run());
  return runtime.NewString(std::move(text), format.is_markup());
}

Result<JinjaValue> JinjaBraceFormat(JinjaRuntime& runtime, const JinjaValue& format,
                                    const JinjaArguments& arguments) {
  KVASIR_ASSIGN_OR_RETURN(std::string text,
                          BraceFormatter(runtime, format.text(), arguments).Run());
  return runtime.NewString(std::move(text), format.is_markup());
}

}  // namespace kvasir
