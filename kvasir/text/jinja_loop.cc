#include "kvasir/text/jinja_loop.h"

#include <utility>

#include "kvasir/text/jinja_operators.h"

namespace kvasir {

Result<bool> JinjaLoop::PeekNext(JinjaRuntime& runtime) {
  if (!next_.has_value()) {
    KVASIR_ASSIGN_OR_RETURN(next_, iterator_->Next(runtime));
  }
  return next_.has_value();
}

Result<bool> JinjaLoop::Advance(JinjaRuntime& runtime) {
  KVASIR_ASSIGN_OR_RETURN(const bool more, PeekNext(runtime));
  if (!more) return false;
  previous_ = std::exchange(current_, std::exchange(next_, std::nullopt));
  ++index_;
  return true;
}

Result<size_t> JinjaLoop::Length(JinjaRuntime& runtime) {
  if (length_.has_value()) return *length_;
  // Draw all that is left, then go on from the list.
  std::vector<JinjaValue> rest;
  while (true) {
    KVASIR_ASSIGN_OR_RETURN(std::optional<JinjaValue> element, iterator_->Next(runtime));
    if (!element.has_value()) break;
    rest.push_back(std::move(*element));
  }
  length_ = rest.size() + index_ + (next_.has_value() ? 1 : 0);
  KVASIR_ASSIGN_OR_RETURN(const JinjaValue list, runtime.NewList(std::move(rest)));
  KVASIR_ASSIGN_OR_RETURN(iterator_, JinjaIterate(runtime, list));
  return *length_;
}

Result<std::optional<JinjaValue>> JinjaLoop::Neighbour(JinjaRuntime& runtime, bool next) {
  if (next) {
    KVASIR_ASSIGN_OR_RETURN(const bool more, PeekNext(runtime));
    return std::optional(more ? *next_ : JinjaValue::Undefined("there is no next item"));
  }
  return std::optional(previous_.has_value() ? *previous_
                                             : JinjaValue::Undefined("there is no previous item"));
}

Result<JinjaValue> JinjaLoop::Cycle(const JinjaArguments& arguments) const {
  if (arguments.positional.empty() || !arguments.keyword.empty()) {
    return InvalidArgument("loop.cycle() takes the items to cycle through");
  }
  return arguments.positional[(index_ - 1) % arguments.positional.size()];
}

Result<JinjaValue> JinjaLoop::Changed(JinjaRuntime& runtime, const JinjaArguments& arguments) {
  KVASIR_ASSIGN_OR_RETURN(JinjaValue values,
                          runtime.NewList(arguments.positional, JinjaListKind::kTuple));
  bool changed = true;
  if (changed_argument_.has_value()) {
    KVASIR_ASSIGN_OR_RETURN(const bool equal, JinjaEqual(runtime, *changed_argument_, values));
    changed = !equal;
  }
  changed_argument_ = std::move(values);
  return JinjaValue(changed);
}

Result<std::optional<JinjaValue>> JinjaLoop::Member(JinjaRuntime& runtime, std::string_view name) {
  const auto number = [](size_t value) { return std::optional(JinjaValue::FromSize(value)); };
  if (name == "index") return number(index_);
  if (name == "index0") return number(index_ - 1);
  if (name == "first") return std::optional(JinjaValue(index_ == 1));
  if (name == "last") {
    KVASIR_ASSIGN_OR_RETURN(const bool more, PeekNext(runtime));
    return std::optional(JinjaValue(!more));
  }
  if (name == "length" || name == "revindex" || name == "revindex0") {
    KVASIR_ASSIGN_OR_RETURN(const size_t length, Length(runtime));
    if (name == "length") return number(length);
    const int64_t left = static_cast<int64_t>(length) - static_cast<int64_t>(index_);
    return std::optional(JinjaValue(name == "revindex" ? left + 1 : left));
  }
  if (name == "depth" || name == "depth0") return number(name == "depth" ? 1 : 0);
  if (name == "previtem") return Neighbour(runtime, /*next=*/false);
  if (name == "nextitem") return Neighbour(runtime, /*next=*/true);
  if (name == "cycle" || name == "changed") {
    KVASIR_ASSIGN_OR_RETURN(
        JinjaFunction* const function,
        runtime.New<JinjaFunction>(
            std::string(name),
            [this, cycle = name == "cycle"](JinjaRuntime& r, const JinjaArguments& arguments) {
              return cycle ? Cycle(arguments) : Changed(r, arguments);
            }));
    return std::optional(JinjaValue(static_cast<JinjaObject*>(function)));
  }
  return std::optional<JinjaValue>();
}

}  // namespace kvasir
