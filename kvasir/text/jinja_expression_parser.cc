#include "kvasir/text/jinja_expression_parser.h"

#include <algorithm>

namespace kvasir {

namespace {

std::string Describe(const JinjaToken& token) {
  switch (token.kind) {
    case JinjaTokenKind::kData:
      return "text";
    case JinjaTokenKind::kBlockBegin:
      return "'{%'";
    case JinjaTokenKind::kBlockEnd:
      return "'%}'";
    case JinjaTokenKind::kVariableBegin:
      return "'{{'";
    case JinjaTokenKind::kVariableEnd:
      return "'}}'";
    case JinjaTokenKind::kString:
      return "a string";
    case JinjaTokenKind::kInteger:
    case JinjaTokenKind::kFloat:
      return "a number";
    case JinjaTokenKind::kEnd:
      return "the end of the template";
    default:
      return "'" + token.text + "'";
  }
}

std::string_view KindText(JinjaTokenKind kind) {
  switch (kind) {
    case JinjaTokenKind::kBlockEnd:
      return "'%}'";
    case JinjaTokenKind::kVariableEnd:
      return "'}}'";
    case JinjaTokenKind::kName:
      return "a name";
    default:
      return "something else";
  }
}

// The operators of one level of precedence.
struct OperatorToken {
  std::string_view text;
  JinjaOperator op;
};
constexpr OperatorToken kSumOperators[] = {{"+", JinjaOperator::kAdd},
                                           {"-", JinjaOperator::kSubtract}};
constexpr OperatorToken kProductOperators[] = {{"*", JinjaOperator::kMultiply},
                                               {"/", JinjaOperator::kDivide},
                                               {"//", JinjaOperator::kFloorDivide},
                                               {"%", JinjaOperator::kRemainder}};
constexpr OperatorToken kPowerOperators[] = {{"**", JinjaOperator::kPower}};
constexpr OperatorToken kCompareOperators[] = {
    {"==", JinjaOperator::kEqual},  {"!=", JinjaOperator::kNotEqual},
    {"<", JinjaOperator::kLess},    {"<=", JinjaOperator::kLessEqual},
    {">", JinjaOperator::kGreater}, {">=", JinjaOperator::kGreaterEqual}};

template <size_t kCount>
const OperatorToken* FindOperator(const OperatorToken (&operators)[kCount],
                                  const JinjaToken& token) {
  const auto* const it = std::find_if(
      std::begin(operators), std::end(operators),
      [&](const OperatorToken& candidate) { return token.IsOperator(candidate.text); });
  return it == std::end(operators) ? nullptr : it;
}

// operand (op operand)*, with the operands of the next higher precedence.
template <size_t kCount, typename ParseOperand>
Result<JinjaExprPtr> ParseArithmetic(JinjaExpressionParser& parser,
                                     const OperatorToken (&operators)[kCount],
                                     ParseOperand parse_operand) {
  const int line = parser.line();
  KVASIR_ASSIGN_OR_RETURN(JinjaExprPtr first, parse_operand());
  if (FindOperator(operators, parser.current()) == nullptr) return first;
  auto chain = std::make_unique<JinjaChainExpr>(JinjaExprKind::kArithmetic, line, std::move(first));
  while (const OperatorToken* const op = FindOperator(operators, parser.current())) {
    parser.Advance();
    KVASIR_ASSIGN_OR_RETURN(JinjaExprPtr operand, parse_operand());
    chain->rest.emplace_back(op->op, std::move(operand));
  }
  return JinjaExprPtr(std::move(chain));
}

}  // namespace

bool JinjaExpressionParser::TakeName(std::string_view name) {
  if (!current().IsName(name)) return false;
  Advance();
  return true;
}

bool JinjaExpressionParser::TakeOperator(std::string_view op) {
  if (!current().IsOperator(op)) return false;
  Advance();
  return true;
}

Status JinjaExpressionParser::ExpectOperator(std::string_view op) {
  if (TakeOperator(op)) return OkStatus();
  return Unexpected("'" + std::string(op) + "'");
}

Status JinjaExpressionParser::ExpectKind(JinjaTokenKind kind) {
  if (current().kind != kind) return Unexpected(KindText(kind));
  Advance();
  return OkStatus();
}

Result<std::string> JinjaExpressionParser::ExpectName() {
  const std::string name = current().text;
  KVASIR_RETURN_IF_ERROR(ExpectKind(JinjaTokenKind::kName));
  return name;
}

Status JinjaExpressionParser::Unexpected(std::string_view wanted) const {
  return Error("expected " + std::string(wanted) + ", got " + Describe(current()));
}

Status JinjaExpressionParser::Enter() {
  if (++depth_ <= depth_max_) return OkStatus();
  return ResourceExhausted("line " + std::to_string(line()) +
                           ": the chat template is nested deeper than " +
                           std::to_string(depth_max_) + " levels");
}

Result<JinjaExprPtr> JinjaExpressionParser::ParseExpression() {
  const JinjaParseGuard guard(*this);
  KVASIR_RETURN_IF_ERROR(guard.status());
  const int expression_line = line();
  const size_t unknown_before = unknown_names_.size();
  KVASIR_ASSIGN_OR_RETURN(JinjaExprPtr first, ParseOr());
  if (!current().IsName("if")) return first;
  auto conditional = std::make_unique<JinjaConditionalExpr>(expression_line);
  conditional->then = std::move(first);
  unknown_names_.resize(unknown_before);  // only now it shows that the first part was conditional
  const bool outer_lenient = std::exchange(lenient_, true);
  while (TakeName("if")) {
    JinjaConditionalExpr::Condition& condition = conditional->conditions.emplace_back();
    KVASIR_ASSIGN_OR_RETURN(condition.condition, ParseOr());
    if (TakeName("else")) {
      KVASIR_ASSIGN_OR_RETURN(condition.otherwise, ParseExpression());
    }
  }
  lenient_ = outer_lenient;
  return JinjaExprPtr(std::move(conditional));
}

bool JinjaExpressionParser::AtTupleEnd() const {
  return current().kind == JinjaTokenKind::kVariableEnd ||
         current().kind == JinjaTokenKind::kBlockEnd || current().IsOperator(")");
}

Result<JinjaExprPtr> JinjaExpressionParser::ParseTuple(bool with_conditional) {
  const int tuple_line = line();
  const auto parse = [&] { return with_conditional ? ParseExpression() : ParseOr(); };
  if (AtTupleEnd()) return Unexpected("an expression");
  KVASIR_ASSIGN_OR_RETURN(JinjaExprPtr first, parse());
  if (!current().IsOperator(",")) return first;
  auto tuple = std::make_unique<JinjaListExpr>(tuple_line, /*t=*/true);
  tuple->items.push_back(std::move(first));
  while (TakeOperator(",") && !AtTupleEnd()) {
    KVASIR_ASSIGN_OR_RETURN(JinjaExprPtr item, parse());
    tuple->items.push_back(std::move(item));
  }
  return JinjaExprPtr(std::move(tuple));
}

Result<JinjaExprPtr> JinjaExpressionParser::ParseOr() {
  const int expression_line = line();
  KVASIR_ASSIGN_OR_RETURN(JinjaExprPtr first, ParseAnd());
  if (!current().IsName("or")) return first;
  auto logic = std::make_unique<JinjaLogicExpr>(expression_line, /*a=*/false);
  logic->operands.push_back(std::move(first));
  while (TakeName("or")) {
    KVASIR_ASSIGN_OR_RETURN(JinjaExprPtr operand, ParseAnd());
    logic->operands.push_back(std::move(operand));
  }
  return JinjaExprPtr(std::move(logic));
}

Result<JinjaExprPtr> JinjaExpressionParser::ParseAnd() {
  const int expression_line = line();
  KVASIR_ASSIGN_OR_RETURN(JinjaExprPtr first, ParseNot());
  if (!current().IsName("and")) return first;
  auto logic = std::make_unique<JinjaLogicExpr>(expression_line, /*a=*/true);
  logic->operands.push_back(std::move(first));
  while (TakeName("and")) {
    KVASIR_ASSIGN_OR_RETURN(JinjaExprPtr operand, ParseNot());
    logic->operands.push_back(std::move(operand));
  }
  return JinjaExprPtr(std::move(logic));
}

Result<JinjaExprPtr> JinjaExpressionParser::ParseNot() {
  const int expression_line = line();
  if (!TakeName("not")) return ParseCompare();
  const JinjaParseGuard guard(*this);
  KVASIR_RETURN_IF_ERROR(guard.status());
  KVASIR_ASSIGN_OR_RETURN(JinjaExprPtr operand, ParseNot());
  return JinjaExprPtr(std::make_unique<JinjaNotExpr>(expression_line, std::move(operand)));
}

Result<JinjaExprPtr> JinjaExpressionParser::ParseCompare() {
  const int expression_line = line();
  KVASIR_ASSIGN_OR_RETURN(JinjaExprPtr first, ParseSum());
  std::unique_ptr<JinjaChainExpr> chain;
  while (true) {
    JinjaOperator op = JinjaOperator::kIn;
    if (const OperatorToken* const found = FindOperator(kCompareOperators, current())) {
      op = found->op;
    } else if (current().IsName("not") && next().IsName("in")) {
      op = JinjaOperator::kNotIn;
      Advance();
    } else if (!current().IsName("in")) {
      break;
    }
    Advance();
    if (chain == nullptr) {
      chain = std::make_unique<JinjaChainExpr>(JinjaExprKind::kCompare, expression_line,
                                               std::move(first));
    }
    KVASIR_ASSIGN_OR_RETURN(JinjaExprPtr operand, ParseSum());
    chain->rest.emplace_back(op, std::move(operand));
  }
  return chain == nullptr ? std::move(first) : JinjaExprPtr(std::move(chain));
}

Result<JinjaExprPtr> JinjaExpressionParser::ParseSum() {
  return ParseArithmetic(*this, kSumOperators, [this] { return ParseConcat(); });
}

Result<JinjaExprPtr> JinjaExpressionParser::ParseConcat() {
  const int expression_line = line();
  KVASIR_ASSIGN_OR_RETURN(JinjaExprPtr first, ParseProduct());
  if (!current().IsOperator("~")) return first;
  auto concat = std::make_unique<JinjaConcatExpr>(expression_line);
  concat->parts.push_back(std::move(first));
  while (TakeOperator("~")) {
    KVASIR_ASSIGN_OR_RETURN(JinjaExprPtr part, ParseProduct());
    concat->parts.push_back(std::move(part));
  }
  return JinjaExprPtr(std::move(concat));
}

Result<JinjaExprPtr> JinjaExpressionParser::ParseProduct() {
  return ParseArithmetic(*this, kProductOperators, [this] { return ParsePower(); });
}

Result<JinjaExprPtr> JinjaExpressionParser::ParsePower() {
  return ParseArithmetic(*this, kPowerOperators, [this] { return ParseUnary(true); });
}

Result<JinjaExprPtr> JinjaExpressionParser::ParseUnary(bool with_filter) {
  const JinjaParseGuard guard(*this);
  KVASIR_RETURN_IF_ERROR(guard.status());
  const int expression_line = line();
  JinjaExprPtr base;
  if (current().IsOperator("-") || current().IsOperator("+")) {
    const bool negate = current().IsOperator("-");
    Advance();
    KVASIR_ASSIGN_OR_RETURN(JinjaExprPtr operand, ParseUnary(false));
    base = std::make_unique<JinjaSignExpr>(expression_line, negate, std::move(operand));
  } else {
    KVASIR_ASSIGN_OR_RETURN(base, ParsePrimary());
  }
  Links links;
  KVASIR_RETURN_IF_ERROR(ParsePostfix(links));
  if (with_filter) KVASIR_RETURN_IF_ERROR(ParseFiltersAndTests(links));
  if (links.empty()) return base;
  auto postfix = std::make_unique<JinjaPostfixExpr>(expression_line);
  postfix->base = std::move(base);
  postfix->links = std::move(links);
  return JinjaExprPtr(std::move(postfix));
}

Result<JinjaExprPtr> JinjaExpressionParser::ParsePrimary() {
  const JinjaToken& token = current();
  const auto literal = [&](JinjaValue value) {
    Advance();
    return JinjaExprPtr(std::make_unique<JinjaLiteral>(token.line, std::move(value)));
  };
  switch (token.kind) {
    case JinjaTokenKind::kName:
      return ParseNameOrConstant();
    case JinjaTokenKind::kString:
      return ParseString();
    case JinjaTokenKind::kInteger:
      return literal(JinjaValue(token.integer));
    case JinjaTokenKind::kFloat:
      return literal(JinjaValue(token.number));
    default:
      break;
  }
  if (token.IsOperator("(")) return ParseParenthesis();
  if (token.IsOperator("[")) return ParseList();
  if (token.IsOperator("{")) return ParseDict();
  return Unexpected("an expression");
}

Result<JinjaExprPtr> JinjaExpressionParser::ParseNameOrConstant() {
  const int name_line = line();
  const std::string name = current().text;
  Advance();
  const auto literal = [&](JinjaValue value) {
    return JinjaExprPtr(std::make_unique<JinjaLiteral>(name_line, std::move(value)));
  };
  if (name == "true" || name == "True") return literal(JinjaValue(true));
  if (name == "false" || name == "False") return literal(JinjaValue(false));
  if (name == "none" || name == "None") return literal(JinjaValue());
  implicit_names_.caller |= name == "caller";
  implicit_names_.varargs |= name == "varargs";
  implicit_names_.kwargs |= name == "kwargs";
  return JinjaExprPtr(std::make_unique<JinjaName>(name_line, name));
}

// Strings that follow each other are one.
Result<JinjaExprPtr> JinjaExpressionParser::ParseString() {
  const int string_line = line();
  std::string text;
  for (; current().kind == JinjaTokenKind::kString; Advance()) text += current().text;
  return JinjaExprPtr(std::make_unique<JinjaLiteral>(string_line, JinjaValue(std::move(text))));
}

Result<JinjaExprPtr> JinjaExpressionParser::ParseParenthesis() {
  const int tuple_line = line();
  KVASIR_RETURN_IF_ERROR(ExpectOperator("("));
  if (TakeOperator(")")) {
    return JinjaExprPtr(std::make_unique<JinjaListExpr>(tuple_line, /*t=*/true));
  }
  KVASIR_ASSIGN_OR_RETURN(JinjaExprPtr inside, ParseTuple());
  KVASIR_RETURN_IF_ERROR(ExpectOperator(")"));
  return inside;
}

Result<JinjaExprPtr> JinjaExpressionParser::ParseList() {
  auto list = std::make_unique<JinjaListExpr>(line(), /*t=*/false);
  KVASIR_RETURN_IF_ERROR(ExpectOperator("["));
  while (!current().IsOperator("]")) {
    KVASIR_ASSIGN_OR_RETURN(JinjaExprPtr item, ParseExpression());
    list->items.push_back(std::move(item));
    if (!current().IsOperator("]")) KVASIR_RETURN_IF_ERROR(ExpectOperator(","));
  }
  Advance();
  return JinjaExprPtr(std::move(list));
}

Result<JinjaExprPtr> JinjaExpressionParser::ParseDict() {
  auto dict = std::make_unique<JinjaDictExpr>(line());
  KVASIR_RETURN_IF_ERROR(ExpectOperator("{"));
  while (!current().IsOperator("}")) {
    KVASIR_ASSIGN_OR_RETURN(JinjaExprPtr key, ParseExpression());
    KVASIR_RETURN_IF_ERROR(ExpectOperator(":"));
    KVASIR_ASSIGN_OR_RETURN(JinjaExprPtr value, ParseExpression());
    dict->entries.emplace_back(std::move(key), std::move(value));
    if (!current().IsOperator("}")) KVASIR_RETURN_IF_ERROR(ExpectOperator(","));
  }
  Advance();
  return JinjaExprPtr(std::move(dict));
}

}  // namespace kvasir
