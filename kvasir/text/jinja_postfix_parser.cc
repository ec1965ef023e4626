// What follows an operand in an expression: subscripts, calls, filters and tests.

#include "kvasir/text/jinja_expression_parser.h"

namespace kvasir {

void JinjaExpressionParser::NoteUnknown(std::string_view what, std::string_view name) {
  if (lenient_) return;
  unknown_names_.push_back(Error("No " + std::string(what) + " named '" + std::string(name) + "'"));
}

Result<JinjaExprPtr> JinjaExpressionParser::ParseBlockFilters() {
  auto postfix = std::make_unique<JinjaPostfixExpr>(line());
  do {
    KVASIR_RETURN_IF_ERROR(ParseFilter(postfix->links));
  } while (TakeOperator("|"));
  return JinjaExprPtr(std::move(postfix));
}

Status JinjaExpressionParser::ParsePostfix(Links& links) {
  while (true) {
    if (current().IsOperator(".") || current().IsOperator("[")) {
      KVASIR_RETURN_IF_ERROR(ParseSubscript(links));
    } else if (current().IsOperator("(")) {
      KVASIR_RETURN_IF_ERROR(ParseCall(links));
    } else {
      return OkStatus();
    }
  }
}

Status JinjaExpressionParser::ParseFiltersAndTests(Links& links) {
  while (true) {
    if (TakeOperator("|")) {
      KVASIR_RETURN_IF_ERROR(ParseFilter(links));
    } else if (current().IsName("is")) {
      KVASIR_RETURN_IF_ERROR(ParseTest(links));
    } else if (current().IsOperator("(")) {
      KVASIR_RETURN_IF_ERROR(ParseCall(links));
    } else {
      return OkStatus();
    }
  }
}

Status JinjaExpressionParser::ParseSubscript(Links& links) {
  const int link_line = line();
  if (TakeOperator(".")) {
    const JinjaToken& member = current();
    if (member.kind == JinjaTokenKind::kName) {
      links.push_back(std::make_unique<JinjaAttributeLink>(link_line, member.text));
    } else if (member.kind == JinjaTokenKind::kInteger) {
      auto index = std::make_unique<JinjaLiteral>(link_line, JinjaValue(member.integer));
      links.push_back(std::make_unique<JinjaItemLink>(link_line, std::move(index)));
    } else {
      return Unexpected("a name or number");
    }
    Advance();
    return OkStatus();
  }
  KVASIR_RETURN_IF_ERROR(ExpectOperator("["));
  if (current().IsOperator(":")) return ParseSlice(links, nullptr, link_line);
  auto tuple = std::make_unique<JinjaListExpr>(link_line, /*t=*/true);
  while (!current().IsOperator("]")) {
    KVASIR_ASSIGN_OR_RETURN(JinjaExprPtr item, ParseExpression());
    if (current().IsOperator(":") && tuple->items.empty()) {
      return ParseSlice(links, std::move(item), link_line);
    }
    tuple->items.push_back(std::move(item));
    if (current().IsOperator("]")) break;
    KVASIR_RETURN_IF_ERROR(ExpectOperator(","));
    if (current().IsOperator("]")) return Unexpected("an expression");
  }
  Advance();
  JinjaExprPtr index =
      tuple->items.size() == 1 ? std::move(tuple->items[0]) : JinjaExprPtr(std::move(tuple));
  links.push_back(std::make_unique<JinjaItemLink>(link_line, std::move(index)));
  return OkStatus();
}

// From the first colon on.
Status JinjaExpressionParser::ParseSlice(Links& links, JinjaExprPtr start, int link_line) {
  auto slice = std::make_unique<JinjaSliceLink>(link_line);
  slice->start = std::move(start);
  KVASIR_RETURN_IF_ERROR(ExpectOperator(":"));
  if (!current().IsOperator(":") && !current().IsOperator("]")) {
    KVASIR_ASSIGN_OR_RETURN(slice->stop, ParseExpression());
  }
  if (TakeOperator(":") && !current().IsOperator("]")) {
    KVASIR_ASSIGN_OR_RETURN(slice->step, ParseExpression());
  }
  KVASIR_RETURN_IF_ERROR(ExpectOperator("]"));
  links.push_back(std::move(slice));
  return OkStatus();
}

Status JinjaExpressionParser::ParseCall(Links& links) {
  auto call = std::make_unique<JinjaCallLink>(line());
  KVASIR_RETURN_IF_ERROR(ParseArguments(call->arguments));
  links.push_back(std::move(call));
  return OkStatus();
}

Status JinjaExpressionParser::ParseArguments(JinjaArgumentExprs& arguments) {
  KVASIR_RETURN_IF_ERROR(ExpectOperator("("));
  while (!current().IsOperator(")")) {
    KVASIR_RETURN_IF_ERROR(ParseArgument(arguments));
    if (!current().IsOperator(")")) KVASIR_RETURN_IF_ERROR(ExpectOperator(","));
  }
  Advance();
  return OkStatus();
}

Status JinjaExpressionParser::ParseArgument(JinjaArgumentExprs& arguments) {
  const Status out_of_order = Error("invalid syntax for function call expression");
  const bool unpacked = arguments.more_positional != nullptr || arguments.more_keyword != nullptr;
  if (TakeOperator("*")) {
    if (unpacked) return out_of_order;
    KVASIR_ASSIGN_OR_RETURN(arguments.more_positional, ParseExpression());
    return OkStatus();
  }
  if (TakeOperator("**")) {
    if (arguments.more_keyword != nullptr) return out_of_order;
    KVASIR_ASSIGN_OR_RETURN(arguments.more_keyword, ParseExpression());
    return OkStatus();
  }
  if (current().kind == JinjaTokenKind::kName && next().IsOperator("=")) {
    if (arguments.more_keyword != nullptr) return out_of_order;
    const std::string name = current().text;
    for (const auto& [other, value] : arguments.keyword) {
      if (other == name) return Error("the argument '" + name + "' is given twice");
    }
    Advance();
    Advance();
    KVASIR_ASSIGN_OR_RETURN(JinjaExprPtr value, ParseExpression());
    arguments.keyword.emplace_back(name, std::move(value));
    return OkStatus();
  }
  if (unpacked || !arguments.keyword.empty()) return out_of_order;
  KVASIR_ASSIGN_OR_RETURN(JinjaExprPtr value, ParseExpression());
  arguments.positional.push_back(std::move(value));
  return OkStatus();
}

Status JinjaExpressionParser::ParseFilter(Links& links) {
  auto link = std::make_unique<JinjaFilterLink>(line());
  KVASIR_ASSIGN_OR_RETURN(link->name, ExpectName());
  while (TakeOperator(".")) {
    KVASIR_ASSIGN_OR_RETURN(const std::string part, ExpectName());
    link->name += "." + part;
  }
  link->filter = JinjaFindFilter(link->name);
  if (link->filter == nullptr) NoteUnknown("filter", link->name);
  if (current().IsOperator("(")) KVASIR_RETURN_IF_ERROR(ParseArguments(link->arguments));
  links.push_back(std::move(link));
  return OkStatus();
}

Status JinjaExpressionParser::ParseTest(Links& links) {
  auto link = std::make_unique<JinjaTestLink>(line());
  Advance();  // "is"
  link->negated = TakeName("not");
  KVASIR_ASSIGN_OR_RETURN(link->name, ExpectName());
  while (TakeOperator(".")) {
    KVASIR_ASSIGN_OR_RETURN(const std::string part, ExpectName());
    link->name += "." + part;
  }
  link->test = JinjaFindTest(link->name);
  if (link->test == nullptr) NoteUnknown("test", link->name);
  KVASIR_RETURN_IF_ERROR(ParseTestArguments(link->arguments));
  links.push_back(std::move(link));
  return OkStatus();
}

// (a, b), or one argument without parentheses: x is divisibleby 3.
Status JinjaExpressionParser::ParseTestArguments(JinjaArgumentExprs& arguments) {
  if (current().IsOperator("(")) return ParseArguments(arguments);
  const JinjaTokenKind kind = current().kind;
  const bool operand = kind == JinjaTokenKind::kName || kind == JinjaTokenKind::kString ||
                       kind == JinjaTokenKind::kInteger || kind == JinjaTokenKind::kFloat ||
                       current().IsOperator("[") || current().IsOperator("{");
  if (!operand || current().IsName("else") || current().IsName("or") || current().IsName("and")) {
    return OkStatus();
  }
  if (current().IsName("is")) return Error("You cannot chain multiple tests with is");
  const JinjaParseGuard guard(*this);
  KVASIR_RETURN_IF_ERROR(guard.status());
  auto argument = std::make_unique<JinjaPostfixExpr>(line());
  KVASIR_ASSIGN_OR_RETURN(argument->base, ParsePrimary());
  KVASIR_RETURN_IF_ERROR(ParsePostfix(argument->links));
  arguments.positional.push_back(std::move(argument));
  return OkStatus();
}

}  // namespace kvasir
