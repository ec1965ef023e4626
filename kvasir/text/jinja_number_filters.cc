// Filters about numbers and about whether there is a value at all.

#include <charconv>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <limits>

#include "kvasir/text/jinja_filters.h"
#include "kvasir/text/jinja_methods.h"
#include "kvasir/text/jinja_operators.h"
#include "kvasir/text/jinja_text.h"
#include "kvasir/text/jinja_unicode.h"

namespace kvasir {

namespace {

// Python's digits without their underscores, which may stand between two digits; nullopt for other
// text.
std::optional<std::string> WithoutUnderscores(std::string_view text) {
  std::string digits;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '_') {
      digits.push_back(text[i]);
    } else if (i == 0 || i + 1 == text.size() || text[i - 1] == '_' || text[i + 1] == '_') {
      return std::nullopt;
    }
  }
  return digits;
}

// int(text, base) for what fits into 64 bits.
std::optional<int64_t> ParseInt(std::string_view text, int base) {
  text = JinjaStrip(text, nullptr, true, true);
  const bool negative = text.starts_with('-');
  if (negative || text.starts_with('+')) text.remove_prefix(1);
  const auto has_prefix = [&](char letter) {
    return text.size() > 2 && text[0] == '0' && (text[1] | 0x20) == letter;
  };
  for (const auto& [letter, prefix_base] : {std::pair('x', 16), {'o', 8}, {'b', 2}}) {
    if (has_prefix(letter) && (base == 0 || base == prefix_base)) {
      text.remove_prefix(text.size() > 3 && text[2] == '_' ? 3 : 2);
      base = prefix_base;
      break;
    }
  }
  const std::optional<std::string> digits = WithoutUnderscores(text);
  if (!digits.has_value() || digits->empty() || (*digits)[0] == '-') return std::nullopt;
  if (base == 0 && (*digits)[0] == '0' && digits->find_first_not_of('0') != std::string::npos) {
    return std::nullopt;
  }
  const std::string signed_digits = (negative ? "-" : "") + *digits;
  int64_t value = 0;
  const auto [end, error] =
      std::from_chars(signed_digits.data(), signed_digits.data() + signed_digits.size(), value,
                      base == 0 ? 10 : base);
  if (error != std::errc() || end != signed_digits.data() + signed_digits.size()) {
    return std::nullopt;
  }
  return value;
}

// float(text).
std::optional<double> ParseFloat(std::string_view text) {
  text = JinjaStrip(text, nullptr, true, true);
  const std::optional<std::string> plain = WithoutUnderscores(text);
  if (!plain.has_value() || plain->empty()) return std::nullopt;
  std::string_view number = *plain;
  const bool negative = number.starts_with('-');
  if (negative || number.starts_with('+')) number.remove_prefix(1);
  const std::string word = JinjaLower(number);
  double value = 0;
  if (word == "inf" || word == "infinity") {
    value = std::numeric_limits<double>::infinity();
  } else if (word == "nan") {
    value = std::numeric_limits<double>::quiet_NaN();
  } else {
    if (number.empty() ||
        std::string_view("0123456789.").find(number[0]) == std::string_view::npos) {
      return std::nullopt;
    }
    const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), value);
    if (end != number.data() + number.size() || error == std::errc::invalid_argument) {
      return std::nullopt;
    }
    if (error == std::errc::result_out_of_range) value = std::strtod(plain->c_str(), nullptr);
    if (error == std::errc::result_out_of_range) return value;
  }
  return negative ? -value : value;
}

// int(value) of a float; nullopt for infinities, not-a-numbers and what 64 bits do not hold.
std::optional<int64_t> Truncated(double value) {
  if (!(std::fabs(value) < 9223372036854775808.0)) return std::nullopt;
  return static_cast<int64_t>(value);
}

Result<JinjaValue> Int(JinjaRuntime&, const JinjaValue& input, const JinjaArguments& arguments) {
  KVASIR_ASSIGN_OR_RETURN(const JinjaBound bound,
                          JinjaBind("int", arguments, {"default", "base"}, 0));
  const JinjaValue otherwise = bound[0].value_or(JinjaValue(int64_t{0}));
  const JinjaValue base = bound[1].value_or(JinjaValue(int64_t{10}));
  if (input.is_undefined()) return JinjaUndefinedError(input);
  if (!base.is_integral() || base.integral() < 0 || base.integral() == 1 || base.integral() > 36) {
    return InvalidArgument("int() takes a base of 0 or from 2 to 36");
  }
  std::optional<int64_t> value;
  if (input.is_integral()) {
    value = input.integral();
  } else if (input.is_float()) {
    if (std::isinf(input.number()))
      return InvalidArgument("cannot convert float infinity to integer");
    value = Truncated(input.number());
  } else if (input.is_string()) {
    value = ParseInt(input.text(), static_cast<int>(base.integral()));
    if (!value.has_value()) {
      const std::optional<double> number = ParseFloat(input.text());
      if (number.has_value()) value = Truncated(*number);
    }
  }
  return value.has_value() ? JinjaValue(*value) : otherwise;
}

Result<JinjaValue> Float(JinjaRuntime&, const JinjaValue& input, const JinjaArguments& arguments) {
  KVASIR_ASSIGN_OR_RETURN(const JinjaBound bound, JinjaBind("float", arguments, {"default"}, 0));
  if (input.is_undefined()) return JinjaUndefinedError(input);
  std::optional<double> value;
  if (input.is_number()) value = input.number();
  if (input.is_string()) value = ParseFloat(input.text());
  return value.has_value() ? JinjaValue(*value) : bound[0].value_or(JinjaValue(0.0));
}

Result<JinjaValue> Abs(JinjaRuntime&, const JinjaValue& input, const JinjaArguments& arguments) {
  KVASIR_RETURN_IF_ERROR(JinjaBind("abs", arguments, {}, 0).status());
  if (input.is_undefined()) return JinjaUndefinedError(input);
  if (input.is_float()) return JinjaValue(std::fabs(input.number()));
  if (input.is_integral()) return JinjaSign(input, /*negate=*/input.integral() < 0);
  return InvalidArgument("bad operand type for abs(): '" + std::string(JinjaTypeName(input)) + "'");
}

// round(value, precision) of a float: to the nearest decimal, exact ties to even.
double RoundFloat(double value, int64_t precision) {
  constexpr int64_t kDigitsMax = 330;  // beyond them no double has any
  if (!std::isfinite(value) || precision > kDigitsMax) return value;
  if (precision < -kDigitsMax) return std::copysign(0.0, value);
  if (precision < 0) {
    const double power = std::pow(10.0, static_cast<double>(-precision));
    return std::nearbyint(value / power) * power;
  }
  // printf rounds the exact binary value, as Python does.
  char buffer[1024];
  std::snprintf(buffer, sizeof(buffer), "%.*f", static_cast<int>(precision), value);
  return std::strtod(buffer, nullptr);
}

// Integers stay integers; those to the left of the point are rounded half to even.
Result<JinjaValue> RoundInt(int64_t value, int64_t precision) {
  if (precision >= 0) return JinjaValue(value);
  if (precision < -18) return JinjaValue(int64_t{0});
  int64_t power = 1;
  for (int64_t i = 0; i < -precision; ++i) power *= 10;
  const __int128 wide = value;
  __int128 quotient = wide / power;
  const __int128 remainder = wide % power;
  const __int128 twice = (remainder < 0 ? -remainder : remainder) * 2;
  if (twice > power || (twice == power && quotient % 2 != 0)) quotient += value < 0 ? -1 : 1;
  const __int128 rounded = quotient * power;
  if (rounded > std::numeric_limits<int64_t>::max() ||
      rounded < std::numeric_limits<int64_t>::min()) {
    return InvalidArgument("the result of an integer operation does not fit into 64 bits");
  }
  return JinjaValue(static_cast<int64_t>(rounded));
}

Result<JinjaValue> Round(JinjaRuntime& runtime, const JinjaValue& input,
                         const JinjaArguments& arguments) {
  KVASIR_ASSIGN_OR_RETURN(const JinjaBound bound,
                          JinjaBind("round", arguments, {"precision", "method"}, 0));
  const JinjaValue precision = bound[0].value_or(JinjaValue(int64_t{0}));
  const JinjaValue method = bound[1].value_or(JinjaValue("common"));
  const bool known = method.is_string() && (method.text() == "common" || method.text() == "ceil" ||
                                            method.text() == "floor");
  if (!known) return InvalidArgument("method must be common, ceil or floor");
  if (input.is_undefined()) return JinjaUndefinedError(input);
  if (!input.is_number()) {
    return InvalidArgument("round() takes a number, not " + std::string(JinjaTypeName(input)));
  }
  if (method.text() != "common") {
    KVASIR_ASSIGN_OR_RETURN(
        const JinjaValue power,
        JinjaArithmetic(runtime, JinjaOperator::kPower, JinjaValue(int64_t{10}), precision));
    KVASIR_ASSIGN_OR_RETURN(const JinjaValue scaled,
                            JinjaArithmetic(runtime, JinjaOperator::kMultiply, input, power));
    const bool up = method.text() == "ceil";
    const double number = scaled.number();
    JinjaValue whole = scaled;
    if (scaled.is_float()) {
      const std::optional<int64_t> integer = Truncated(up ? std::ceil(number) : std::floor(number));
      if (!integer.has_value()) return InvalidArgument("round() takes numbers of up to 64 bits");
      whole = JinjaValue(*integer);
    }
    return JinjaArithmetic(runtime, JinjaOperator::kDivide, whole, power);
  }
  if (precision.is_none()) return InvalidArgument("round() takes an integer precision");
  if (!precision.is_integral()) {
    return InvalidArgument("round() takes an integer precision, not " +
                           std::string(JinjaTypeName(precision)));
  }
  if (input.is_float()) return JinjaValue(RoundFloat(input.number(), precision.integral()));
  return RoundInt(input.integral(), precision.integral());
}

Result<JinjaValue> Default(JinjaRuntime&, const JinjaValue& input,
                           const JinjaArguments& arguments) {
  KVASIR_ASSIGN_OR_RETURN(const JinjaBound bound,
                          JinjaBind("default", arguments, {"default_value", "boolean"}, 0));
  const bool any_false = bound[1].has_value() && JinjaTruth(*bound[1]);
  if (input.is_undefined() || (any_false && !JinjaTruth(input))) {
    return bound[0].value_or(JinjaValue(""));
  }
  return input;
}

// Only members and methods, not the entries of a dict.
Result<JinjaValue> Attribute(JinjaRuntime& runtime, const JinjaValue& input,
                             const JinjaArguments& arguments) {
  KVASIR_ASSIGN_OR_RETURN(const JinjaBound bound, JinjaBind("attr", arguments, {"name"}, 1));
  if (!bound[0]->is_string()) return InvalidArgument("attr() takes the name of an attribute");
  if (input.is_dict() && JinjaFindMethod(input, bound[0]->text()) == nullptr) {
    return JinjaValue::Undefined("'dict object' has no attribute '" + bound[0]->text() + "'");
  }
  return JinjaGetAttribute(runtime, input, bound[0]->text());
}

constexpr JinjaFilter kFilters[] = {
    {"abs", Abs},     {"attr", Attribute}, {"d", Default},   {"default", Default},
    {"float", Float}, {"int", Int},        {"round", Round},
};

}  // namespace

std::span<const JinjaFilter> JinjaNumberFilters() { return kFilters; }

}  // namespace kvasir
