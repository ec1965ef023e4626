// What code that runs inside a rendering shares: the budget, the objects that the rendering owns,
// and the arguments of a call. JinjaObjects live until the rendering ends, so that values may point
// to each other in circles (a namespace that holds itself) without counting references. One runtime
// per rendering; not for concurrent use.

#ifndef KVASIR_TEXT_JINJA_RUNTIME_H_
#define KVASIR_TEXT_JINJA_RUNTIME_H_

#include <functional>
#include <initializer_list>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kvasir/base/status.h"
#include "kvasir/text/jinja_budget.h"
#include "kvasir/text/jinja_value.h"

namespace kvasir {

class JinjaRuntime;

enum class JinjaObjectKind { kCallable, kIterator, kNamespace, kLoop };

class JinjaObject {
 public:
  explicit JinjaObject(JinjaObjectKind kind) : kind_(kind) {}
  virtual ~JinjaObject() = default;
  JinjaObject(const JinjaObject&) = delete;
  JinjaObject& operator=(const JinjaObject&) = delete;

  JinjaObjectKind kind() const { return kind_; }
  virtual std::string_view type_name() const = 0;
  // What printing it gives.
  virtual std::string Repr() const { return "<" + std::string(type_name()) + " object>"; }

 private:
  const JinjaObjectKind kind_;
};

class JinjaRuntime {
 public:
  explicit JinjaRuntime(const ChatTemplateLimits& limits) : budget_(limits) {}

  JinjaBudget& budget() { return budget_; }

  // A new object of the rendering. Costs steps, since objects are freed only at the end.
  template <typename T, typename... Args>
  Result<T*> New(Args&&... args) {
    KVASIR_RETURN_IF_ERROR(budget_.SpendSteps(8));
    auto object = std::make_unique<T>(std::forward<Args>(args)...);
    T* const pointer = object.get();
    objects_.push_back(std::move(object));
    return pointer;
  }

  // Values within the budget: each is paid for by its size.
  Result<JinjaValue> NewString(std::string text, bool markup = false);
  Result<JinjaValue> NewList(std::vector<JinjaValue> items,
                             JinjaListKind kind = JinjaListKind::kList);
  Result<JinjaValue> NewDict(std::vector<std::pair<JinjaValue, JinjaValue>> entries);

  // Nodes on the stack: Enter() before going down, Leave() after, by JinjaDepthGuard.
  Status Enter();
  void Leave() { --nodes_on_stack_; }

 private:
  JinjaBudget budget_;
  size_t nodes_on_stack_ = 0;
  std::vector<std::unique_ptr<JinjaObject>> objects_;
};

// Leaves the runtime's stack when it goes out of scope.
class JinjaDepthGuard {
 public:
  explicit JinjaDepthGuard(JinjaRuntime& runtime) : runtime_(runtime), status_(runtime.Enter()) {}
  ~JinjaDepthGuard() { runtime_.Leave(); }
  JinjaDepthGuard(const JinjaDepthGuard&) = delete;
  JinjaDepthGuard& operator=(const JinjaDepthGuard&) = delete;

  const Status& status() const { return status_; }

 private:
  JinjaRuntime& runtime_;
  const Status status_;
};

// The evaluated arguments of a call.
struct JinjaArguments {
  std::vector<JinjaValue> positional;
  std::vector<std::pair<std::string, JinjaValue>> keyword;
};

// Arguments by parameter, as Python binds them: nullopt where none was given.
using JinjaBound = std::vector<std::optional<JinjaValue>>;

// Binds `arguments` to `parameters`, of which the first `required` must be given. A parameter named
// "" takes no keyword. kInvalidArgument names `function` and the argument that does not fit.
Result<JinjaBound> JinjaBind(std::string_view function, const JinjaArguments& arguments,
                             std::initializer_list<std::string_view> parameters, size_t required);

class JinjaCallable : public JinjaObject {
 public:
  JinjaCallable() : JinjaObject(JinjaObjectKind::kCallable) {}
  virtual Result<JinjaValue> Call(JinjaRuntime& runtime, const JinjaArguments& arguments) = 0;
};

// A function of our own, made into a value.
class JinjaFunction : public JinjaCallable {
 public:
  using Body = std::function<Result<JinjaValue>(JinjaRuntime&, const JinjaArguments&)>;
  JinjaFunction(std::string name, Body body) : name_(std::move(name)), body_(std::move(body)) {}

  std::string_view type_name() const override { return "function"; }
  std::string Repr() const override { return "<function " + name_ + ">"; }
  Result<JinjaValue> Call(JinjaRuntime& runtime, const JinjaArguments& arguments) override {
    return body_(runtime, arguments);
  }

 private:
  const std::string name_;
  const Body body_;
};

// Gives its elements once, one after another, computing each when it is asked for.
class JinjaIterator : public JinjaObject {
 public:
  // The next element, or nullopt at the end.
  using NextFunction = std::function<Result<std::optional<JinjaValue>>(JinjaRuntime&)>;

  // `depth`: iterators that draw from each other, this one included, and containers within.
  JinjaIterator(NextFunction next, size_t depth)
      : JinjaObject(JinjaObjectKind::kIterator), next_(std::move(next)), depth_(depth) {}

  std::string_view type_name() const override { return "generator"; }
  Result<std::optional<JinjaValue>> Next(JinjaRuntime& runtime);
  size_t depth() const { return depth_; }

 private:
  const NextFunction next_;
  const size_t depth_;
};

// {% set ns = namespace(found=false) %}: the only thing whose members a template can assign to.
class JinjaNamespace : public JinjaObject {
 public:
  JinjaNamespace() : JinjaObject(JinjaObjectKind::kNamespace) {}

  std::string_view type_name() const override { return "Namespace"; }
  const std::vector<std::pair<std::string, JinjaValue>>& members() const { return members_; }
  // nullptr when there is no such member.
  const JinjaValue* Find(std::string_view name) const;
  // kInvalidArgument for names that begin with an underscore.
  Status Set(const std::string& name, JinjaValue value);

 private:
  std::vector<std::pair<std::string, JinjaValue>> members_;
};

// An iterator over `value`. kInvalidArgument when it cannot be iterated.
Result<JinjaIterator*> JinjaIterate(JinjaRuntime& runtime, const JinjaValue& value);
// A new iterator whose elements `next` computes from `source`.
Result<JinjaValue> JinjaNewIterator(JinjaRuntime& runtime, size_t source_depth,
                                    JinjaIterator::NextFunction next);
// All elements of `value`.
Result<std::vector<JinjaValue>> JinjaElements(JinjaRuntime& runtime, const JinjaValue& value);

// Calls `callee`; kInvalidArgument when it is no function.
Result<JinjaValue> JinjaCall(JinjaRuntime& runtime, const JinjaValue& callee,
                             const JinjaArguments& arguments);

// The error for using an undefined value.
Status JinjaUndefinedError(const JinjaValue& value);

}  // namespace kvasir

#endif  // KVASIR_TEXT_JINJA_RUNTIME_H_
