// The expressions of JinjaInterpreter.

#include <utility>

#include "kvasir/text/jinja_interpreter.h"
#include "kvasir/text/jinja_methods.h"
#include "kvasir/text/jinja_operators.h"
#include "kvasir/text/jinja_print.h"

namespace kvasir {

Result<JinjaValue> JinjaInterpreter::Evaluate(const JinjaExpr& expr) {
  const JinjaDepthGuard guard(runtime_);
  line_ = expr.line;
  KVASIR_RETURN_IF_ERROR(guard.status());
  KVASIR_RETURN_IF_ERROR(runtime_.budget().SpendSteps(1));
  switch (expr.kind) {
    case JinjaExprKind::kLiteral:
      return static_cast<const JinjaLiteral&>(expr).value;
    case JinjaExprKind::kName:
      return LookUp(static_cast<const JinjaName&>(expr).name);
    case JinjaExprKind::kList:
      return EvaluateList(static_cast<const JinjaListExpr&>(expr));
    case JinjaExprKind::kDict:
      return EvaluateDict(static_cast<const JinjaDictExpr&>(expr));
    case JinjaExprKind::kPostfix: {
      const auto& postfix = static_cast<const JinjaPostfixExpr&>(expr);
      KVASIR_ASSIGN_OR_RETURN(JinjaValue base, Evaluate(*postfix.base));
      return EvaluateLinks(std::move(base), postfix, nullptr);
    }
    case JinjaExprKind::kSign: {
      const auto& sign = static_cast<const JinjaSignExpr&>(expr);
      KVASIR_ASSIGN_OR_RETURN(const JinjaValue operand, Evaluate(*sign.operand));
      return JinjaSign(operand, sign.negate);
    }
    case JinjaExprKind::kNot: {
      KVASIR_ASSIGN_OR_RETURN(const JinjaValue operand,
                              Evaluate(*static_cast<const JinjaNotExpr&>(expr).operand));
      return JinjaValue(!JinjaTruth(operand));
    }
    case JinjaExprKind::kLogic:
      return EvaluateLogic(static_cast<const JinjaLogicExpr&>(expr));
    case JinjaExprKind::kArithmetic:
      return EvaluateArithmetic(static_cast<const JinjaChainExpr&>(expr));
    case JinjaExprKind::kCompare:
      return EvaluateCompare(static_cast<const JinjaChainExpr&>(expr));
    case JinjaExprKind::kConcat:
      return EvaluateConcat(static_cast<const JinjaConcatExpr&>(expr));
    case JinjaExprKind::kConditional:
      return EvaluateConditional(static_cast<const JinjaConditionalExpr&>(expr));
  }
  return JinjaValue();
}

Result<JinjaValue> JinjaInterpreter::LookUp(const std::string& name) {
  for (const JinjaScope* scope = scope_; scope != nullptr; scope = scope->parent()) {
    KVASIR_RETURN_IF_ERROR(runtime_.budget().SpendSteps(scope->size() / 16));
    if (const JinjaValue* const value = scope->Find(name); value != nullptr) return *value;
  }
  const auto it = context_.find(name);
  if (it != context_.end()) return it->second;
  return JinjaValue::Undefined("'" + name + "' is undefined");
}

Result<JinjaValue> JinjaInterpreter::EvaluateList(const JinjaListExpr& expr) {
  std::vector<JinjaValue> items;
  items.reserve(expr.items.size());
  for (const JinjaExprPtr& item : expr.items) {
    KVASIR_ASSIGN_OR_RETURN(JinjaValue value, Evaluate(*item));
    items.push_back(std::move(value));
  }
  return runtime_.NewList(std::move(items),
                          expr.tuple ? JinjaListKind::kTuple : JinjaListKind::kList);
}

Result<JinjaValue> JinjaInterpreter::EvaluateDict(const JinjaDictExpr& expr) {
  std::vector<std::pair<JinjaValue, JinjaValue>> entries;
  for (const auto& [key_expr, value_expr] : expr.entries) {
    KVASIR_ASSIGN_OR_RETURN(JinjaValue key, Evaluate(*key_expr));
    KVASIR_ASSIGN_OR_RETURN(JinjaValue value, Evaluate(*value_expr));
    KVASIR_RETURN_IF_ERROR(JinjaInsert(runtime_, entries, std::move(key), std::move(value)));
  }
  return runtime_.NewDict(std::move(entries));
}

Result<JinjaValue> JinjaInterpreter::EvaluateLogic(const JinjaLogicExpr& expr) {
  JinjaValue value;
  for (const JinjaExprPtr& operand : expr.operands) {
    KVASIR_ASSIGN_OR_RETURN(value, Evaluate(*operand));
    if (JinjaTruth(value) != expr.is_and) break;
  }
  return value;
}

Result<JinjaValue> JinjaInterpreter::EvaluateArithmetic(const JinjaChainExpr& expr) {
  KVASIR_ASSIGN_OR_RETURN(JinjaValue value, Evaluate(*expr.first));
  for (const auto& [op, operand] : expr.rest) {
    KVASIR_ASSIGN_OR_RETURN(const JinjaValue right, Evaluate(*operand));
    KVASIR_ASSIGN_OR_RETURN(value, JinjaArithmetic(runtime_, op, value, right));
  }
  return value;
}

// a < b < c is a < b and b < c.
Result<JinjaValue> JinjaInterpreter::EvaluateCompare(const JinjaChainExpr& expr) {
  KVASIR_ASSIGN_OR_RETURN(JinjaValue left, Evaluate(*expr.first));
  for (const auto& [op, operand] : expr.rest) {
    KVASIR_ASSIGN_OR_RETURN(JinjaValue right, Evaluate(*operand));
    KVASIR_ASSIGN_OR_RETURN(const bool holds, JinjaCompare(runtime_, op, left, right));
    if (!holds) return JinjaValue(false);
    left = std::move(right);
  }
  return JinjaValue(true);
}

Result<JinjaValue> JinjaInterpreter::EvaluateConcat(const JinjaConcatExpr& expr) {
  std::string text;
  for (const JinjaExprPtr& part : expr.parts) {
    KVASIR_ASSIGN_OR_RETURN(const JinjaValue value, Evaluate(*part));
    KVASIR_ASSIGN_OR_RETURN(const std::string part_text, JinjaStr(runtime_, value));
    text += part_text;
    KVASIR_RETURN_IF_ERROR(runtime_.budget().CheckBytes(text.size()));
  }
  return JinjaValue(std::move(text));
}

Result<JinjaValue> JinjaInterpreter::EvaluateConditional(const JinjaConditionalExpr& expr) {
  for (auto it = expr.conditions.rbegin(); it != expr.conditions.rend(); ++it) {
    KVASIR_ASSIGN_OR_RETURN(const JinjaValue condition, Evaluate(*it->condition));
    if (JinjaTruth(condition)) continue;
    if (it->otherwise != nullptr) return Evaluate(*it->otherwise);
    return JinjaValue::Undefined("the inline if-expression on line " + std::to_string(expr.line) +
                                 " evaluated to false and no else section was defined");
  }
  return Evaluate(*expr.then);
}

Result<JinjaValue> JinjaInterpreter::EvaluateLinks(JinjaValue value, const JinjaPostfixExpr& expr,
                                                   const JinjaValue* caller) {
  for (size_t i = 0; i < expr.links.size(); ++i) {
    const JinjaLink& link = *expr.links[i];
    const JinjaLink* const next = i + 1 < expr.links.size() ? expr.links[i + 1].get() : nullptr;
    const bool last_call = i + 1 == expr.links.size() && caller != nullptr;
    KVASIR_RETURN_IF_ERROR(runtime_.budget().SpendSteps(1));
    line_ = link.line;
    if (link.kind == JinjaLinkKind::kAttribute && next != nullptr &&
        next->kind == JinjaLinkKind::kCall && caller == nullptr) {
      KVASIR_ASSIGN_OR_RETURN(std::optional<JinjaValue> result,
                              EvaluateMethod(value, static_cast<const JinjaAttributeLink&>(link),
                                             static_cast<const JinjaCallLink&>(*next)));
      if (result.has_value()) {
        value = std::move(*result);
        ++i;
        continue;
      }
    }
    KVASIR_ASSIGN_OR_RETURN(value, EvaluateLink(value, link, last_call ? caller : nullptr));
  }
  return value;
}

Result<JinjaValue> JinjaInterpreter::EvaluateLink(const JinjaValue& value, const JinjaLink& link,
                                                  const JinjaValue* caller) {
  switch (link.kind) {
    case JinjaLinkKind::kAttribute:
      return JinjaGetAttribute(runtime_, value, static_cast<const JinjaAttributeLink&>(link).name);
    case JinjaLinkKind::kItem: {
      KVASIR_ASSIGN_OR_RETURN(const JinjaValue index,
                              Evaluate(*static_cast<const JinjaItemLink&>(link).index));
      return JinjaGetItem(runtime_, value, index);
    }
    case JinjaLinkKind::kSlice:
      return EvaluateSlice(value, static_cast<const JinjaSliceLink&>(link));
    case JinjaLinkKind::kCall: {
      KVASIR_ASSIGN_OR_RETURN(JinjaArguments arguments,
                              EvaluateArguments(static_cast<const JinjaCallLink&>(link).arguments));
      if (caller != nullptr) arguments.keyword.emplace_back("caller", *caller);
      line_ = link.line;
      return JinjaCall(runtime_, value, arguments);
    }
    case JinjaLinkKind::kFilter:
      return EvaluateFilter(value, static_cast<const JinjaFilterLink&>(link));
    case JinjaLinkKind::kTest:
      return EvaluateTest(value, static_cast<const JinjaTestLink&>(link));
  }
  return JinjaValue();
}

Result<std::optional<JinjaValue>> JinjaInterpreter::EvaluateMethod(const JinjaValue& object,
                                                                   const JinjaAttributeLink& name,
                                                                   const JinjaCallLink& call) {
  const JinjaMethod* const method = JinjaFindMethod(object, name.name);
  if (method == nullptr) return std::optional<JinjaValue>();
  KVASIR_ASSIGN_OR_RETURN(const JinjaArguments arguments, EvaluateArguments(call.arguments));
  line_ = call.line;
  KVASIR_ASSIGN_OR_RETURN(JinjaValue result, JinjaCallMethod(runtime_, object, *method, arguments));
  return std::optional(std::move(result));
}

Result<JinjaValue> JinjaInterpreter::EvaluateSlice(const JinjaValue& object,
                                                   const JinjaSliceLink& link) {
  JinjaValue parts[3];
  const JinjaExpr* const exprs[] = {link.start.get(), link.stop.get(), link.step.get()};
  for (size_t i = 0; i < 3; ++i) {
    if (exprs[i] == nullptr) continue;
    KVASIR_ASSIGN_OR_RETURN(parts[i], Evaluate(*exprs[i]));
  }
  return JinjaSlice(runtime_, object, parts[0], parts[1], parts[2]);
}

Result<JinjaValue> JinjaInterpreter::EvaluateFilter(const JinjaValue& input,
                                                    const JinjaFilterLink& link) {
  if (link.filter == nullptr) return InvalidArgument("No filter named '" + link.name + "'");
  KVASIR_ASSIGN_OR_RETURN(const JinjaArguments arguments, EvaluateArguments(link.arguments));
  line_ = link.line;
  return link.filter->function(runtime_, input, arguments);
}

Result<JinjaValue> JinjaInterpreter::EvaluateTest(const JinjaValue& input,
                                                  const JinjaTestLink& link) {
  if (link.test == nullptr) return InvalidArgument("No test named '" + link.name + "'");
  KVASIR_ASSIGN_OR_RETURN(const JinjaArguments arguments, EvaluateArguments(link.arguments));
  line_ = link.line;
  KVASIR_ASSIGN_OR_RETURN(const bool holds, link.test->function(runtime_, input, arguments));
  return JinjaValue(holds != link.negated);
}

Result<JinjaArguments> JinjaInterpreter::EvaluateArguments(const JinjaArgumentExprs& exprs) {
  JinjaArguments arguments;
  for (const JinjaExprPtr& expr : exprs.positional) {
    KVASIR_ASSIGN_OR_RETURN(JinjaValue value, Evaluate(*expr));
    arguments.positional.push_back(std::move(value));
  }
  for (const auto& [name, expr] : exprs.keyword) {
    KVASIR_ASSIGN_OR_RETURN(JinjaValue value, Evaluate(*expr));
    arguments.keyword.emplace_back(name, std::move(value));
  }
  if (exprs.more_positional != nullptr) {
    KVASIR_ASSIGN_OR_RETURN(const JinjaValue more, Evaluate(*exprs.more_positional));
    KVASIR_ASSIGN_OR_RETURN(std::vector<JinjaValue> elements, JinjaElements(runtime_, more));
    for (JinjaValue& element : elements) arguments.positional.push_back(std::move(element));
  }
  if (exprs.more_keyword != nullptr) {
    KVASIR_ASSIGN_OR_RETURN(const JinjaValue more, Evaluate(*exprs.more_keyword));
    if (!more.is_dict()) return InvalidArgument("argument after ** must be a mapping");
    for (const auto& [name, value] : more.dict().entries) {
      if (!name.is_string()) return InvalidArgument("keywords must be strings");
      KVASIR_RETURN_IF_ERROR(runtime_.budget().SpendSteps(1 + arguments.keyword.size() / 16));
      for (const auto& [other, other_value] : arguments.keyword) {
        if (other == name.text()) {
          return InvalidArgument("got multiple values for keyword argument '" + other + "'");
        }
      }
      arguments.keyword.emplace_back(name.text(), value);
    }
  }
  return arguments;
}

}  // namespace kvasir
