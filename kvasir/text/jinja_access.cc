// Subscripts, attributes, slices and lengths of template values.

#include <algorithm>
#include <limits>

#include "kvasir/text/jinja_loop.h"
#include "kvasir/text/jinja_methods.h"
#include "kvasir/text/jinja_operators.h"
#include "kvasir/text/jinja_print.h"
#include "kvasir/text/jinja_unicode.h"

namespace kvasir {

namespace {

std::string DescribeObject(const JinjaValue& value) {
  if (value.is_none()) return "None";
  return std::string(JinjaTypeName(value)) + " object";
}

JinjaValue NoAttribute(const JinjaValue& object, std::string_view name) {
  return JinjaValue::Undefined("'" + DescribeObject(object) + "' has no attribute '" +
                               std::string(name) + "'");
}

JinjaValue NoElement(const JinjaValue& object, const JinjaValue& index) {
  const std::string element = index.is_int()
                                  ? " " + std::to_string(index.integral())
                                  : " of type '" + std::string(JinjaTypeName(index)) + "'";
  return JinjaValue::Undefined(DescribeObject(object) + " has no element" + element);
}

// The index that Python's negative numbers mean, nullopt when outside.
std::optional<size_t> ResolveIndex(int64_t index, size_t length) {
  const int64_t size = static_cast<int64_t>(length);
  if (index < -size || index >= size) return std::nullopt;
  return static_cast<size_t>(index < 0 ? index + size : index);
}

Result<std::optional<JinjaValue>> Element(JinjaRuntime& runtime, const JinjaValue& object,
                                          const JinjaValue& index) {
  std::optional<JinjaValue> none;
  if (object.is_dict()) {
    if (!index.hashable()) return none;
    KVASIR_ASSIGN_OR_RETURN(const JinjaValue* const found,
                            JinjaFind(runtime, object.dict(), index));
    return found == nullptr ? none : std::optional(*found);
  }
  if (!index.is_integral()) return none;
  if (object.is_string()) {
    const JinjaString& string = object.string();
    const std::optional<size_t> i = ResolveIndex(index.integral(), string.char_count);
    if (!i.has_value()) return none;
    if (string.ascii())
      return std::optional(JinjaValue(std::string(1, string.text[*i]), string.markup));
    KVASIR_RETURN_IF_ERROR(runtime.budget().SpendBytes(string.text.size()));
    const size_t offset = JinjaCharOffset(string.text, *i);
    return std::optional(
        JinjaValue(string.text.substr(offset, JinjaCharBytes(string.text, offset)), string.markup));
  }
  if (object.is_list_or_tuple()) {
    const std::optional<size_t> i = ResolveIndex(index.integral(), object.list().items.size());
    return i.has_value() ? std::optional(object.list().items[*i]) : none;
  }
  if (object.is_range()) {
    const std::optional<size_t> i = ResolveIndex(index.integral(), object.range().length());
    return i.has_value() ? std::optional(JinjaValue(object.range().at(*i))) : none;
  }
  return none;
}

// The member that Python's getattr would find, nullopt when there is none.
Result<std::optional<JinjaValue>> Member(JinjaRuntime& runtime, const JinjaValue& object,
                                         std::string_view name) {
  if (const JinjaMethod* const method = JinjaFindMethod(object, name); method != nullptr) {
    KVASIR_ASSIGN_OR_RETURN(JinjaValue bound, JinjaBindMethod(runtime, object, *method));
    return std::optional(std::move(bound));
  }
  if (!object.is_object()) return std::optional<JinjaValue>();
  switch (object.object()->kind()) {
    case JinjaObjectKind::kNamespace: {
      const JinjaValue* const member = static_cast<JinjaNamespace*>(object.object())->Find(name);
      return member == nullptr ? std::optional<JinjaValue>() : std::optional(*member);
    }
    case JinjaObjectKind::kLoop:
      return static_cast<JinjaLoop*>(object.object())->Member(runtime, name);
    default:
      return std::optional<JinjaValue>();
  }
}

// Where a slice begins and ends, as Python's slice.indices() says, and how many elements it has.
struct SliceBounds {
  int64_t first = 0;
  int64_t stop = 0;
  int64_t step = 1;
  size_t count = 0;
};

Result<std::optional<int64_t>> SlicePart(const JinjaValue& part) {
  if (part.is_none()) return std::optional<int64_t>();
  if (part.is_integral()) return std::optional(part.integral());
  return InvalidArgument("slice indices must be integers or None, not " +
                         std::string(JinjaTypeName(part)));
}

// Python's rules for start:stop:step over `length` elements.
Result<SliceBounds> ResolveSlice(size_t length, const JinjaValue& start_part,
                                 const JinjaValue& stop_part, const JinjaValue& step_part) {
  KVASIR_ASSIGN_OR_RETURN(const std::optional<int64_t> start_given, SlicePart(start_part));
  KVASIR_ASSIGN_OR_RETURN(const std::optional<int64_t> stop_given, SlicePart(stop_part));
  KVASIR_ASSIGN_OR_RETURN(const std::optional<int64_t> step_given, SlicePart(step_part));
  const int64_t size = static_cast<int64_t>(length);
  // No step beyond the length makes a difference: clamping it keeps the sums below within bounds.
  const int64_t step = std::clamp(step_given.value_or(1), -size - 1, size + 1);
  if (step_given == 0) return InvalidArgument("slice step cannot be zero");
  const int64_t lowest = step > 0 ? 0 : -1;
  const int64_t highest = step > 0 ? size : size - 1;
  const auto resolve = [&](const std::optional<int64_t>& part, int64_t otherwise) {
    if (!part.has_value()) return otherwise;
    if (*part < -size) return lowest;
    return std::clamp(*part < 0 ? *part + size : *part, lowest, highest);
  };
  const int64_t start = resolve(start_given, step > 0 ? lowest : highest);
  const int64_t stop = resolve(stop_given, step > 0 ? highest : lowest);
  const int64_t distance = step > 0 ? stop - start : start - stop;
  const int64_t stride = step > 0 ? step : -step;
  SliceBounds bounds;
  bounds.first = start;
  bounds.stop = stop;
  bounds.step = step;
  if (distance > 0) bounds.count = static_cast<size_t>((distance + stride - 1) / stride);
  return bounds;
}

Result<JinjaValue> SliceString(JinjaRuntime& runtime, const JinjaString& string,
                               const SliceBounds& bounds) {
  KVASIR_RETURN_IF_ERROR(runtime.budget().SpendBytes(string.text.size()));
  if (bounds.count == 0) return JinjaValue(std::string(), string.markup);
  if (bounds.step == 1) {
    const size_t begin = string.ascii() ? static_cast<size_t>(bounds.first)
                                        : JinjaCharOffset(string.text, bounds.first);
    const std::string_view rest = std::string_view(string.text).substr(begin);
    const size_t bytes = string.ascii() ? bounds.count : JinjaCharOffset(rest, bounds.count);
    return JinjaValue(std::string(rest.substr(0, bytes)), string.markup);
  }
  KVASIR_RETURN_IF_ERROR(runtime.budget().SpendSteps(string.char_count / 4));
  const std::vector<std::string_view> chars = JinjaChars(string.text);
  std::string text;
  for (size_t i = 0; i < bounds.count; ++i) {
    text += chars[bounds.first + static_cast<int64_t>(i) * bounds.step];
  }
  return JinjaValue(std::move(text), string.markup);
}

Result<JinjaValue> SliceRange(const JinjaRange& range, const SliceBounds& bounds) {
  JinjaRange part;
  if (__builtin_mul_overflow(range.step, bounds.first, &part.start) ||
      __builtin_add_overflow(range.start, part.start, &part.start) ||
      __builtin_mul_overflow(range.step, bounds.stop, &part.stop) ||
      __builtin_add_overflow(range.start, part.stop, &part.stop) ||
      __builtin_mul_overflow(range.step, bounds.step, &part.step)) {
    return InvalidArgument("the slice of a range does not fit into 64 bits");
  }
  return JinjaValue(part);
}

}  // namespace

Result<JinjaValue> JinjaGetItem(JinjaRuntime& runtime, const JinjaValue& object,
                                const JinjaValue& index) {
  if (object.is_undefined()) return JinjaUndefinedError(object);
  KVASIR_ASSIGN_OR_RETURN(std::optional<JinjaValue> element, Element(runtime, object, index));
  if (element.has_value()) return std::move(*element);
  if (!index.is_string()) return NoElement(object, index);
  KVASIR_ASSIGN_OR_RETURN(element, Member(runtime, object, index.text()));
  return element.has_value() ? std::move(*element) : NoAttribute(object, index.text());
}

Result<JinjaValue> JinjaGetAttribute(JinjaRuntime& runtime, const JinjaValue& object,
                                     std::string_view name) {
  if (object.is_undefined()) return JinjaUndefinedError(object);
  KVASIR_ASSIGN_OR_RETURN(std::optional<JinjaValue> member, Member(runtime, object, name));
  if (member.has_value()) return std::move(*member);
  if (object.is_dict() && !name.starts_with("__")) {
    KVASIR_ASSIGN_OR_RETURN(const JinjaValue* const found,
                            JinjaFind(runtime, object.dict(), JinjaValue(name)));
    if (found != nullptr) return *found;
  }
  return NoAttribute(object, name);
}

Result<JinjaValue> JinjaSlice(JinjaRuntime& runtime, const JinjaValue& object,
                              const JinjaValue& start, const JinjaValue& stop,
                              const JinjaValue& step) {
  if (object.is_undefined()) return JinjaUndefinedError(object);
  if (!object.is_string() && !object.is_list_or_tuple() && !object.is_range()) {
    return InvalidArgument("'" + std::string(JinjaTypeName(object)) + "' object cannot be sliced");
  }
  KVASIR_ASSIGN_OR_RETURN(const size_t length, JinjaLength(object));
  KVASIR_ASSIGN_OR_RETURN(const SliceBounds bounds, ResolveSlice(length, start, stop, step));
  if (object.is_string()) return SliceString(runtime, object.string(), bounds);
  if (object.is_range()) return SliceRange(object.range(), bounds);
  KVASIR_RETURN_IF_ERROR(runtime.budget().SpendBytes(bounds.count * sizeof(JinjaValue)));
  std::vector<JinjaValue> items;
  items.reserve(bounds.count);
  for (size_t i = 0; i < bounds.count; ++i) {
    items.push_back(object.list().items[bounds.first + static_cast<int64_t>(i) * bounds.step]);
  }
  return runtime.NewList(std::move(items), object.list().kind);
}

Result<size_t> JinjaLength(const JinjaValue& value) {
  switch (value.kind()) {
    case JinjaKind::kUndefined:
      return size_t{0};
    case JinjaKind::kString:
      return value.string().char_count;
    case JinjaKind::kList:
      return value.list().items.size();
    case JinjaKind::kDict:
      return value.dict().entries.size();
    case JinjaKind::kRange:
      return value.range().length();
    default:
      return InvalidArgument("object of type '" + std::string(JinjaTypeName(value)) +
                             "' has no len()");
  }
}

}  // namespace kvasir
