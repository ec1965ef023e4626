// JinjaInterpreter: walks the tree of a template once and writes the prompt. It can reach nothing
// but the values that it is given, and spends no more than its budget. One per rendering; not for
// concurrent use (the tree may be shared).

#ifndef KVASIR_TEXT_JINJA_INTERPRETER_H_
#define KVASIR_TEXT_JINJA_INTERPRETER_H_

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "kvasir/base/status.h"
#include "kvasir/text/jinja_ast.h"
#include "kvasir/text/jinja_runtime.h"
#include "kvasir/text/jinja_scope.h"
#include "kvasir/text/jinja_value.h"

namespace kvasir {

class JinjaInterpreter {
 public:
  explicit JinjaInterpreter(const ChatTemplateLimits& limits) : runtime_(limits) {}

  JinjaRuntime& runtime() { return runtime_; }

  // Makes `value` known as `name`, in place of what was known by that name before.
  void Define(std::string name, JinjaValue value);

  // The text that `body` renders to. Errors name the line, except for what raise_exception() says.
  // REQUIRES that `body` outlives this object.
  Result<std::string> Run(const JinjaBody& body);

  // What raise_exception(message) does: the message is the template's own, not about a line.
  Status Raise(std::string message);

  // Calls a macro that was defined in `scope`; its text.
  Result<JinjaValue> CallMacro(const JinjaMacroDefinition& macro, JinjaScope* scope,
                               const JinjaArguments& arguments);

 private:
  enum class Flow { kNext, kBreak, kContinue };

  // Statements, in jinja_interpreter.cc.
  Result<Flow> ExecuteBody(const JinjaBody& body);
  Result<Flow> Execute(const JinjaStatement& statement);
  Status ExecutePrint(const JinjaPrint& statement);
  Result<Flow> ExecuteIf(const JinjaIf& statement);
  Result<Flow> ExecuteFor(const JinjaFor& statement);
  Result<Flow> ExecuteSetBlock(const JinjaSetBlock& statement);
  Result<Flow> ExecuteFilterBlock(const JinjaFilterBlock& statement);
  Result<Flow> ExecuteWith(const JinjaWith& statement);
  Status ExecuteCallBlock(const JinjaCallBlock& statement);
  // `body` in a scope of its own; its text goes to `text` when that is not nullptr.
  Result<Flow> ExecuteInScope(const JinjaBody& body, std::string* text);
  Result<JinjaIterator*> FilterElements(const JinjaFor& statement, JinjaIterator* source);
  Result<JinjaValue> MakeMacro(const JinjaMacroDefinition& definition);
  Status BindParameters(const JinjaMacroDefinition& macro,
                        const std::vector<std::optional<JinjaValue>>& values);
  Status Assign(const JinjaTarget& target, const JinjaValue& value);
  Status Write(std::string_view text);

  // Scopes: a new one inside the current one, and back out of it.
  JinjaScope* PushScope(JinjaScope* parent);
  void PopScope(JinjaScope* outer);

  // Expressions, in jinja_evaluate.cc.
  Result<JinjaValue> Evaluate(const JinjaExpr& expr);
  Result<JinjaValue> LookUp(const std::string& name);
  Result<JinjaValue> EvaluateList(const JinjaListExpr& expr);
  Result<JinjaValue> EvaluateDict(const JinjaDictExpr& expr);
  Result<JinjaValue> EvaluateLogic(const JinjaLogicExpr& expr);
  Result<JinjaValue> EvaluateArithmetic(const JinjaChainExpr& expr);
  Result<JinjaValue> EvaluateCompare(const JinjaChainExpr& expr);
  Result<JinjaValue> EvaluateConcat(const JinjaConcatExpr& expr);
  Result<JinjaValue> EvaluateConditional(const JinjaConditionalExpr& expr);
  Result<JinjaValue> EvaluateSlice(const JinjaValue& object, const JinjaSliceLink& link);
  Result<JinjaValue> EvaluateFilter(const JinjaValue& input, const JinjaFilterLink& link);
  Result<JinjaValue> EvaluateTest(const JinjaValue& input, const JinjaTestLink& link);
  // object.name(...) without making a value of the method; nullopt when it has no such method.
  Result<std::optional<JinjaValue>> EvaluateMethod(const JinjaValue& object,
                                                   const JinjaAttributeLink& name,
                                                   const JinjaCallLink& call);
  Result<JinjaValue> EvaluateLink(const JinjaValue& value, const JinjaLink& link,
                                  const JinjaValue* caller);
  // `caller`: what the last call gets as its argument of that name, or nullptr.
  Result<JinjaValue> EvaluateLinks(JinjaValue value, const JinjaPostfixExpr& expr,
                                   const JinjaValue* caller);
  Result<JinjaArguments> EvaluateArguments(const JinjaArgumentExprs& exprs);

  // The budget and the objects must outlive what points to them.
  JinjaRuntime runtime_;
  std::unordered_map<std::string, JinjaValue> context_;
  std::vector<std::unique_ptr<JinjaScope>> scopes_;  // the stack below scope_
  std::vector<std::unique_ptr<JinjaScope>> captured_scopes_;
  JinjaScope* scope_ = nullptr;
  std::string* output_ = nullptr;
  int line_ = 1;
  bool raised_ = false;
};

// The functions that every template finds: range, dict, namespace, raise_exception and
// strftime_now, which tells the local time, or `now` ("2024-07-26T12:00:00") unless that is empty.
// REQUIRES that `interpreter` outlives the values that it makes.
Status JinjaDefineGlobals(JinjaInterpreter& interpreter, const std::string& now);

}  // namespace kvasir

#endif  // KVASIR_TEXT_JINJA_INTERPRETER_H_
