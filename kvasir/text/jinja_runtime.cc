#include "kvasir/text/jinja_runtime.h"

#include <algorithm>

#include "kvasir/text/jinja_unicode.h"

namespace kvasir {

namespace {

// Elements are paid for by the room that they take.
constexpr size_t kItemBytes = sizeof(JinjaValue);

std::optional<JinjaValue> ElementAt(const JinjaValue& value, size_t index) {
  switch (value.kind()) {
    case JinjaKind::kList:
      if (index < value.list().items.size()) return value.list().items[index];
      break;
    case JinjaKind::kDict:
      if (index < value.dict().entries.size()) return value.dict().entries[index].first;
      break;
    case JinjaKind::kRange:
      if (index < value.range().length()) return JinjaValue(value.range().at(index));
      break;
    default:
      break;
  }
  return std::nullopt;
}

}  // namespace

Result<JinjaValue> JinjaRuntime::NewString(std::string text, bool markup) {
  KVASIR_RETURN_IF_ERROR(budget_.SpendBytes(text.size()));
  return JinjaValue(std::move(text), markup);
}

Result<JinjaValue> JinjaRuntime::NewList(std::vector<JinjaValue> items, JinjaListKind kind) {
  KVASIR_RETURN_IF_ERROR(budget_.SpendBytes(items.size() * kItemBytes));
  return JinjaValue::List(std::move(items), budget_.depth_max(), kind);
}

Result<JinjaValue> JinjaRuntime::NewDict(std::vector<std::pair<JinjaValue, JinjaValue>> entries) {
  KVASIR_RETURN_IF_ERROR(budget_.SpendBytes(entries.size() * 2 * kItemBytes));
  return JinjaValue::Dict(std::move(entries), budget_.depth_max());
}

Status JinjaRuntime::Enter() {
  if (++nodes_on_stack_ > budget_.nodes_on_stack_max()) {
    return ResourceExhausted("the chat template calls itself too deeply: more than " +
                             std::to_string(budget_.nodes_on_stack_max()) + " nested nodes");
  }
  return OkStatus();
}

Result<JinjaBound> JinjaBind(std::string_view function, const JinjaArguments& arguments,
                             std::initializer_list<std::string_view> parameters, size_t required) {
  const std::string name(function);
  if (arguments.positional.size() > parameters.size()) {
    return InvalidArgument(name + "() takes at most " + std::to_string(parameters.size()) +
                           " arguments, " + std::to_string(arguments.positional.size()) +
                           " are given");
  }
  JinjaBound bound(parameters.size());
  std::copy(arguments.positional.begin(), arguments.positional.end(), bound.begin());
  for (const auto& [keyword, value] : arguments.keyword) {
    const auto* const it = std::find(parameters.begin(), parameters.end(), keyword);
    if (it == parameters.end() || it->empty()) {
      return InvalidArgument(name + "() takes no argument named '" + keyword + "'");
    }
    std::optional<JinjaValue>& slot = bound[it - parameters.begin()];
    if (slot.has_value()) {
      return InvalidArgument(name + "() got two values for its argument '" + keyword + "'");
    }
    slot = value;
  }
  for (size_t i = 0; i < required; ++i) {
    if (!bound[i].has_value()) {
      return InvalidArgument(name + "() misses its argument " + std::to_string(i + 1) + " '" +
                             std::string(parameters.begin()[i]) + "'");
    }
  }
  return bound;
}

Result<std::optional<JinjaValue>> JinjaIterator::Next(JinjaRuntime& runtime) {
  const JinjaDepthGuard guard(runtime);
  KVASIR_RETURN_IF_ERROR(guard.status());
  KVASIR_RETURN_IF_ERROR(runtime.budget().SpendSteps(1));
  return next_(runtime);
}

const JinjaValue* JinjaNamespace::Find(std::string_view name) const {
  for (const auto& [member, value] : members_) {
    if (member == name) return &value;
  }
  return nullptr;
}

Status JinjaNamespace::Set(const std::string& name, JinjaValue value) {
  if (name.starts_with('_')) {
    return InvalidArgument("a namespace cannot hold the name '" + name +
                           "': names must not begin with an underscore");
  }
  for (auto& [member, old_value] : members_) {
    if (member == name) {
      old_value = std::move(value);
      return OkStatus();
    }
  }
  members_.emplace_back(name, std::move(value));
  return OkStatus();
}

Result<JinjaIterator*> JinjaIterate(JinjaRuntime& runtime, const JinjaValue& value) {
  switch (value.kind()) {
    case JinjaKind::kUndefined:
    case JinjaKind::kList:
    case JinjaKind::kDict:
    case JinjaKind::kRange:
      return runtime.New<JinjaIterator>(
          [value, index = size_t{0}](JinjaRuntime&) mutable -> Result<std::optional<JinjaValue>> {
            return ElementAt(value, index++);
          },
          value.depth());
    case JinjaKind::kString:
      return runtime.New<JinjaIterator>(
          [value, offset = size_t{0}](JinjaRuntime&) mutable -> Result<std::optional<JinjaValue>> {
            if (offset == value.text().size()) return std::optional<JinjaValue>();
            const size_t bytes = JinjaCharBytes(value.text(), offset);
            offset += bytes;
            return std::optional(
                JinjaValue(value.text().substr(offset - bytes, bytes), value.is_markup()));
          },
          0);
    case JinjaKind::kObject:
      if (value.object()->kind() == JinjaObjectKind::kIterator) {
        return static_cast<JinjaIterator*>(value.object());
      }
      break;
    default:
      break;
  }
  return InvalidArgument("'" + std::string(JinjaTypeName(value)) + "' object is not iterable");
}

Result<JinjaValue> JinjaNewIterator(JinjaRuntime& runtime, size_t source_depth,
                                    JinjaIterator::NextFunction next) {
  if (source_depth + 1 > runtime.budget().depth_max()) {
    return ResourceExhausted("iterators of the chat template draw from each other over more than " +
                             std::to_string(runtime.budget().depth_max()) + " levels");
  }
  KVASIR_ASSIGN_OR_RETURN(JinjaIterator* const iterator,
                          runtime.New<JinjaIterator>(std::move(next), source_depth + 1));
  return JinjaValue(static_cast<JinjaObject*>(iterator));
}

Result<std::vector<JinjaValue>> JinjaElements(JinjaRuntime& runtime, const JinjaValue& value) {
  if (value.kind() == JinjaKind::kList) {
    KVASIR_RETURN_IF_ERROR(runtime.budget().SpendBytes(value.list().items.size() * kItemBytes));
    return value.list().items;
  }
  KVASIR_ASSIGN_OR_RETURN(JinjaIterator* const iterator, JinjaIterate(runtime, value));
  std::vector<JinjaValue> elements;
  while (true) {
    KVASIR_ASSIGN_OR_RETURN(std::optional<JinjaValue> element, iterator->Next(runtime));
    if (!element.has_value()) return elements;
    elements.push_back(std::move(*element));
  }
}

Result<JinjaValue> JinjaCall(JinjaRuntime& runtime, const JinjaValue& callee,
                             const JinjaArguments& arguments) {
  if (callee.is_undefined()) return JinjaUndefinedError(callee);
  if (callee.is_object() && callee.object()->kind() == JinjaObjectKind::kCallable) {
    return static_cast<JinjaCallable*>(callee.object())->Call(runtime, arguments);
  }
  return InvalidArgument("'" + std::string(JinjaTypeName(callee)) + "' object is not callable");
}

Status JinjaUndefinedError(const JinjaValue& value) {
  return InvalidArgument(value.undefined_message());
}

}  // namespace kvasir
