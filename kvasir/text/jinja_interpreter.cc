#include "kvasir/text/jinja_interpreter.h"

#include <algorithm>
#include <utility>

#include "kvasir/text/jinja_loop.h"
#include "kvasir/text/jinja_operators.h"
#include "kvasir/text/jinja_print.h"

namespace kvasir {

namespace {

class MacroObject : public JinjaCallable {
 public:
  MacroObject(JinjaInterpreter& interpreter, const JinjaMacroDefinition& definition,
              JinjaScope* scope)
      : interpreter_(interpreter), definition_(definition), scope_(scope) {}

  std::string_view type_name() const override { return "Macro"; }
  std::string Repr() const override {
    return definition_.name.empty() ? "<Macro anonymous>" : "<Macro '" + definition_.name + "'>";
  }
  Result<JinjaValue> Call(JinjaRuntime&, const JinjaArguments& arguments) override {
    return interpreter_.CallMacro(definition_, scope_, arguments);
  }

 private:
  JinjaInterpreter& interpreter_;
  const JinjaMacroDefinition& definition_;
  JinjaScope* const scope_;
};

std::optional<JinjaValue> TakeKeyword(JinjaArguments& arguments, std::string_view name) {
  const auto it = std::find_if(arguments.keyword.begin(), arguments.keyword.end(),
                               [&](const auto& argument) { return argument.first == name; });
  if (it == arguments.keyword.end()) return std::nullopt;
  JinjaValue value = std::move(it->second);
  arguments.keyword.erase(it);
  return value;
}

}  // namespace

void JinjaInterpreter::Define(std::string name, JinjaValue value) {
  context_.insert_or_assign(std::move(name), std::move(value));
}

Status JinjaInterpreter::Raise(std::string message) {
  raised_ = true;
  return InvalidArgument(std::move(message));
}

Result<std::string> JinjaInterpreter::Run(const JinjaBody& body) {
  std::string text;
  output_ = &text;
  PushScope(nullptr);
  const Status status = ExecuteBody(body).status();
  output_ = nullptr;
  if (status.ok()) return text;
  return raised_ ? status : status.WithContext("line " + std::to_string(line_));
}

JinjaScope* JinjaInterpreter::PushScope(JinjaScope* parent) {
  scopes_.push_back(std::make_unique<JinjaScope>(parent));
  return std::exchange(scope_, scopes_.back().get());
}

void JinjaInterpreter::PopScope(JinjaScope* outer) {
  if (scope_->captured()) captured_scopes_.push_back(std::move(scopes_.back()));
  scopes_.pop_back();
  scope_ = outer;
}

Status JinjaInterpreter::Write(std::string_view text) {
  KVASIR_RETURN_IF_ERROR(runtime_.budget().CheckBytes(output_->size() + text.size()));
  KVASIR_RETURN_IF_ERROR(runtime_.budget().SpendBytes(text.size()));
  output_->append(text);
  return OkStatus();
}

Result<JinjaInterpreter::Flow> JinjaInterpreter::ExecuteBody(const JinjaBody& body) {
  for (const auto& statement : body) {
    KVASIR_ASSIGN_OR_RETURN(const Flow flow, Execute(*statement));
    if (flow != Flow::kNext) return flow;
  }
  return Flow::kNext;
}

Result<JinjaInterpreter::Flow> JinjaInterpreter::Execute(const JinjaStatement& statement) {
  const JinjaDepthGuard guard(runtime_);
  line_ = statement.line;
  KVASIR_RETURN_IF_ERROR(guard.status());
  KVASIR_RETURN_IF_ERROR(runtime_.budget().SpendSteps(1));
  switch (statement.kind) {
    case JinjaStatementKind::kText:
      KVASIR_RETURN_IF_ERROR(Write(static_cast<const JinjaText&>(statement).text));
      return Flow::kNext;
    case JinjaStatementKind::kPrint:
      KVASIR_RETURN_IF_ERROR(ExecutePrint(static_cast<const JinjaPrint&>(statement)));
      return Flow::kNext;
    case JinjaStatementKind::kIf:
      return ExecuteIf(static_cast<const JinjaIf&>(statement));
    case JinjaStatementKind::kFor:
      return ExecuteFor(static_cast<const JinjaFor&>(statement));
    case JinjaStatementKind::kSet: {
      const auto& set = static_cast<const JinjaSet&>(statement);
      KVASIR_ASSIGN_OR_RETURN(const JinjaValue value, Evaluate(*set.value));
      KVASIR_RETURN_IF_ERROR(Assign(set.target, value));
      return Flow::kNext;
    }
    case JinjaStatementKind::kSetBlock:
      return ExecuteSetBlock(static_cast<const JinjaSetBlock&>(statement));
    case JinjaStatementKind::kMacro: {
      const auto& macro = static_cast<const JinjaMacro&>(statement);
      KVASIR_ASSIGN_OR_RETURN(JinjaValue value, MakeMacro(macro.definition));
      scope_->Set(macro.definition.name, std::move(value));
      return Flow::kNext;
    }
    case JinjaStatementKind::kCallBlock:
      KVASIR_RETURN_IF_ERROR(ExecuteCallBlock(static_cast<const JinjaCallBlock&>(statement)));
      return Flow::kNext;
    case JinjaStatementKind::kFilterBlock:
      return ExecuteFilterBlock(static_cast<const JinjaFilterBlock&>(statement));
    case JinjaStatementKind::kWith:
      return ExecuteWith(static_cast<const JinjaWith&>(statement));
    case JinjaStatementKind::kScope:
      return ExecuteInScope(static_cast<const JinjaScopeBlock&>(statement).body, nullptr);
    case JinjaStatementKind::kBreak:
      return Flow::kBreak;
    case JinjaStatementKind::kContinue:
      return Flow::kContinue;
  }
  return Flow::kNext;
}

Status JinjaInterpreter::ExecutePrint(const JinjaPrint& statement) {
  for (const JinjaExprPtr& expr : statement.values) {
    KVASIR_ASSIGN_OR_RETURN(const JinjaValue value, Evaluate(*expr));
    if (value.is_string()) {
      KVASIR_RETURN_IF_ERROR(Write(value.text()));
      continue;
    }
    KVASIR_ASSIGN_OR_RETURN(const std::string text, JinjaStr(runtime_, value));
    KVASIR_RETURN_IF_ERROR(Write(text));
  }
  return OkStatus();
}

Result<JinjaInterpreter::Flow> JinjaInterpreter::ExecuteIf(const JinjaIf& statement) {
  for (const auto& [condition, body] : statement.branches) {
    KVASIR_ASSIGN_OR_RETURN(const JinjaValue value, Evaluate(*condition));
    if (JinjaTruth(value)) return ExecuteBody(body);
  }
  return ExecuteBody(statement.otherwise);
}

Result<JinjaInterpreter::Flow> JinjaInterpreter::ExecuteInScope(const JinjaBody& body,
                                                                std::string* text) {
  JinjaScope* const outer_scope = PushScope(scope_);
  std::string* const outer_output = output_;
  if (text != nullptr) output_ = text;
  Result<Flow> flow = ExecuteBody(body);
  output_ = outer_output;
  PopScope(outer_scope);
  return flow;
}

// Only the elements for which the condition of the loop holds, asked as late as possible.
Result<JinjaIterator*> JinjaInterpreter::FilterElements(const JinjaFor& statement,
                                                        JinjaIterator* source) {
  JinjaScope* const scope = scope_;
  const auto next = [this, &statement, source,
                     scope](JinjaRuntime& runtime) -> Result<std::optional<JinjaValue>> {
    while (true) {
      KVASIR_ASSIGN_OR_RETURN(std::optional<JinjaValue> element, source->Next(runtime));
      if (!element.has_value()) return element;
      JinjaScope* const outer = PushScope(scope);
      Result<JinjaValue> value = JinjaValue();
      const Status status = Assign(statement.target, *element);
      if (status.ok()) value = Evaluate(*statement.condition);
      PopScope(outer);
      KVASIR_RETURN_IF_ERROR(status);
      KVASIR_RETURN_IF_ERROR(value.status());
      if (JinjaTruth(*value)) return element;
    }
  };
  return runtime_.New<JinjaIterator>(next, source->depth());
}

Result<JinjaInterpreter::Flow> JinjaInterpreter::ExecuteFor(const JinjaFor& statement) {
  KVASIR_ASSIGN_OR_RETURN(const JinjaValue iterable, Evaluate(*statement.iterable));
  KVASIR_ASSIGN_OR_RETURN(JinjaIterator * iterator, JinjaIterate(runtime_, iterable));
  std::optional<size_t> length;
  if (statement.condition != nullptr) {
    KVASIR_ASSIGN_OR_RETURN(iterator, FilterElements(statement, iterator));
  } else if (const Result<size_t> known = JinjaLength(iterable); known.ok()) {
    length = *known;
  }
  KVASIR_ASSIGN_OR_RETURN(JinjaLoop* const loop, runtime_.New<JinjaLoop>(iterator, length));

  JinjaScope* const outer = scope_;
  bool completed = false;  // as in jinja2, else is left out only after a round that went to its end
  while (true) {
    KVASIR_ASSIGN_OR_RETURN(const bool more, loop->Advance(runtime_));
    if (!more) break;
    PushScope(outer);
    Result<Flow> flow = Flow::kNext;
    const Status status = Assign(statement.target, loop->current());
    if (status.ok()) {
      scope_->Set("loop", JinjaValue(static_cast<JinjaObject*>(loop)));
      flow = ExecuteBody(statement.body);
    }
    PopScope(outer);
    KVASIR_RETURN_IF_ERROR(status);
    KVASIR_RETURN_IF_ERROR(flow.status());
    if (*flow == Flow::kBreak) break;
    completed = completed || *flow == Flow::kNext;
  }
  return completed ? Result<Flow>(Flow::kNext) : ExecuteInScope(statement.otherwise, nullptr);
}

Result<JinjaInterpreter::Flow> JinjaInterpreter::ExecuteSetBlock(const JinjaSetBlock& statement) {
  std::string text;
  KVASIR_ASSIGN_OR_RETURN(const Flow flow, ExecuteInScope(statement.body, &text));
  if (flow != Flow::kNext) return flow;
  JinjaValue value(std::move(text));
  if (statement.filter != nullptr) {
    const auto& filters = static_cast<const JinjaPostfixExpr&>(*statement.filter);
    KVASIR_ASSIGN_OR_RETURN(value, EvaluateLinks(value, filters, nullptr));
  }
  KVASIR_RETURN_IF_ERROR(Assign(statement.target, value));
  return Flow::kNext;
}

Result<JinjaInterpreter::Flow> JinjaInterpreter::ExecuteFilterBlock(
    const JinjaFilterBlock& statement) {
  std::string text;
  KVASIR_ASSIGN_OR_RETURN(const Flow flow, ExecuteInScope(statement.body, &text));
  if (flow != Flow::kNext) return flow;
  const auto& filters = static_cast<const JinjaPostfixExpr&>(*statement.filter);
  KVASIR_ASSIGN_OR_RETURN(const JinjaValue value,
                          EvaluateLinks(JinjaValue(std::move(text)), filters, nullptr));
  KVASIR_ASSIGN_OR_RETURN(const std::string filtered, JinjaStr(runtime_, value));
  KVASIR_RETURN_IF_ERROR(Write(filtered));
  return Flow::kNext;
}

Result<JinjaInterpreter::Flow> JinjaInterpreter::ExecuteWith(const JinjaWith& statement) {
  std::vector<JinjaValue> values;
  for (const auto& [target, expr] : statement.values) {
    KVASIR_ASSIGN_OR_RETURN(JinjaValue value, Evaluate(*expr));
    values.push_back(std::move(value));
  }
  JinjaScope* const outer = PushScope(scope_);
  Status status;
  for (size_t i = 0; i < values.size() && status.ok(); ++i) {
    status = Assign(statement.values[i].first, values[i]);
  }
  Result<Flow> flow = status.ok() ? ExecuteBody(statement.body) : Result<Flow>(status);
  PopScope(outer);
  return flow;
}

Status JinjaInterpreter::ExecuteCallBlock(const JinjaCallBlock& statement) {
  KVASIR_ASSIGN_OR_RETURN(const JinjaValue caller, MakeMacro(statement.caller));
  const auto& call = static_cast<const JinjaPostfixExpr&>(*statement.call);
  KVASIR_ASSIGN_OR_RETURN(const JinjaValue base, Evaluate(*call.base));
  KVASIR_ASSIGN_OR_RETURN(const JinjaValue value, EvaluateLinks(base, call, &caller));
  KVASIR_ASSIGN_OR_RETURN(const std::string text, JinjaStr(runtime_, value));
  return Write(text);
}

Result<JinjaValue> JinjaInterpreter::MakeMacro(const JinjaMacroDefinition& definition) {
  KVASIR_ASSIGN_OR_RETURN(MacroObject* const macro,
                          runtime_.New<MacroObject>(*this, definition, scope_));
  scope_->Capture();
  return JinjaValue(static_cast<JinjaObject*>(macro));
}

Result<JinjaValue> JinjaInterpreter::CallMacro(const JinjaMacroDefinition& macro, JinjaScope* scope,
                                               const JinjaArguments& given) {
  const JinjaDepthGuard guard(runtime_);
  KVASIR_RETURN_IF_ERROR(guard.status());
  KVASIR_RETURN_IF_ERROR(runtime_.budget().SpendSteps(1 + macro.parameters.size()));
  const std::string description = "macro '" + macro.name + "'";
  JinjaArguments arguments = given;
  const size_t positional_count = std::min(macro.parameters.size(), arguments.positional.size());
  std::vector<std::optional<JinjaValue>> values(macro.parameters.size());
  for (size_t i = 0; i < values.size(); ++i) {
    values[i] = i < positional_count ? std::optional(arguments.positional[i])
                                     : TakeKeyword(arguments, macro.parameters[i]);
  }
  JinjaValue caller = JinjaValue::Undefined("No caller defined");
  if (macro.uses_caller) caller = TakeKeyword(arguments, "caller").value_or(caller);
  if (!macro.uses_kwargs && !arguments.keyword.empty()) {
    return InvalidArgument(description + " takes no keyword argument '" +
                           arguments.keyword[0].first + "'");
  }
  arguments.positional.erase(arguments.positional.begin(),
                             arguments.positional.begin() + positional_count);
  if (!macro.uses_varargs && !arguments.positional.empty()) {
    return InvalidArgument(description + " takes not more than " +
                           std::to_string(macro.parameters.size()) + " argument(s)");
  }
  std::vector<std::pair<JinjaValue, JinjaValue>> keyword_entries;
  for (auto& [name, value] : arguments.keyword) {
    keyword_entries.emplace_back(JinjaValue(name), std::move(value));
  }
  KVASIR_ASSIGN_OR_RETURN(JinjaValue kwargs, runtime_.NewDict(std::move(keyword_entries)));
  KVASIR_ASSIGN_OR_RETURN(JinjaValue varargs,
                          runtime_.NewList(std::move(arguments.positional), JinjaListKind::kTuple));

  JinjaScope* const outer_scope = scope_;
  PushScope(scope);
  if (macro.uses_caller) scope_->Set("caller", std::move(caller));
  if (macro.uses_kwargs) scope_->Set("kwargs", std::move(kwargs));
  if (macro.uses_varargs) scope_->Set("varargs", std::move(varargs));
  std::string text;
  std::string* const outer_output = std::exchange(output_, &text);
  Status status = BindParameters(macro, values);
  if (status.ok()) status = ExecuteBody(macro.body).status();
  output_ = outer_output;
  PopScope(outer_scope);
  KVASIR_RETURN_IF_ERROR(status);
  return JinjaValue(std::move(text));
}

// Sets the parameters of a macro in the current scope. Defaults may use the parameters before them;
// those behind are undefined to them.
Status JinjaInterpreter::BindParameters(const JinjaMacroDefinition& macro,
                                        const std::vector<std::optional<JinjaValue>>& values) {
  for (size_t i = 0; i < values.size(); ++i) {
    const std::string& name = macro.parameters[i];
    scope_->Set(name, values[i].has_value()
                          ? *values[i]
                          : JinjaValue::Undefined("parameter '" + name + "' was not provided"));
  }
  const size_t first_default = macro.parameters.size() - macro.defaults.size();
  for (size_t i = first_default; i < values.size(); ++i) {
    if (values[i].has_value()) continue;
    KVASIR_ASSIGN_OR_RETURN(JinjaValue value, Evaluate(*macro.defaults[i - first_default]));
    scope_->Set(macro.parameters[i], std::move(value));
  }
  return OkStatus();
}

Status JinjaInterpreter::Assign(const JinjaTarget& target, const JinjaValue& value) {
  if (target.tuple) {
    KVASIR_ASSIGN_OR_RETURN(const std::vector<JinjaValue> elements, JinjaElements(runtime_, value));
    if (elements.size() != target.items.size()) {
      return InvalidArgument("cannot unpack " + std::to_string(elements.size()) + " values into " +
                             std::to_string(target.items.size()) + " names");
    }
    for (size_t i = 0; i < elements.size(); ++i) {
      KVASIR_RETURN_IF_ERROR(Assign(target.items[i], elements[i]));
    }
    return OkStatus();
  }
  KVASIR_RETURN_IF_ERROR(runtime_.budget().SpendSteps(1 + scope_->size() / 16));
  if (!target.attribute.has_value()) {
    scope_->Set(target.name, value);
    return OkStatus();
  }
  KVASIR_ASSIGN_OR_RETURN(const JinjaValue object, LookUp(target.name));
  if (!object.is_object() || object.object()->kind() != JinjaObjectKind::kNamespace) {
    return InvalidArgument("cannot assign attribute on non-namespace object '" + target.name + "'");
  }
  return static_cast<JinjaNamespace*>(object.object())->Set(*target.attribute, value);
}

}  // namespace kvasir
