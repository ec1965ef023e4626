// Filters that make text: case, trimming, joining, JSON ...

#include <algorithm>

#include "kvasir/text/jinja_filters.h"
#include "kvasir/text/jinja_format.h"
#include "kvasir/text/jinja_methods.h"
#include "kvasir/text/jinja_operators.h"
#include "kvasir/text/jinja_print.h"
#include "kvasir/text/jinja_text.h"
#include "kvasir/text/jinja_unicode.h"

namespace kvasir {

namespace {

// Strings as they are, anything else as str() prints it.
Result<JinjaValue> SoftString(JinjaRuntime& runtime, const JinjaValue& value) {
  if (value.is_string()) return value;
  KVASIR_ASSIGN_OR_RETURN(std::string text, JinjaStr(runtime, value));
  return JinjaValue(std::move(text));
}

// A filter that is a method of strings: |upper is str(x).upper().
Result<JinjaValue> AsMethod(JinjaRuntime& runtime, const JinjaValue& input, std::string_view method,
                            const JinjaArguments& arguments) {
  KVASIR_ASSIGN_OR_RETURN(const JinjaValue text, SoftString(runtime, input));
  return JinjaCallMethod(runtime, text, *JinjaFindMethod(text, method), arguments);
}

Result<JinjaValue> Upper(JinjaRuntime& runtime, const JinjaValue& input,
                         const JinjaArguments& arguments) {
  return AsMethod(runtime, input, "upper", arguments);
}

Result<JinjaValue> Lower(JinjaRuntime& runtime, const JinjaValue& input,
                         const JinjaArguments& arguments) {
  return AsMethod(runtime, input, "lower", arguments);
}

Result<JinjaValue> Capitalize(JinjaRuntime& runtime, const JinjaValue& input,
                              const JinjaArguments& arguments) {
  return AsMethod(runtime, input, "capitalize", arguments);
}

Result<JinjaValue> Trim(JinjaRuntime& runtime, const JinjaValue& input,
                        const JinjaArguments& arguments) {
  KVASIR_ASSIGN_OR_RETURN(const JinjaBound bound, JinjaBind("trim", arguments, {"chars"}, 0));
  return AsMethod(runtime, input, "strip", {{bound[0].value_or(JinjaValue())}, {}});
}

Result<JinjaValue> Center(JinjaRuntime& runtime, const JinjaValue& input,
                          const JinjaArguments& arguments) {
  KVASIR_ASSIGN_OR_RETURN(const JinjaBound bound, JinjaBind("center", arguments, {"width"}, 0));
  return AsMethod(runtime, input, "center", {{bound[0].value_or(JinjaValue(int64_t{80}))}, {}});
}

// Words begin after white space and after - ( { [ <.
Result<JinjaValue> Title(JinjaRuntime& runtime, const JinjaValue& input,
                         const JinjaArguments& arguments) {
  KVASIR_RETURN_IF_ERROR(JinjaBind("title", arguments, {}, 0).status());
  KVASIR_ASSIGN_OR_RETURN(const JinjaValue text, SoftString(runtime, input));
  KVASIR_RETURN_IF_ERROR(runtime.budget().SpendBytes(text.text().size() * 2));
  std::string out;
  bool in_word = false;
  for (const std::string_view character : JinjaChars(text.text())) {
    out += in_word ? JinjaLower(character) : JinjaUpper(character);
    in_word = !JinjaIsSpace(JinjaCodePoint(character)) &&
              std::string_view("-({[<").find(character) == std::string_view::npos;
  }
  return runtime.NewString(std::move(out));
}

Result<JinjaValue> Replace(JinjaRuntime& runtime, const JinjaValue& input,
                           const JinjaArguments& arguments) {
  KVASIR_ASSIGN_OR_RETURN(const JinjaBound bound,
                          JinjaBind("replace", arguments, {"old", "new", "count"}, 2));
  KVASIR_ASSIGN_OR_RETURN(const std::string text, JinjaStr(runtime, input));
  KVASIR_ASSIGN_OR_RETURN(const std::string old_text, JinjaStr(runtime, *bound[0]));
  KVASIR_ASSIGN_OR_RETURN(const std::string new_text, JinjaStr(runtime, *bound[1]));
  const JinjaValue count = bound[2].value_or(JinjaValue());
  if (!count.is_none() && !count.is_integral()) {
    return InvalidArgument("replace() takes an integer count, not " +
                           std::string(JinjaTypeName(count)));
  }
  KVASIR_ASSIGN_OR_RETURN(std::string out, JinjaReplace(runtime.budget(), text, old_text, new_text,
                                                        count.is_none() ? -1 : count.integral()));
  return JinjaValue(std::move(out));
}

Result<JinjaValue> Join(JinjaRuntime& runtime, const JinjaValue& input,
                        const JinjaArguments& arguments) {
  KVASIR_ASSIGN_OR_RETURN(const JinjaBound bound,
                          JinjaBind("join", arguments, {"d", "attribute"}, 0));
  KVASIR_ASSIGN_OR_RETURN(const JinjaPath path, JinjaPath::Parse(bound[1].value_or(JinjaValue())));
  KVASIR_ASSIGN_OR_RETURN(const std::string separator,
                          JinjaStr(runtime, bound[0].value_or(JinjaValue(""))));
  KVASIR_ASSIGN_OR_RETURN(JinjaIterator* const iterator, JinjaIterate(runtime, input));
  std::string out;
  for (bool first = true;; first = false) {
    KVASIR_ASSIGN_OR_RETURN(const std::optional<JinjaValue> element, iterator->Next(runtime));
    if (!element.has_value()) break;
    KVASIR_ASSIGN_OR_RETURN(const JinjaValue item, path.Follow(runtime, *element));
    KVASIR_ASSIGN_OR_RETURN(const std::string text, JinjaStr(runtime, item));
    KVASIR_RETURN_IF_ERROR(runtime.budget().SpendBytes(separator.size()));
    if (!first) out += separator;
    out += text;
    KVASIR_RETURN_IF_ERROR(runtime.budget().CheckBytes(out.size()));
  }
  return JinjaValue(std::move(out));
}

Result<JinjaValue> ToText(JinjaRuntime& runtime, const JinjaValue& input,
                          const JinjaArguments& arguments) {
  KVASIR_RETURN_IF_ERROR(JinjaBind("string", arguments, {}, 0).status());
  return SoftString(runtime, input);
}

// Characters that are safe in HTML; what is marked as safe already stays as it is.
Result<JinjaValue> Escaped(JinjaRuntime& runtime, const JinjaValue& input, bool force) {
  if (input.is_markup() && !force) return input;
  KVASIR_ASSIGN_OR_RETURN(const std::string text, JinjaStr(runtime, input));
  KVASIR_RETURN_IF_ERROR(runtime.budget().SpendBytes(text.size() * 5));
  return runtime.NewString(JinjaEscapeHtml(text), /*markup=*/true);
}

Result<JinjaValue> Escape(JinjaRuntime& runtime, const JinjaValue& input,
                          const JinjaArguments& arguments) {
  KVASIR_RETURN_IF_ERROR(JinjaBind("escape", arguments, {}, 0).status());
  return Escaped(runtime, input, /*force=*/false);
}

Result<JinjaValue> ForceEscape(JinjaRuntime& runtime, const JinjaValue& input,
                               const JinjaArguments& arguments) {
  KVASIR_RETURN_IF_ERROR(JinjaBind("forceescape", arguments, {}, 0).status());
  return Escaped(runtime, input, /*force=*/true);
}

Result<JinjaValue> Safe(JinjaRuntime& runtime, const JinjaValue& input,
                        const JinjaArguments& arguments) {
  KVASIR_RETURN_IF_ERROR(JinjaBind("safe", arguments, {}, 0).status());
  KVASIR_ASSIGN_OR_RETURN(std::string text, JinjaStr(runtime, input));
  return JinjaValue(std::move(text), /*markup=*/true);
}

Result<JinjaValue> Format(JinjaRuntime& runtime, const JinjaValue& input,
                          const JinjaArguments& arguments) {
  KVASIR_ASSIGN_OR_RETURN(const JinjaValue text, SoftString(runtime, input));
  if (!arguments.positional.empty() && !arguments.keyword.empty()) {
    return InvalidArgument("format() takes positional or named values, not both");
  }
  if (arguments.keyword.empty()) {
    KVASIR_ASSIGN_OR_RETURN(const JinjaValue values,
                            runtime.NewList(arguments.positional, JinjaListKind::kTuple));
    return JinjaPercentFormat(runtime, text, values);
  }
  std::vector<std::pair<JinjaValue, JinjaValue>> entries;
  for (const auto& [name, value] : arguments.keyword) entries.emplace_back(name, value);
  KVASIR_ASSIGN_OR_RETURN(const JinjaValue values, runtime.NewDict(std::move(entries)));
  return JinjaPercentFormat(runtime, text, values);
}

Result<JinjaValue> Indent(JinjaRuntime& runtime, const JinjaValue& input,
                          const JinjaArguments& arguments) {
  KVASIR_ASSIGN_OR_RETURN(const JinjaBound bound,
                          JinjaBind("indent", arguments, {"width", "first", "blank"}, 0));
  const JinjaValue width = bound[0].value_or(JinjaValue(int64_t{4}));
  if (!input.is_string()) {
    return InvalidArgument("indent() takes a str, not " + std::string(JinjaTypeName(input)));
  }
  JinjaValue indention = width;
  if (!width.is_string()) {
    KVASIR_ASSIGN_OR_RETURN(
        indention, JinjaArithmetic(runtime, JinjaOperator::kMultiply, JinjaValue(" "), width));
  }
  const bool first = bound[1].has_value() && JinjaTruth(*bound[1]);
  const bool blank = bound[2].has_value() && JinjaTruth(*bound[2]);
  const std::string text = input.text() + "\n";
  KVASIR_RETURN_IF_ERROR(runtime.budget().SpendBytes(text.size()));
  std::string out;
  bool at_start = true;
  for (const std::string_view line : JinjaSplitLines(text, /*keep_ends=*/false)) {
    if (!at_start) out.push_back('\n');
    if (at_start ? first : (blank || !line.empty())) out += indention.text();
    out += line;
    at_start = false;
    KVASIR_RETURN_IF_ERROR(runtime.budget().SpendBytes(indention.text().size()));
    KVASIR_RETURN_IF_ERROR(runtime.budget().CheckBytes(out.size()));
  }
  return JinjaValue(std::move(out), input.is_markup());
}

Result<JinjaValue> Truncate(JinjaRuntime& runtime, const JinjaValue& input,
                            const JinjaArguments& arguments) {
  KVASIR_ASSIGN_OR_RETURN(
      const JinjaBound bound,
      JinjaBind("truncate", arguments, {"length", "killwords", "end", "leeway"}, 0));
  const JinjaValue length = bound[0].value_or(JinjaValue(int64_t{255}));
  const JinjaValue end = bound[2].value_or(JinjaValue("..."));
  JinjaValue leeway = bound[3].value_or(JinjaValue(int64_t{5}));
  if (leeway.is_none()) leeway = JinjaValue(int64_t{5});
  if (!length.is_integral() || !end.is_string() || !leeway.is_integral()) {
    return InvalidArgument("truncate() takes a str as end, with length and leeway as integers");
  }
  const int64_t end_chars = static_cast<int64_t>(end.string().char_count);
  KVASIR_ASSIGN_OR_RETURN(const size_t input_length, JinjaLength(input));
  const int64_t chars = static_cast<int64_t>(input_length);
  if (length.integral() < end_chars || leeway.integral() < 0) {
    return InvalidArgument(
        "truncate() takes a length of at least that of its end, and no negative "
        "leeway");
  }
  if (chars - leeway.integral() <= length.integral()) return input;
  if (!input.is_string()) {
    return InvalidArgument("truncate() takes a str, not " + std::string(JinjaTypeName(input)));
  }
  const std::string& text = input.text();
  KVASIR_RETURN_IF_ERROR(runtime.budget().SpendBytes(text.size()));
  std::string cut = text.substr(0, JinjaCharOffset(text, length.integral() - end_chars));
  const bool kill_words = bound[1].has_value() && JinjaTruth(*bound[1]);
  if (!kill_words) cut = cut.substr(0, cut.rfind(' '));
  return runtime.NewString(cut + end.text(), input.is_markup());
}

Result<JinjaValue> WordCount(JinjaRuntime& runtime, const JinjaValue& input,
                             const JinjaArguments& arguments) {
  KVASIR_RETURN_IF_ERROR(JinjaBind("wordcount", arguments, {}, 0).status());
  KVASIR_ASSIGN_OR_RETURN(const JinjaValue text, SoftString(runtime, input));
  KVASIR_RETURN_IF_ERROR(runtime.budget().SpendSteps(text.text().size() / 4));
  int64_t words = 0;
  bool in_word = false;
  for (const std::string_view character : JinjaChars(text.text())) {
    const uint32_t c = JinjaCodePoint(character);
    const bool word_character = (c >= '0' && c <= '9') || c == '_' || JinjaIsAlpha(c);
    words += word_character && !in_word;
    in_word = word_character;
  }
  return JinjaValue(words);
}

// How tojson indents: None for one line, a number of spaces, or a string.
Result<std::optional<std::string>> JsonIndent(JinjaRuntime& runtime, const JinjaValue& indent) {
  if (indent.is_none()) return std::optional<std::string>();
  if (indent.is_string()) return std::optional(indent.text());
  if (!indent.is_integral()) {
    return InvalidArgument("tojson() takes an integer or str to indent by, not " +
                           std::string(JinjaTypeName(indent)));
  }
  const int64_t spaces = std::max<int64_t>(0, indent.integral());
  KVASIR_RETURN_IF_ERROR(runtime.budget().SpendBytes(static_cast<size_t>(spaces)));
  return std::optional(std::string(static_cast<size_t>(spaces), ' '));
}

// json.dumps with the options that transformers passes through.
Result<JinjaValue> ToJson(JinjaRuntime& runtime, const JinjaValue& input,
                          const JinjaArguments& arguments) {
  KVASIR_ASSIGN_OR_RETURN(
      const JinjaBound bound,
      JinjaBind("tojson", arguments, {"ensure_ascii", "indent", "separators", "sort_keys"}, 0));
  JinjaJsonOptions options;
  options.ensure_ascii = bound[0].has_value() && JinjaTruth(*bound[0]);
  KVASIR_ASSIGN_OR_RETURN(options.indent, JsonIndent(runtime, bound[1].value_or(JinjaValue())));
  if (options.indent.has_value()) options.item_separator = ",";
  if (bound[2].has_value() && !bound[2]->is_none()) {
    if (!bound[2]->is_list_or_tuple() || bound[2]->list().items.size() != 2 ||
        !bound[2]->list().items[0].is_string() || !bound[2]->list().items[1].is_string()) {
      return InvalidArgument("tojson() takes two strings as separators");
    }
    options.item_separator = bound[2]->list().items[0].text();
    options.key_separator = bound[2]->list().items[1].text();
  }
  options.sort_keys = bound[3].has_value() && JinjaTruth(*bound[3]);
  KVASIR_ASSIGN_OR_RETURN(std::string text, JinjaToJson(runtime, input, options));
  return JinjaValue(std::move(text));
}

constexpr JinjaFilter kFilters[] = {
    {"capitalize", Capitalize}, {"center", Center}, {"e", Escape},
    {"escape", Escape},         {"format", Format}, {"forceescape", ForceEscape},
    {"indent", Indent},         {"join", Join},     {"lower", Lower},
    {"replace", Replace},       {"safe", Safe},     {"string", ToText},
    {"title", Title},           {"tojson", ToJson}, {"trim", Trim},
    {"truncate", Truncate},     {"upper", Upper},   {"wordcount", WordCount},
};

}  // namespace

std::span<const JinjaFilter> JinjaTextFilters() { return kFilters; }

}  // namespace kvasir
