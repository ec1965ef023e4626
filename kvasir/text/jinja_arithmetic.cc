// Arithmetic of template values.

#include <cmath>
#include <limits>

#include "kvasir/text/jinja_format.h"
#include "kvasir/text/jinja_operators.h"
#include "kvasir/text/jinja_print.h"

namespace kvasir {

namespace {

Status Unsupported(JinjaOperator op, const JinjaValue& a, const JinjaValue& b) {
  return InvalidArgument("unsupported operand types for " + std::string(JinjaOperatorText(op)) +
                         ": '" + std::string(JinjaTypeName(a)) + "' and '" +
                         std::string(JinjaTypeName(b)) + "'");
}

Status DivisionByZero() { return InvalidArgument("division by zero"); }

Status IntegerOverflow() {
  return InvalidArgument("the result of an integer operation does not fit into 64 bits");
}

// Python's % for floats: the sign of the divisor.
double FloatRemainder(double a, double b) {
  const double remainder = std::fmod(a, b);
  if (remainder == 0) return std::copysign(0.0, b);
  return (b < 0) != (remainder < 0) ? remainder + b : remainder;
}

double FloatFloorDivide(double a, double b) {
  const double remainder = std::fmod(a, b);
  double quotient = (a - remainder) / b;
  if (remainder != 0 && (b < 0) != (remainder < 0)) quotient -= 1.0;
  if (quotient == 0) return std::copysign(0.0, a / b);
  const double floored = std::floor(quotient);
  return quotient - floored > 0.5 ? floored + 1.0 : floored;
}

Result<JinjaValue> FloatPower(double a, double b) {
  if (a == 0 && b < 0) return DivisionByZero();
  if (a < 0 && std::isfinite(a) && std::isfinite(b) && b != std::floor(b)) {
    return InvalidArgument("complex numbers are not supported");
  }
  const double power = std::pow(a, b);
  if (std::isinf(power) && std::isfinite(a) && std::isfinite(b)) {
    return InvalidArgument("the result of ** is too large for a float");
  }
  return JinjaValue(power);
}

Result<JinjaValue> FloatArithmetic(JinjaOperator op, double a, double b) {
  switch (op) {
    case JinjaOperator::kAdd:
      return JinjaValue(a + b);
    case JinjaOperator::kSubtract:
      return JinjaValue(a - b);
    case JinjaOperator::kMultiply:
      return JinjaValue(a * b);
    case JinjaOperator::kPower:
      return FloatPower(a, b);
    default:
      break;
  }
  if (b == 0) return DivisionByZero();
  if (op == JinjaOperator::kDivide) return JinjaValue(a / b);
  return JinjaValue(op == JinjaOperator::kRemainder ? FloatRemainder(a, b)
                                                    : FloatFloorDivide(a, b));
}

Result<JinjaValue> IntPower(int64_t base, int64_t exponent) {
  if (exponent < 0) return FloatPower(static_cast<double>(base), static_cast<double>(exponent));
  int64_t power = 1;
  bool base_overflowed = false;
  for (; exponent > 0; exponent >>= 1) {
    if (exponent & 1) {
      if (base_overflowed || __builtin_mul_overflow(power, base, &power)) return IntegerOverflow();
    }
    base_overflowed = base_overflowed || __builtin_mul_overflow(base, base, &base);
  }
  return JinjaValue(power);
}

Result<JinjaValue> IntArithmetic(JinjaOperator op, int64_t a, int64_t b) {
  int64_t result = 0;
  switch (op) {
    case JinjaOperator::kAdd:
      if (__builtin_add_overflow(a, b, &result)) return IntegerOverflow();
      return JinjaValue(result);
    case JinjaOperator::kSubtract:
      if (__builtin_sub_overflow(a, b, &result)) return IntegerOverflow();
      return JinjaValue(result);
    case JinjaOperator::kMultiply:
      if (__builtin_mul_overflow(a, b, &result)) return IntegerOverflow();
      return JinjaValue(result);
    case JinjaOperator::kPower:
      return IntPower(a, b);
    default:
      break;
  }
  if (b == 0) return DivisionByZero();
  if (op == JinjaOperator::kDivide) {
    return JinjaValue(
        static_cast<double>(static_cast<long double>(a) / static_cast<long double>(b)));
  }
  if (b == -1) {  // the one divisor whose quotient can overflow
    if (op == JinjaOperator::kRemainder) return JinjaValue(int64_t{0});
    if (a == std::numeric_limits<int64_t>::min()) return IntegerOverflow();
    return JinjaValue(-a);
  }
  const bool adjust = a % b != 0 && (a < 0) != (b < 0);
  if (op == JinjaOperator::kRemainder) return JinjaValue(a % b + (adjust ? b : 0));
  return JinjaValue(a / b - (adjust ? 1 : 0));
}

Result<JinjaValue> AddStrings(JinjaRuntime& runtime, const JinjaString& a, const JinjaString& b) {
  const bool markup = a.markup || b.markup;
  KVASIR_RETURN_IF_ERROR(runtime.budget().SpendBytes(a.text.size() + b.text.size()));
  if (!markup) return JinjaValue(a.text + b.text);
  return runtime.NewString(
      (a.markup ? a.text : JinjaEscapeHtml(a.text)) + (b.markup ? b.text : JinjaEscapeHtml(b.text)),
      /*markup=*/true);
}

Result<JinjaValue> AddLists(JinjaRuntime& runtime, const JinjaList& a, const JinjaList& b) {
  KVASIR_RETURN_IF_ERROR(
      runtime.budget().SpendBytes((a.items.size() + b.items.size()) * sizeof(JinjaValue)));
  std::vector<JinjaValue> items = a.items;
  items.insert(items.end(), b.items.begin(), b.items.end());
  return runtime.NewList(std::move(items), a.kind);
}

// `sequence` (a string, list or tuple) `count` times over.
Result<JinjaValue> Repeat(JinjaRuntime& runtime, const JinjaValue& sequence, int64_t count) {
  const size_t times = count > 0 ? static_cast<size_t>(count) : 0;
  const size_t unit_bytes = sequence.is_string()
                                ? sequence.text().size()
                                : sequence.list().items.size() * sizeof(JinjaValue);
  size_t bytes = 0;
  if (__builtin_mul_overflow(unit_bytes, times, &bytes)) bytes = SIZE_MAX;
  KVASIR_RETURN_IF_ERROR(runtime.budget().SpendBytes(bytes));
  if (bytes == 0) {
    if (sequence.is_string()) return runtime.NewString("", sequence.is_markup());
    return runtime.NewList({}, sequence.list().kind);
  }
  if (sequence.is_string()) {
    std::string text;
    text.reserve(bytes);
    for (size_t i = 0; i < times; ++i) text += sequence.text();
    return JinjaValue(std::move(text), sequence.is_markup());
  }
  std::vector<JinjaValue> items;
  items.reserve(bytes / sizeof(JinjaValue));
  for (size_t i = 0; i < times; ++i) {
    items.insert(items.end(), sequence.list().items.begin(), sequence.list().items.end());
  }
  return runtime.NewList(std::move(items), sequence.list().kind);
}

bool Repeatable(const JinjaValue& value) { return value.is_string() || value.is_list_or_tuple(); }

}  // namespace

Result<JinjaValue> JinjaArithmetic(JinjaRuntime& runtime, JinjaOperator op, const JinjaValue& a,
                                   const JinjaValue& b) {
  if (op == JinjaOperator::kRemainder && a.is_string()) {
    return JinjaPercentFormat(runtime, a, b);
  }
  if (a.is_undefined()) return JinjaUndefinedError(a);
  if (b.is_undefined()) return JinjaUndefinedError(b);
  if (a.is_integral() && b.is_integral()) return IntArithmetic(op, a.integral(), b.integral());
  if (a.is_number() && b.is_number()) return FloatArithmetic(op, a.number(), b.number());
  if (op == JinjaOperator::kAdd) {
    if (a.is_string() && b.is_string()) return AddStrings(runtime, a.string(), b.string());
    if (a.is_list_or_tuple() && b.is_list_or_tuple() && a.list().kind == b.list().kind) {
      return AddLists(runtime, a.list(), b.list());
    }
  }
  if (op == JinjaOperator::kMultiply) {
    if (Repeatable(a) && b.is_integral()) return Repeat(runtime, a, b.integral());
    if (a.is_integral() && Repeatable(b)) return Repeat(runtime, b, a.integral());
  }
  return Unsupported(op, a, b);
}

Result<JinjaValue> JinjaSign(const JinjaValue& value, bool negate) {
  if (value.is_undefined()) return JinjaUndefinedError(value);
  if (value.is_float()) return JinjaValue(negate ? -value.number() : value.number());
  if (value.is_integral()) {
    if (!negate) return JinjaValue(value.integral());
    return IntArithmetic(JinjaOperator::kSubtract, 0, value.integral());
  }
  return InvalidArgument("bad operand type for unary " + std::string(negate ? "-" : "+") + ": '" +
                         std::string(JinjaTypeName(value)) + "'");
}

}  // namespace kvasir
