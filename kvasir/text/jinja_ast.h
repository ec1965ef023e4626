// The tree of a parsed template: what JinjaParse builds and the interpreter walks. Immutable after
// parsing and shared by all renderings; nodes are owned by their parents.

#ifndef KVASIR_TEXT_JINJA_AST_H_
#define KVASIR_TEXT_JINJA_AST_H_

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "kvasir/text/jinja_filters.h"
#include "kvasir/text/jinja_operators.h"
#include "kvasir/text/jinja_value.h"

namespace kvasir {

// ---------------------------------------------------------------------------------------------
// Expressions

enum class JinjaExprKind {
  kLiteral,
  kName,
  kList,
  kDict,
  kPostfix,
  kSign,
  kNot,
  kLogic,
  kArithmetic,
  kConcat,
  kCompare,
  kConditional,
};

struct JinjaExpr {
  JinjaExpr(JinjaExprKind k, int l) : kind(k), line(l) {}
  virtual ~JinjaExpr() = default;

  const JinjaExprKind kind;
  const int line;
};
using JinjaExprPtr = std::unique_ptr<const JinjaExpr>;

struct JinjaLiteral : JinjaExpr {
  JinjaLiteral(int line, JinjaValue v) : JinjaExpr(JinjaExprKind::kLiteral, line), value(v) {}
  JinjaValue value;
};

struct JinjaName : JinjaExpr {
  JinjaName(int line, std::string n) : JinjaExpr(JinjaExprKind::kName, line), name(std::move(n)) {}
  std::string name;
};

// [a, b] or (a, b).
struct JinjaListExpr : JinjaExpr {
  JinjaListExpr(int line, bool t) : JinjaExpr(JinjaExprKind::kList, line), tuple(t) {}
  bool tuple;
  std::vector<JinjaExprPtr> items;
};

struct JinjaDictExpr : JinjaExpr {
  explicit JinjaDictExpr(int line) : JinjaExpr(JinjaExprKind::kDict, line) {}
  std::vector<std::pair<JinjaExprPtr, JinjaExprPtr>> entries;
};

// (a, name=b, *c, **d)
struct JinjaArgumentExprs {
  std::vector<JinjaExprPtr> positional;
  std::vector<std::pair<std::string, JinjaExprPtr>> keyword;
  JinjaExprPtr more_positional;  // nullptr when absent
  JinjaExprPtr more_keyword;
};

enum class JinjaLinkKind { kAttribute, kItem, kSlice, kCall, kFilter, kTest };

// One thing that follows an operand.
struct JinjaLink {
  JinjaLink(JinjaLinkKind k, int l) : kind(k), line(l) {}
  virtual ~JinjaLink() = default;

  const JinjaLinkKind kind;
  const int line;
};

// .name
struct JinjaAttributeLink : JinjaLink {
  JinjaAttributeLink(int line, std::string n)
      : JinjaLink(JinjaLinkKind::kAttribute, line), name(std::move(n)) {}
  std::string name;
};

// [index]
struct JinjaItemLink : JinjaLink {
  JinjaItemLink(int line, JinjaExprPtr i)
      : JinjaLink(JinjaLinkKind::kItem, line), index(std::move(i)) {}
  JinjaExprPtr index;
};

// [start:stop:step]; nullptr for what is left out.
struct JinjaSliceLink : JinjaLink {
  explicit JinjaSliceLink(int line) : JinjaLink(JinjaLinkKind::kSlice, line) {}
  JinjaExprPtr start;
  JinjaExprPtr stop;
  JinjaExprPtr step;
};

// (arguments)
struct JinjaCallLink : JinjaLink {
  explicit JinjaCallLink(int line) : JinjaLink(JinjaLinkKind::kCall, line) {}
  JinjaArgumentExprs arguments;
};

// |name(arguments)
struct JinjaFilterLink : JinjaLink {
  explicit JinjaFilterLink(int line) : JinjaLink(JinjaLinkKind::kFilter, line) {}
  std::string name;
  const JinjaFilter* filter = nullptr;  // nullptr: unknown, an error once it is reached
  JinjaArgumentExprs arguments;
};

// is name(arguments), or is not
struct JinjaTestLink : JinjaLink {
  explicit JinjaTestLink(int line) : JinjaLink(JinjaLinkKind::kTest, line) {}
  std::string name;
  const JinjaTest* test = nullptr;  // as in JinjaFilterLink
  bool negated = false;
  JinjaArgumentExprs arguments;
};

// An operand and what follows it, from left to right: a list, so that a long chain is no deep tree.
struct JinjaPostfixExpr : JinjaExpr {
  explicit JinjaPostfixExpr(int line) : JinjaExpr(JinjaExprKind::kPostfix, line) {}
  JinjaExprPtr base;  // nullptr: the text of the block that the filters stand at
  std::vector<std::unique_ptr<const JinjaLink>> links;
};

// -operand or +operand
struct JinjaSignExpr : JinjaExpr {
  JinjaSignExpr(int line, bool n, JinjaExprPtr o)
      : JinjaExpr(JinjaExprKind::kSign, line), negate(n), operand(std::move(o)) {}
  bool negate;
  JinjaExprPtr operand;
};

struct JinjaNotExpr : JinjaExpr {
  JinjaNotExpr(int line, JinjaExprPtr o)
      : JinjaExpr(JinjaExprKind::kNot, line), operand(std::move(o)) {}
  JinjaExprPtr operand;
};

// a and b and c, or a or b or c: at least two operands
struct JinjaLogicExpr : JinjaExpr {
  JinjaLogicExpr(int line, bool a) : JinjaExpr(JinjaExprKind::kLogic, line), is_and(a) {}
  bool is_and;
  std::vector<JinjaExprPtr> operands;
};

// first op a op b ...: arithmetic from left to right, or a chain of comparisons
struct JinjaChainExpr : JinjaExpr {
  JinjaChainExpr(JinjaExprKind kind, int line, JinjaExprPtr f)
      : JinjaExpr(kind, line), first(std::move(f)) {}
  JinjaExprPtr first;
  std::vector<std::pair<JinjaOperator, JinjaExprPtr>> rest;
};

// a ~ b ~ c
struct JinjaConcatExpr : JinjaExpr {
  explicit JinjaConcatExpr(int line) : JinjaExpr(JinjaExprKind::kConcat, line) {}
  std::vector<JinjaExprPtr> parts;
};

// then if condition else otherwise. Without an else, conditions can follow each other: the last one
// counts first.
struct JinjaConditionalExpr : JinjaExpr {
  explicit JinjaConditionalExpr(int line) : JinjaExpr(JinjaExprKind::kConditional, line) {}
  struct Condition {
    JinjaExprPtr condition;
    JinjaExprPtr otherwise;  // nullptr: undefined
  };
  JinjaExprPtr then;
  std::vector<Condition> conditions;
};

// ---------------------------------------------------------------------------------------------
// Statements

enum class JinjaStatementKind {
  kText,
  kPrint,
  kIf,
  kFor,
  kSet,
  kSetBlock,
  kMacro,
  kCallBlock,
  kFilterBlock,
  kWith,
  kScope,
  kBreak,
  kContinue,
};

struct JinjaStatement {
  JinjaStatement(JinjaStatementKind k, int l) : kind(k), line(l) {}
  virtual ~JinjaStatement() = default;

  const JinjaStatementKind kind;
  const int line;
};
using JinjaBody = std::vector<std::unique_ptr<const JinjaStatement>>;

struct JinjaText : JinjaStatement {
  JinjaText(int line, std::string t)
      : JinjaStatement(JinjaStatementKind::kText, line), text(std::move(t)) {}
  std::string text;
};

struct JinjaPrint : JinjaStatement {
  explicit JinjaPrint(int line) : JinjaStatement(JinjaStatementKind::kPrint, line) {}
  std::vector<JinjaExprPtr> values;
};

struct JinjaIf : JinjaStatement {
  explicit JinjaIf(int line) : JinjaStatement(JinjaStatementKind::kIf, line) {}
  std::vector<std::pair<JinjaExprPtr, JinjaBody>> branches;  // if and elifs
  JinjaBody otherwise;
};

// What can be assigned to: a name, an attribute of a namespace, or a tuple of targets.
struct JinjaTarget {
  int line = 0;
  std::string name;
  std::optional<std::string> attribute;  // of the namespace `name`
  bool tuple = false;
  std::vector<JinjaTarget> items;  // of a tuple
};

struct JinjaFor : JinjaStatement {
  explicit JinjaFor(int line) : JinjaStatement(JinjaStatementKind::kFor, line) {}
  JinjaTarget target;
  JinjaExprPtr iterable;
  JinjaExprPtr condition;  // nullptr: all elements
  JinjaBody body;
  JinjaBody otherwise;
};

struct JinjaSet : JinjaStatement {
  explicit JinjaSet(int line) : JinjaStatement(JinjaStatementKind::kSet, line) {}
  JinjaTarget target;
  JinjaExprPtr value;
};

// {% set x %}...{% endset %}
struct JinjaSetBlock : JinjaStatement {
  explicit JinjaSetBlock(int line) : JinjaStatement(JinjaStatementKind::kSetBlock, line) {}
  JinjaTarget target;
  JinjaExprPtr filter;  // a JinjaPostfixExpr without a base, or nullptr
  JinjaBody body;
};

// What a macro, or the body of a call block, takes and does.
struct JinjaMacroDefinition {
  std::string name;
  std::vector<std::string> parameters;
  std::vector<JinjaExprPtr> defaults;  // of the last parameters
  bool uses_caller = false;
  bool uses_varargs = false;
  bool uses_kwargs = false;
  JinjaBody body;
};

struct JinjaMacro : JinjaStatement {
  explicit JinjaMacro(int line) : JinjaStatement(JinjaStatementKind::kMacro, line) {}
  JinjaMacroDefinition definition;
};

// {% call(x) f(a) %}...{% endcall %}
struct JinjaCallBlock : JinjaStatement {
  explicit JinjaCallBlock(int line) : JinjaStatement(JinjaStatementKind::kCallBlock, line) {}
  JinjaMacroDefinition caller;
  JinjaExprPtr call;  // a JinjaPostfixExpr that ends in a JinjaCallLink
};

struct JinjaFilterBlock : JinjaStatement {
  explicit JinjaFilterBlock(int line) : JinjaStatement(JinjaStatementKind::kFilterBlock, line) {}
  JinjaExprPtr filter;
  JinjaBody body;
};

struct JinjaWith : JinjaStatement {
  explicit JinjaWith(int line) : JinjaStatement(JinjaStatementKind::kWith, line) {}
  std::vector<std::pair<JinjaTarget, JinjaExprPtr>> values;
  JinjaBody body;
};

// {% generation %}: a body with a scope of its own.
struct JinjaScopeBlock : JinjaStatement {
  explicit JinjaScopeBlock(int line) : JinjaStatement(JinjaStatementKind::kScope, line) {}
  JinjaBody body;
};

// {% break %} or {% continue %}.
struct JinjaJump : JinjaStatement {
  using JinjaStatement::JinjaStatement;
};

}  // namespace kvasir

#endif  // KVASIR_TEXT_JINJA_AST_H_
