// JinjaExpressionParser: tokens -> expression trees, and the token stream that the statement parser
// shares. A part of JinjaParse.

#ifndef KVASIR_TEXT_JINJA_EXPRESSION_PARSER_H_
#define KVASIR_TEXT_JINJA_EXPRESSION_PARSER_H_

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kvasir/base/status.h"
#include "kvasir/text/jinja_ast.h"
#include "kvasir/text/jinja_lexer.h"

namespace kvasir {

class JinjaExpressionParser {
 public:
  // REQUIRES tokens that end in kEnd.
  JinjaExpressionParser(std::vector<JinjaToken> tokens, size_t depth_max)
      : tokens_(std::move(tokens)), depth_max_(depth_max) {}

  // The token stream.
  const JinjaToken& current() const { return tokens_[position_]; }
  const JinjaToken& next() const {
    return tokens_[position_ + 1 < tokens_.size() ? position_ + 1 : position_];
  }
  int line() const { return current().line; }
  int previous_line() const { return position_ > 0 ? tokens_[position_ - 1].line : 1; }
  void Advance() {
    if (position_ + 1 < tokens_.size()) ++position_;
  }
  bool TakeName(std::string_view name);
  bool TakeOperator(std::string_view op);
  Status ExpectOperator(std::string_view op);
  Status ExpectKind(JinjaTokenKind kind);
  Result<std::string> ExpectName();
  Status Error(std::string_view message) const { return JinjaSourceError(line(), message); }
  // "unexpected <the current token>".
  Status Unexpected(std::string_view wanted) const;

  Result<JinjaExprPtr> ParseExpression();
  // An expression, or a tuple without parentheses.
  Result<JinjaExprPtr> ParseTuple(bool with_conditional = true);
  // a|b(c): the filters of a block, without what they are applied to.
  Result<JinjaExprPtr> ParseBlockFilters();
  // Going down one level of nesting; Leave() by DepthGuard.
  Status Enter();
  void Leave() { --depth_; }
  size_t depth() const { return depth_; }

  // Inside if statements and conditional expressions, unknown filters and tests are errors only
  // when they are reached, because templates may ask with `is filter` first.
  bool lenient() const { return lenient_; }
  void set_lenient(bool lenient) { lenient_ = lenient; }
  // The error for the first unknown filter or test elsewhere.
  Status unknown_name() const {
    return unknown_names_.empty() ? OkStatus() : unknown_names_.front();
  }

  // Names that were looked up since the flags were last cleared, for what macros take implicitly.
  struct ImplicitNames {
    bool caller = false;
    bool varargs = false;
    bool kwargs = false;
  };
  ImplicitNames& implicit_names() { return implicit_names_; }

 private:
  Result<JinjaExprPtr> ParseOr();
  Result<JinjaExprPtr> ParseAnd();
  Result<JinjaExprPtr> ParseNot();
  Result<JinjaExprPtr> ParseCompare();
  Result<JinjaExprPtr> ParseSum();
  Result<JinjaExprPtr> ParseConcat();
  Result<JinjaExprPtr> ParseProduct();
  Result<JinjaExprPtr> ParsePower();
  Result<JinjaExprPtr> ParseUnary(bool with_filter);
  Result<JinjaExprPtr> ParsePrimary();
  Result<JinjaExprPtr> ParseNameOrConstant();
  Result<JinjaExprPtr> ParseString();
  Result<JinjaExprPtr> ParseParenthesis();
  Result<JinjaExprPtr> ParseList();
  Result<JinjaExprPtr> ParseDict();
  // Appends to `links`, as long as they follow.
  using Links = std::vector<std::unique_ptr<const JinjaLink>>;
  Status ParsePostfix(Links& links);
  Status ParseFiltersAndTests(Links& links);
  Status ParseSubscript(Links& links);
  Status ParseSlice(Links& links, JinjaExprPtr start, int line);
  Status ParseCall(Links& links);
  Status ParseFilter(Links& links);
  Status ParseTest(Links& links);
  Status ParseTestArguments(JinjaArgumentExprs& arguments);
  Status ParseArguments(JinjaArgumentExprs& arguments);
  Status ParseArgument(JinjaArgumentExprs& arguments);
  bool AtTupleEnd() const;
  void NoteUnknown(std::string_view what, std::string_view name);

  const std::vector<JinjaToken> tokens_;
  const size_t depth_max_;
  size_t position_ = 0;
  size_t depth_ = 0;
  bool lenient_ = false;
  std::vector<Status> unknown_names_;
  ImplicitNames implicit_names_;
};

// Leaves the nesting level when it goes out of scope.
class JinjaParseGuard {
 public:
  explicit JinjaParseGuard(JinjaExpressionParser& parser)
      : parser_(parser), status_(parser.Enter()) {}
  ~JinjaParseGuard() { parser_.Leave(); }
  JinjaParseGuard(const JinjaParseGuard&) = delete;
  JinjaParseGuard& operator=(const JinjaParseGuard&) = delete;
  const Status& status() const { return status_; }

 private:
  JinjaExpressionParser& parser_;
  const Status status_;
};

}  // namespace kvasir

#endif  // KVASIR_TEXT_JINJA_EXPRESSION_PARSER_H_
