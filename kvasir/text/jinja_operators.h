// Operators of template expressions with Python's meaning: equality, order, membership, arithmetic,
// subscripts and slices. Errors are kInvalidArgument with the words that Python uses.

#ifndef KVASIR_TEXT_JINJA_OPERATORS_H_
#define KVASIR_TEXT_JINJA_OPERATORS_H_

#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "kvasir/base/status.h"
#include "kvasir/text/jinja_runtime.h"
#include "kvasir/text/jinja_value.h"

namespace kvasir {

enum class JinjaOperator {
  kAdd,
  kSubtract,
  kMultiply,
  kDivide,
  kFloorDivide,
  kRemainder,
  kPower,
  kEqual,
  kNotEqual,
  kLess,
  kLessEqual,
  kGreater,
  kGreaterEqual,
  kIn,
  kNotIn,
};

// "+", "not in" ...
std::string_view JinjaOperatorText(JinjaOperator op);

Result<bool> JinjaEqual(JinjaRuntime& runtime, const JinjaValue& a, const JinjaValue& b);
// a < b.
Result<bool> JinjaLess(JinjaRuntime& runtime, const JinjaValue& a, const JinjaValue& b);
// Any comparison, from kEqual on.
Result<bool> JinjaCompare(JinjaRuntime& runtime, JinjaOperator op, const JinjaValue& a,
                          const JinjaValue& b);
// Any arithmetic operator, up to kPower. Integers have 64 bits: a result beyond is an error.
Result<JinjaValue> JinjaArithmetic(JinjaRuntime& runtime, JinjaOperator op, const JinjaValue& a,
                                   const JinjaValue& b);
// -value or +value.
Result<JinjaValue> JinjaSign(const JinjaValue& value, bool negate);

// Sorts by Python's order of the keys, stable; `keys` beside `values`. Fails when two of the keys
// have no order.
Status JinjaSort(JinjaRuntime& runtime, std::vector<std::pair<JinjaValue, JinjaValue>>& keyed,
                 bool reverse);
// The entries of a dict in the order of their keys.
Result<std::vector<std::pair<JinjaValue, JinjaValue>>> JinjaSortEntries(
    JinjaRuntime& runtime, const std::vector<std::pair<JinjaValue, JinjaValue>>& entries);

// The value for `key`, nullptr when there is none.
Result<const JinjaValue*> JinjaFind(JinjaRuntime& runtime, const JinjaDict& dict,
                                    const JinjaValue& key);
// Sets entries[key] = value. kInvalidArgument when `key` cannot be a key.
Status JinjaInsert(JinjaRuntime& runtime, std::vector<std::pair<JinjaValue, JinjaValue>>& entries,
                   JinjaValue key, JinjaValue value);

// object[index]: an element, else a member of that name, else undefined.
Result<JinjaValue> JinjaGetItem(JinjaRuntime& runtime, const JinjaValue& object,
                                const JinjaValue& index);
// object.name: a member or method, else the element of that name, else undefined.
Result<JinjaValue> JinjaGetAttribute(JinjaRuntime& runtime, const JinjaValue& object,
                                     std::string_view name);
// object[start:stop:step]; None where a part is left out.
Result<JinjaValue> JinjaSlice(JinjaRuntime& runtime, const JinjaValue& object,
                              const JinjaValue& start, const JinjaValue& stop,
                              const JinjaValue& step);
// len(value), an error for what has none.
Result<size_t> JinjaLength(const JinjaValue& value);

}  // namespace kvasir

#endif  // KVASIR_TEXT_JINJA_OPERATORS_H_
