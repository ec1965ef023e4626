// The functions that every template finds.

#include <cstdio>
#include <ctime>
#include <limits>
#include <utility>

#include "kvasir/text/jinja_interpreter.h"
#include "kvasir/text/jinja_operators.h"
#include "kvasir/text/jinja_print.h"

namespace kvasir {

namespace {

using Entries = std::vector<std::pair<JinjaValue, JinjaValue>>;

constexpr size_t kRangeLengthMax = 100'000;  // as in jinja2's sandbox

Result<JinjaValue> Range(JinjaRuntime&, const JinjaArguments& arguments) {
  KVASIR_ASSIGN_OR_RETURN(const JinjaBound bound, JinjaBind("range", arguments, {"", "", ""}, 1));
  int64_t parts[3] = {0, 0, 1};
  for (size_t i = 0; i < 3; ++i) {
    if (!bound[i].has_value()) continue;
    if (bound[i]->is_undefined()) return JinjaUndefinedError(*bound[i]);
    if (!bound[i]->is_integral()) {
      return InvalidArgument("range() takes integers, not " +
                             std::string(JinjaTypeName(*bound[i])));
    }
    parts[i] = bound[i]->integral();
  }
  if (!bound[1].has_value()) std::swap(parts[0], parts[1]);
  if (parts[2] == 0) return InvalidArgument("range() step must not be zero");
  const JinjaRange range{parts[0], parts[1], parts[2]};
  if (range.length() > kRangeLengthMax) {
    return InvalidArgument("Range too big: at most " + std::to_string(kRangeLengthMax) +
                           " elements are allowed");
  }
  return JinjaValue(range);
}

// dict(mapping or pairs, name=value ...).
Result<Entries> DictEntries(JinjaRuntime& runtime, const JinjaArguments& arguments) {
  Entries entries;
  if (arguments.positional.size() > 1) return InvalidArgument("dict() takes at most one mapping");
  if (!arguments.positional.empty() && arguments.positional[0].is_dict()) {
    entries = arguments.positional[0].dict().entries;
  } else if (!arguments.positional.empty()) {
    KVASIR_ASSIGN_OR_RETURN(const std::vector<JinjaValue> pairs,
                            JinjaElements(runtime, arguments.positional[0]));
    for (const JinjaValue& pair : pairs) {
      KVASIR_ASSIGN_OR_RETURN(const std::vector<JinjaValue> parts, JinjaElements(runtime, pair));
      if (parts.size() != 2) return InvalidArgument("dict() takes pairs of a key and a value");
      KVASIR_RETURN_IF_ERROR(JinjaInsert(runtime, entries, parts[0], parts[1]));
    }
  }
  for (const auto& [name, value] : arguments.keyword) {
    KVASIR_RETURN_IF_ERROR(JinjaInsert(runtime, entries, JinjaValue(name), value));
  }
  return entries;
}

Result<JinjaValue> Dict(JinjaRuntime& runtime, const JinjaArguments& arguments) {
  KVASIR_ASSIGN_OR_RETURN(Entries entries, DictEntries(runtime, arguments));
  return runtime.NewDict(std::move(entries));
}

Result<JinjaValue> Namespace(JinjaRuntime& runtime, const JinjaArguments& arguments) {
  KVASIR_ASSIGN_OR_RETURN(const Entries entries, DictEntries(runtime, arguments));
  KVASIR_ASSIGN_OR_RETURN(JinjaNamespace* const object, runtime.New<JinjaNamespace>());
  for (const auto& [name, value] : entries) {
    if (!name.is_string()) return InvalidArgument("the names of a namespace must be strings");
    KVASIR_RETURN_IF_ERROR(object->Set(name.text(), value));
  }
  return JinjaValue(static_cast<JinjaObject*>(object));
}

// "2024-07-26T12:00:00" as a calendar time.
Result<std::tm> ParseTime(const std::string& text) {
  std::tm time = {};
  int used = 0;
  const int fields =
      std::sscanf(text.c_str(), "%4d-%2d-%2dT%2d:%2d:%2d%n", &time.tm_year, &time.tm_mon,
                  &time.tm_mday, &time.tm_hour, &time.tm_min, &time.tm_sec, &used);
  if (fields != 6 || static_cast<size_t>(used) != text.size()) {
    return InvalidArgument("strftime_now takes a time like 2024-07-26T12:00:00, not '" + text +
                           "'");
  }
  time.tm_year -= 1900;
  time.tm_mon -= 1;
  if (timegm(&time) == -1) return InvalidArgument("the time '" + text + "' does not exist");
  return time;
}

Result<JinjaValue> FormatTime(JinjaRuntime& runtime, const JinjaArguments& arguments,
                              const std::tm& time) {
  constexpr size_t kFormatBytesMax = 256;
  constexpr size_t kTextBytesMax = 4096;
  KVASIR_ASSIGN_OR_RETURN(const JinjaBound bound,
                          JinjaBind("strftime_now", arguments, {"format"}, 1));
  if (!bound[0]->is_string() || bound[0]->text().size() > kFormatBytesMax ||
      bound[0]->text().find('\0') != std::string::npos) {
    return InvalidArgument("strftime_now() takes a format of at most " +
                           std::to_string(kFormatBytesMax) + " bytes");
  }
  // One more character, because strftime returns 0 for empty as for too long.
  const std::string format = bound[0]->text() + ".";
  char text[kTextBytesMax];
  const size_t bytes = std::strftime(text, sizeof(text), format.c_str(), &time);
  if (bytes == 0) return InvalidArgument("strftime_now() makes a text that is too long");
  return runtime.NewString(std::string(text, bytes - 1));
}

}  // namespace

Status JinjaDefineGlobals(JinjaInterpreter& interpreter, const std::string& now) {
  std::tm time = {};
  if (now.empty()) {
    const std::time_t seconds = std::time(nullptr);
    localtime_r(&seconds, &time);
  } else {
    KVASIR_ASSIGN_OR_RETURN(time, ParseTime(now));
  }
  const auto define = [&](const std::string& name, JinjaFunction::Body body) -> Status {
    KVASIR_ASSIGN_OR_RETURN(JinjaFunction* const function,
                            interpreter.runtime().New<JinjaFunction>(name, std::move(body)));
    interpreter.Define(name, JinjaValue(static_cast<JinjaObject*>(function)));
    return OkStatus();
  };
  KVASIR_RETURN_IF_ERROR(define("range", Range));
  KVASIR_RETURN_IF_ERROR(define("dict", Dict));
  KVASIR_RETURN_IF_ERROR(define("namespace", Namespace));
  KVASIR_RETURN_IF_ERROR(
      define("strftime_now", [time](JinjaRuntime& runtime, const JinjaArguments& arguments) {
        return FormatTime(runtime, arguments, time);
      }));
  return define(
      "raise_exception",
      [&interpreter](JinjaRuntime& runtime, const JinjaArguments& arguments) -> Result<JinjaValue> {
        KVASIR_ASSIGN_OR_RETURN(const JinjaBound bound,
                                JinjaBind("raise_exception", arguments, {"message"}, 1));
        KVASIR_ASSIGN_OR_RETURN(std::string message, JinjaStr(runtime, *bound[0]));
        return interpreter.Raise(std::move(message));
      });
}

}  // namespace kvasir
