// Tests of templates: value is <name>.

#include <algorithm>

#include "kvasir/text/jinja_filters.h"
#include "kvasir/text/jinja_operators.h"
#include "kvasir/text/jinja_print.h"
#include "kvasir/text/jinja_text.h"

namespace kvasir {

namespace {

template <bool (*kPredicate)(const JinjaValue&)>
Result<bool> Simple(JinjaRuntime&, const JinjaValue& input, const JinjaArguments& arguments) {
  KVASIR_RETURN_IF_ERROR(JinjaBind("the test", arguments, {}, 0).status());
  return kPredicate(input);
}

bool IsDefined(const JinjaValue& value) { return !value.is_undefined(); }
bool IsUndefined(const JinjaValue& value) { return value.is_undefined(); }
bool IsNone(const JinjaValue& value) { return value.is_none(); }
bool IsBoolean(const JinjaValue& value) { return value.is_bool(); }
bool IsTrue(const JinjaValue& value) { return value.is_bool() && value.boolean(); }
bool IsFalse(const JinjaValue& value) { return value.is_bool() && !value.boolean(); }
bool IsInteger(const JinjaValue& value) { return value.is_int(); }
bool IsFloat(const JinjaValue& value) { return value.is_float(); }
bool IsNumber(const JinjaValue& value) { return value.is_number(); }
bool IsString(const JinjaValue& value) { return value.is_string(); }
bool IsMapping(const JinjaValue& value) { return value.is_dict(); }
bool IsEscaped(const JinjaValue& value) { return value.is_markup(); }

bool IsObjectOf(const JinjaValue& value, JinjaObjectKind kind) {
  return value.is_object() && value.object()->kind() == kind;
}

// What has a length and elements by index or key.
bool IsSequence(const JinjaValue& value) {
  return value.is_undefined() || value.is_string() || value.is_list_or_tuple() || value.is_dict() ||
         value.is_range();
}

bool IsIterable(const JinjaValue& value) {
  return IsSequence(value) || value.kind() == JinjaKind::kList ||
         IsObjectOf(value, JinjaObjectKind::kIterator) || IsObjectOf(value, JinjaObjectKind::kLoop);
}

// Calling an undefined value is an error, but Python finds that it could be called.
bool IsCallable(const JinjaValue& value) {
  return value.is_undefined() || IsObjectOf(value, JinjaObjectKind::kCallable) ||
         IsObjectOf(value, JinjaObjectKind::kLoop);
}

template <bool kUpper>
Result<bool> IsCase(JinjaRuntime& runtime, const JinjaValue& input,
                    const JinjaArguments& arguments) {
  KVASIR_RETURN_IF_ERROR(JinjaBind("the test", arguments, {}, 0).status());
  KVASIR_ASSIGN_OR_RETURN(const std::string text, JinjaStr(runtime, input));
  KVASIR_RETURN_IF_ERROR(runtime.budget().SpendBytes(text.size() * 4));
  return JinjaIsCase(text, kUpper);
}

Result<bool> RemainderIs(JinjaRuntime& runtime, const JinjaValue& value, const JinjaValue& divisor,
                         int64_t expected) {
  KVASIR_ASSIGN_OR_RETURN(const JinjaValue remainder,
                          JinjaArithmetic(runtime, JinjaOperator::kRemainder, value, divisor));
  return JinjaEqual(runtime, remainder, JinjaValue(expected));
}

template <int64_t kExpected>
Result<bool> IsParity(JinjaRuntime& runtime, const JinjaValue& input,
                      const JinjaArguments& arguments) {
  KVASIR_RETURN_IF_ERROR(JinjaBind("the test", arguments, {}, 0).status());
  return RemainderIs(runtime, input, JinjaValue(int64_t{2}), kExpected);
}

Result<bool> IsDivisibleBy(JinjaRuntime& runtime, const JinjaValue& input,
                           const JinjaArguments& arguments) {
  KVASIR_ASSIGN_OR_RETURN(const JinjaBound bound, JinjaBind("divisibleby", arguments, {"num"}, 1));
  return RemainderIs(runtime, input, *bound[0], 0);
}

template <JinjaOperator kOperator>
Result<bool> Comparison(JinjaRuntime& runtime, const JinjaValue& input,
                        const JinjaArguments& arguments) {
  KVASIR_ASSIGN_OR_RETURN(const JinjaBound bound,
                          JinjaBind(JinjaOperatorText(kOperator), arguments, {""}, 1));
  return JinjaCompare(runtime, kOperator, input, *bound[0]);
}

Result<bool> IsIn(JinjaRuntime& runtime, const JinjaValue& input, const JinjaArguments& arguments) {
  KVASIR_ASSIGN_OR_RETURN(const JinjaBound bound, JinjaBind("in", arguments, {"seq"}, 1));
  return JinjaCompare(runtime, JinjaOperator::kIn, input, *bound[0]);
}

Result<bool> IsSameAs(JinjaRuntime&, const JinjaValue& input, const JinjaArguments& arguments) {
  KVASIR_ASSIGN_OR_RETURN(const JinjaBound bound, JinjaBind("sameas", arguments, {"other"}, 1));
  return input.IsSame(*bound[0]);
}

template <bool kFilter>
Result<bool> NamesOne(JinjaRuntime&, const JinjaValue& input, const JinjaArguments& arguments) {
  KVASIR_RETURN_IF_ERROR(JinjaBind("the test", arguments, {}, 0).status());
  if (!input.is_string()) return false;
  return kFilter ? JinjaFindFilter(input.text()) != nullptr
                 : JinjaFindTest(input.text()) != nullptr;
}

constexpr JinjaTest kTests[] = {
    {"!=", Comparison<JinjaOperator::kNotEqual>},
    {"<", Comparison<JinjaOperator::kLess>},
    {"<=", Comparison<JinjaOperator::kLessEqual>},
    {"==", Comparison<JinjaOperator::kEqual>},
    {">", Comparison<JinjaOperator::kGreater>},
    {">=", Comparison<JinjaOperator::kGreaterEqual>},
    {"boolean", Simple<IsBoolean>},
    {"callable", Simple<IsCallable>},
    {"defined", Simple<IsDefined>},
    {"divisibleby", IsDivisibleBy},
    {"eq", Comparison<JinjaOperator::kEqual>},
    {"equalto", Comparison<JinjaOperator::kEqual>},
    {"escaped", Simple<IsEscaped>},
    {"even", IsParity<0>},
    {"false", Simple<IsFalse>},
    {"filter", NamesOne<true>},
    {"float", Simple<IsFloat>},
    {"ge", Comparison<JinjaOperator::kGreaterEqual>},
    {"greaterthan", Comparison<JinjaOperator::kGreater>},
    {"gt", Comparison<JinjaOperator::kGreater>},
    {"in", IsIn},
    {"integer", Simple<IsInteger>},
    {"iterable", Simple<IsIterable>},
    {"le", Comparison<JinjaOperator::kLessEqual>},
    {"lessthan", Comparison<JinjaOperator::kLess>},
    {"lower", IsCase<false>},
    {"lt", Comparison<JinjaOperator::kLess>},
    {"mapping", Simple<IsMapping>},
    {"ne", Comparison<JinjaOperator::kNotEqual>},
    {"none", Simple<IsNone>},
    {"number", Simple<IsNumber>},
    {"odd", IsParity<1>},
    {"sameas", IsSameAs},
    {"sequence", Simple<IsSequence>},
    {"string", Simple<IsString>},
    {"test", NamesOne<false>},
    {"true", Simple<IsTrue>},
    {"undefined", Simple<IsUndefined>},
    {"upper", IsCase<true>},
};

}  // namespace

const JinjaTest* JinjaFindTest(std::string_view name) {
  const auto* const it = std::find_if(std::begin(kTests), std::end(kTests),
                                      [&](const JinjaTest& test) { return test.name == name; });
  return it == std::end(kTests) ? nullptr : it;
}

}  // namespace kvasir
