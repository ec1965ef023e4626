#include "kvasir/text/jinja_parser.h"

#include <algorithm>
#include <initializer_list>
#include <utility>

#include "kvasir/text/jinja_expression_parser.h"

namespace kvasir {

namespace {

using StatementPtr = std::unique_ptr<const JinjaStatement>;

class StatementParser {
 public:
  StatementParser(std::vector<JinjaToken> tokens, size_t depth_max)
      : tokens_(std::move(tokens), depth_max) {}

  Result<JinjaBody> Run() {
    KVASIR_ASSIGN_OR_RETURN(JinjaBody body, ParseBody("", {}));
    KVASIR_RETURN_IF_ERROR(tokens_.unknown_name());
    return body;
  }

 private:
  using Names = std::initializer_list<std::string_view>;

  // Statements up to a tag with one of the names `ends`, at which the stream then stands; up to the
  // end of the template when there are none.
  Result<JinjaBody> ParseBody(std::string_view tag, Names ends) {
    const JinjaParseGuard guard(tokens_);
    KVASIR_RETURN_IF_ERROR(guard.status());
    const int tag_line = tokens_.previous_line();
    JinjaBody body;
    while (tokens_.current().kind != JinjaTokenKind::kEnd) {
      const JinjaToken& token = tokens_.current();
      tokens_.Advance();
      if (token.kind == JinjaTokenKind::kData) {
        body.push_back(std::make_unique<JinjaText>(token.line, token.text));
      } else if (token.kind == JinjaTokenKind::kVariableBegin) {
        auto print = std::make_unique<JinjaPrint>(token.line);
        KVASIR_ASSIGN_OR_RETURN(JinjaExprPtr value, tokens_.ParseTuple());
        print->values.push_back(std::move(value));
        KVASIR_RETURN_IF_ERROR(tokens_.ExpectKind(JinjaTokenKind::kVariableEnd));
        body.push_back(std::move(print));
      } else {
        const bool ended = std::any_of(ends.begin(), ends.end(), [&](std::string_view end) {
          return tokens_.current().IsName(end);
        });
        if (ended) return body;
        KVASIR_ASSIGN_OR_RETURN(StatementPtr statement, ParseStatement());
        body.push_back(std::move(statement));
        KVASIR_RETURN_IF_ERROR(tokens_.ExpectKind(JinjaTokenKind::kBlockEnd));
      }
    }
    if (ends.size() == 0) return body;
    return JinjaSourceError(tag_line, "the tag '" + std::string(tag) + "' is not closed");
  }

  // The body of a tag, from the end of the tag up to, and over, the name that ends it.
  Result<JinjaBody> ParseTagBody(std::string_view tag, std::string_view end) {
    KVASIR_RETURN_IF_ERROR(FinishTag());
    KVASIR_ASSIGN_OR_RETURN(JinjaBody body, ParseBody(tag, {end}));
    tokens_.Advance();
    return body;
  }

  // The end of an opening tag; a colon before it is allowed, as in Python.
  Status FinishTag() {
    tokens_.TakeOperator(":");
    return tokens_.ExpectKind(JinjaTokenKind::kBlockEnd);
  }

  Result<StatementPtr> ParseStatement() {
    const int line = tokens_.line();
    const JinjaToken& token = tokens_.current();
    if (token.kind != JinjaTokenKind::kName) return tokens_.Unexpected("the name of a tag");
    const std::string& tag = token.text;
    tokens_.Advance();
    if (tag == "if") return ParseIf(line);
    if (tag == "set") return ParseSet(line);
    if (tag == "for") return ParseFor(line);
    if (tag == "macro") return ParseMacro(line);
    if (tag == "call") return ParseCallBlock(line);
    if (tag == "filter") return ParseFilterBlock(line);
    if (tag == "with") return ParseWith(line);
    if (tag == "print") return ParsePrint(line);
    if (tag == "generation") return ParseGeneration(line);
    if (tag == "break" || tag == "continue") return ParseJump(line, tag == "break");
    constexpr std::string_view kRefused[] = {"include", "import", "from",
                                             "extends", "block",  "autoescape"};
    if (std::find(std::begin(kRefused), std::end(kRefused), tag) != std::end(kRefused)) {
      return Unimplemented("line " + std::to_string(line) + ": the tag '" + tag +
                           "' is not supported in chat templates");
    }
    return JinjaSourceError(line, "unknown tag '" + tag + "'");
  }

  Result<StatementPtr> ParseIf(int line) {
    auto node = std::make_unique<JinjaIf>(line);
    const bool outer_lenient = tokens_.lenient();
    tokens_.set_lenient(true);
    while (true) {
      KVASIR_ASSIGN_OR_RETURN(JinjaExprPtr condition,
                              tokens_.ParseTuple(/*with_conditional=*/false));
      KVASIR_RETURN_IF_ERROR(FinishTag());
      KVASIR_ASSIGN_OR_RETURN(JinjaBody body, ParseBody("if", {"elif", "else", "endif"}));
      node->branches.emplace_back(std::move(condition), std::move(body));
      if (tokens_.TakeName("elif")) continue;
      if (tokens_.TakeName("endif")) break;
      tokens_.Advance();  // "else"
      KVASIR_ASSIGN_OR_RETURN(node->otherwise, ParseTagBody("if", "endif"));
      break;
    }
    tokens_.set_lenient(outer_lenient);
    return StatementPtr(std::move(node));
  }

  // `parse` with what is allowed inside a body of its own: strict about unknown names, and, when
  // the body is a function, without jumps to loops around it.
  template <typename Parse>
  auto InBody(bool function, Parse parse) {
    const bool outer_lenient = tokens_.lenient();
    const size_t outer_loops = loops_;
    tokens_.set_lenient(false);
    if (function) loops_ = 0;
    auto result = parse();
    tokens_.set_lenient(outer_lenient);
    loops_ = outer_loops;
    return result;
  }

  Result<StatementPtr> ParseFor(int line) {
    auto node = std::make_unique<JinjaFor>(line);
    ++enclosing_fors_;
    KVASIR_ASSIGN_OR_RETURN(node->target, ParseTarget(/*with_namespace=*/false));
    if (!tokens_.TakeName("in")) return tokens_.Unexpected("'in'");
    KVASIR_ASSIGN_OR_RETURN(node->iterable, tokens_.ParseTuple(/*with_conditional=*/false));
    if (tokens_.TakeName("if")) {
      KVASIR_ASSIGN_OR_RETURN(node->condition, tokens_.ParseExpression());
    }
    if (tokens_.current().IsName("recursive")) {
      return Unimplemented("line " + std::to_string(line) +
                           ": recursive loops are not supported in chat templates");
    }
    KVASIR_RETURN_IF_ERROR(FinishTag());
    KVASIR_ASSIGN_OR_RETURN(node->body, InBody(/*function=*/false, [this] {
                              ++loops_;
                              return ParseBody("for", {"endfor", "else"});
                            }));
    if (!tokens_.TakeName("endfor")) {
      tokens_.Advance();  // "else"
      KVASIR_ASSIGN_OR_RETURN(node->otherwise, InBody(/*function=*/false, [this] {
                                return ParseTagBody("for", "endfor");
                              }));
    }
    --enclosing_fors_;
    return StatementPtr(std::move(node));
  }

  // a, ns.b, (c, d,)
  Result<JinjaTarget> ParseTarget(bool with_namespace) {
    const JinjaParseGuard guard(tokens_);
    KVASIR_RETURN_IF_ERROR(guard.status());
    JinjaTarget target;
    target.line = tokens_.line();
    KVASIR_ASSIGN_OR_RETURN(JinjaTarget first, ParseTargetItem(with_namespace));
    if (!tokens_.current().IsOperator(",")) return first;
    target.tuple = true;
    target.items.push_back(std::move(first));
    while (tokens_.TakeOperator(",")) {
      if (tokens_.current().IsOperator(")")) break;
      KVASIR_ASSIGN_OR_RETURN(JinjaTarget item, ParseTargetItem(with_namespace));
      target.items.push_back(std::move(item));
    }
    return target;
  }

  Result<JinjaTarget> ParseTargetItem(bool with_namespace) {
    JinjaTarget target;
    target.line = tokens_.line();
    if (tokens_.TakeOperator("(")) {
      KVASIR_ASSIGN_OR_RETURN(target, ParseTarget(with_namespace));
      KVASIR_RETURN_IF_ERROR(tokens_.ExpectOperator(")"));
      return target;
    }
    KVASIR_ASSIGN_OR_RETURN(target.name, tokens_.ExpectName());
    constexpr std::string_view kConstants[] = {"true", "false", "none", "True", "False", "None"};
    if (std::find(std::begin(kConstants), std::end(kConstants), target.name) !=
        std::end(kConstants)) {
      return JinjaSourceError(target.line, "can't assign to '" + target.name + "'");
    }
    if (with_namespace && tokens_.TakeOperator(".")) {
      KVASIR_ASSIGN_OR_RETURN(target.attribute, tokens_.ExpectName());
    } else if (target.name == "loop" && enclosing_fors_ > 0) {
      return JinjaSourceError(target.line, "Can't assign to special loop variable in for-loop");
    }
    return target;
  }

  Result<StatementPtr> ParseSet(int line) {
    KVASIR_ASSIGN_OR_RETURN(JinjaTarget target, ParseTarget(/*with_namespace=*/true));
    if (tokens_.TakeOperator("=")) {
      auto node = std::make_unique<JinjaSet>(line);
      node->target = std::move(target);
      KVASIR_ASSIGN_OR_RETURN(node->value, tokens_.ParseTuple());
      return StatementPtr(std::move(node));
    }
    auto node = std::make_unique<JinjaSetBlock>(line);
    node->target = std::move(target);
    if (tokens_.TakeOperator("|")) {
      KVASIR_ASSIGN_OR_RETURN(
          node->filter, InBody(/*function=*/false, [this] { return tokens_.ParseBlockFilters(); }));
    }
    KVASIR_ASSIGN_OR_RETURN(
        node->body, InBody(/*function=*/false, [this] { return ParseTagBody("set", "endset"); }));
    return StatementPtr(std::move(node));
  }

  // (a, b=1)
  Status ParseSignature(JinjaMacroDefinition& macro) {
    KVASIR_RETURN_IF_ERROR(tokens_.ExpectOperator("("));
    while (!tokens_.TakeOperator(")")) {
      if (!macro.parameters.empty()) KVASIR_RETURN_IF_ERROR(tokens_.ExpectOperator(","));
      KVASIR_ASSIGN_OR_RETURN(std::string name, tokens_.ExpectName());
      if (std::find(macro.parameters.begin(), macro.parameters.end(), name) !=
          macro.parameters.end()) {
        return tokens_.Error("the parameter '" + name + "' is declared twice");
      }
      macro.parameters.push_back(std::move(name));
      if (tokens_.TakeOperator("=")) {
        KVASIR_ASSIGN_OR_RETURN(JinjaExprPtr value, tokens_.ParseExpression());
        macro.defaults.push_back(std::move(value));
      } else if (!macro.defaults.empty()) {
        return tokens_.Error("non-default argument follows default argument");
      }
    }
    return OkStatus();
  }

  // The body of a macro, and which of the implicit parameters it uses.
  Status ParseMacroBody(JinjaMacroDefinition& macro, std::string_view tag, std::string_view end) {
    const auto outer = std::exchange(tokens_.implicit_names(), {});
    KVASIR_ASSIGN_OR_RETURN(macro.body,
                            InBody(/*function=*/true, [&] { return ParseTagBody(tag, end); }));
    const auto declared = [&](std::string_view name) {
      return std::find(macro.parameters.begin(), macro.parameters.end(), name) !=
             macro.parameters.end();
    };
    JinjaExpressionParser::ImplicitNames& used = tokens_.implicit_names();
    macro.uses_caller = used.caller && !declared("caller");
    macro.uses_varargs = used.varargs && !declared("varargs");
    macro.uses_kwargs = used.kwargs && !declared("kwargs");
    used.caller |= outer.caller;
    used.varargs |= outer.varargs;
    used.kwargs |= outer.kwargs;
    return OkStatus();
  }

  Result<StatementPtr> ParseMacro(int line) {
    auto node = std::make_unique<JinjaMacro>(line);
    KVASIR_ASSIGN_OR_RETURN(node->definition.name, tokens_.ExpectName());
    KVASIR_RETURN_IF_ERROR(ParseSignature(node->definition));
    KVASIR_RETURN_IF_ERROR(ParseMacroBody(node->definition, "macro", "endmacro"));
    return StatementPtr(std::move(node));
  }

  Result<StatementPtr> ParseCallBlock(int line) {
    auto node = std::make_unique<JinjaCallBlock>(line);
    if (tokens_.current().IsOperator("(")) {
      KVASIR_RETURN_IF_ERROR(ParseSignature(node->caller));
    }
    KVASIR_ASSIGN_OR_RETURN(node->call, tokens_.ParseExpression());
    const auto* const postfix = node->call->kind == JinjaExprKind::kPostfix
                                    ? static_cast<const JinjaPostfixExpr*>(node->call.get())
                                    : nullptr;
    if (postfix == nullptr || postfix->links.back()->kind != JinjaLinkKind::kCall) {
      return JinjaSourceError(line, "expected call");
    }
    KVASIR_RETURN_IF_ERROR(ParseMacroBody(node->caller, "call", "endcall"));
    return StatementPtr(std::move(node));
  }

  Result<StatementPtr> ParseFilterBlock(int line) {
    auto node = std::make_unique<JinjaFilterBlock>(line);
    return InBody(/*function=*/false, [&]() -> Result<StatementPtr> {
      KVASIR_ASSIGN_OR_RETURN(node->filter, tokens_.ParseBlockFilters());
      KVASIR_ASSIGN_OR_RETURN(node->body, ParseTagBody("filter", "endfilter"));
      return StatementPtr(std::move(node));
    });
  }

  Result<StatementPtr> ParseWith(int line) {
    auto node = std::make_unique<JinjaWith>(line);
    while (tokens_.current().kind != JinjaTokenKind::kBlockEnd) {
      if (!node->values.empty()) KVASIR_RETURN_IF_ERROR(tokens_.ExpectOperator(","));
      KVASIR_ASSIGN_OR_RETURN(JinjaTarget target, ParseTargetItem(/*with_namespace=*/false));
      KVASIR_RETURN_IF_ERROR(tokens_.ExpectOperator("="));
      KVASIR_ASSIGN_OR_RETURN(JinjaExprPtr value, tokens_.ParseExpression());
      node->values.emplace_back(std::move(target), std::move(value));
    }
    KVASIR_ASSIGN_OR_RETURN(
        node->body, InBody(/*function=*/false, [this] { return ParseTagBody("with", "endwith"); }));
    return StatementPtr(std::move(node));
  }

  Result<StatementPtr> ParsePrint(int line) {
    auto node = std::make_unique<JinjaPrint>(line);
    while (tokens_.current().kind != JinjaTokenKind::kBlockEnd) {
      if (!node->values.empty()) KVASIR_RETURN_IF_ERROR(tokens_.ExpectOperator(","));
      KVASIR_ASSIGN_OR_RETURN(JinjaExprPtr value, tokens_.ParseExpression());
      node->values.push_back(std::move(value));
    }
    return StatementPtr(std::move(node));
  }

  // transformers marks what an assistant said by this tag; rendering passes it through.
  Result<StatementPtr> ParseGeneration(int line) {
    auto node = std::make_unique<JinjaScopeBlock>(line);
    KVASIR_ASSIGN_OR_RETURN(node->body, InBody(/*function=*/true, [this] {
                              return ParseTagBody("generation", "endgeneration");
                            }));
    return StatementPtr(std::move(node));
  }

  Result<StatementPtr> ParseJump(int line, bool is_break) {
    if (loops_ == 0) {
      return JinjaSourceError(line, is_break ? "'break' outside loop" : "'continue' outside loop");
    }
    return StatementPtr(std::make_unique<JinjaJump>(
        is_break ? JinjaStatementKind::kBreak : JinjaStatementKind::kContinue, line));
  }

  JinjaExpressionParser tokens_;
  size_t loops_ = 0;           // that break and continue can mean here
  size_t enclosing_fors_ = 0;  // around here, through macros and all
};

}  // namespace

Result<JinjaBody> JinjaParse(std::string_view source, const ChatTemplateLimits& limits) {
  if (source.size() > limits.source_bytes_max) {
    return ResourceExhausted("the chat template has " + std::to_string(source.size()) +
                             " bytes, at most " + std::to_string(limits.source_bytes_max) +
                             " are allowed");
  }
  KVASIR_ASSIGN_OR_RETURN(std::vector<JinjaToken> tokens, JinjaTokenize(source));
  return StatementParser(std::move(tokens), limits.depth_max).Run();
}

}  // namespace kvasir
