// Methods of template strings. Those whose results are strings keep the markup flag of theirs.

#include <algorithm>

#include "kvasir/text/jinja_format.h"
#include "kvasir/text/jinja_methods.h"
#include "kvasir/text/jinja_operators.h"
#include "kvasir/text/jinja_print.h"
#include "kvasir/text/jinja_text.h"
#include "kvasir/text/jinja_unicode.h"

namespace kvasir {

namespace {

Result<JinjaValue> SameKind(JinjaRuntime& runtime, const JinjaValue& self, std::string text) {
  return runtime.NewString(std::move(text), self.is_markup());
}

Status NeedsString(std::string_view function, const JinjaValue& value) {
  return InvalidArgument(std::string(function) + "() takes a str, not " +
                         std::string(JinjaTypeName(value)));
}

// An optional argument that is an integer; None only where `none_allowed`.
Result<std::optional<int64_t>> OptionalInt(std::string_view function,
                                           const std::optional<JinjaValue>& argument,
                                           bool none_allowed) {
  if (!argument.has_value() || (none_allowed && argument->is_none())) {
    return std::optional<int64_t>();
  }
  if (argument->is_integral()) return std::optional(argument->integral());
  return InvalidArgument(std::string(function) + "() takes an integer, not " +
                         std::string(JinjaTypeName(*argument)));
}

// --- case ---

template <std::string (*kConvert)(std::string_view)>
Result<JinjaValue> ConvertCase(JinjaRuntime& runtime, const JinjaValue& self,
                               const JinjaArguments& arguments) {
  KVASIR_RETURN_IF_ERROR(JinjaBind("the case method", arguments, {}, 0).status());
  // Characters beyond ASCII may grow by half: sharp s becomes SS, other letters gain a byte.
  KVASIR_RETURN_IF_ERROR(runtime.budget().SpendBytes(self.text().size() * 2));
  return SameKind(runtime, self, kConvert(self.text()));
}

// --- stripping, prefixes and suffixes ---

Result<JinjaValue> Stripped(JinjaRuntime& runtime, const JinjaValue& self,
                            const JinjaArguments& arguments, std::string_view name, bool left,
                            bool right) {
  KVASIR_ASSIGN_OR_RETURN(const JinjaBound bound, JinjaBind(name, arguments, {""}, 0));
  const std::string* chars = nullptr;
  if (bound[0].has_value() && !bound[0]->is_none()) {
    if (!bound[0]->is_string()) return NeedsString(name, *bound[0]);
    chars = &bound[0]->text();
    KVASIR_RETURN_IF_ERROR(
        runtime.budget().SpendSteps(self.text().size() / 64 * (1 + chars->size() / 16)));
  }
  return SameKind(runtime, self, std::string(JinjaStrip(self.text(), chars, left, right)));
}

Result<JinjaValue> Strip(JinjaRuntime& runtime, const JinjaValue& self,
                         const JinjaArguments& arguments) {
  return Stripped(runtime, self, arguments, "strip", true, true);
}

Result<JinjaValue> LeftStrip(JinjaRuntime& runtime, const JinjaValue& self,
                             const JinjaArguments& arguments) {
  return Stripped(runtime, self, arguments, "lstrip", true, false);
}

Result<JinjaValue> RightStrip(JinjaRuntime& runtime, const JinjaValue& self,
                              const JinjaArguments& arguments) {
  return Stripped(runtime, self, arguments, "rstrip", false, true);
}

// The part of `self` between the optional arguments `start` and `stop`.
struct Window {
  std::string text;
  size_t first_char = 0;
  bool inside = true;  // false when start lies behind the end: then nothing matches, not even ""
};
Result<Window> WindowOf(JinjaRuntime& runtime, const JinjaValue& self, std::string_view name,
                        const std::optional<JinjaValue>& start,
                        const std::optional<JinjaValue>& stop) {
  KVASIR_ASSIGN_OR_RETURN(const std::optional<int64_t> first, OptionalInt(name, start, true));
  KVASIR_RETURN_IF_ERROR(OptionalInt(name, stop, true).status());
  KVASIR_ASSIGN_OR_RETURN(const JinjaValue part,
                          JinjaSlice(runtime, self, start.value_or(JinjaValue()),
                                     stop.value_or(JinjaValue()), JinjaValue()));
  Window window;
  window.text = part.text();
  const int64_t length = static_cast<int64_t>(self.string().char_count);
  const int64_t begin = first.value_or(0);
  window.first_char = static_cast<size_t>(std::max<int64_t>(0, begin < 0 ? begin + length : begin));
  window.inside = begin <= length;
  if (window.text.empty() && stop.has_value() && stop->is_integral()) {
    const int64_t end = stop->integral() < 0 ? stop->integral() + length : stop->integral();
    window.inside =
        window.inside && static_cast<int64_t>(window.first_char) <= std::max<int64_t>(0, end);
  }
  return window;
}

Result<JinjaValue> HasAffix(JinjaRuntime& runtime, const JinjaValue& self,
                            const JinjaArguments& arguments, std::string_view name, bool prefix) {
  KVASIR_ASSIGN_OR_RETURN(const JinjaBound bound, JinjaBind(name, arguments, {"", "", ""}, 1));
  KVASIR_ASSIGN_OR_RETURN(const Window window, WindowOf(runtime, self, name, bound[1], bound[2]));
  std::vector<JinjaValue> affixes = {*bound[0]};
  if (bound[0]->is_list_of(JinjaListKind::kTuple)) affixes = bound[0]->list().items;
  for (const JinjaValue& affix : affixes) {
    if (!affix.is_string()) return NeedsString(name, affix);
    const std::string& text = affix.text();
    if (window.inside && (prefix ? window.text.starts_with(text) : window.text.ends_with(text))) {
      return JinjaValue(true);
    }
  }
  return JinjaValue(false);
}

Result<JinjaValue> StartsWith(JinjaRuntime& runtime, const JinjaValue& self,
                              const JinjaArguments& arguments) {
  return HasAffix(runtime, self, arguments, "startswith", true);
}

Result<JinjaValue> EndsWith(JinjaRuntime& runtime, const JinjaValue& self,
                            const JinjaArguments& arguments) {
  return HasAffix(runtime, self, arguments, "endswith", false);
}

template <bool kPrefix>
Result<JinjaValue> RemoveAffix(JinjaRuntime& runtime, const JinjaValue& self,
                               const JinjaArguments& arguments) {
  constexpr std::string_view kName = kPrefix ? "removeprefix" : "removesuffix";
  KVASIR_ASSIGN_OR_RETURN(const JinjaBound bound, JinjaBind(kName, arguments, {""}, 1));
  if (!bound[0]->is_string()) return NeedsString(kName, *bound[0]);
  const std::string& affix = bound[0]->text();
  std::string_view text = self.text();
  if (kPrefix && text.starts_with(affix)) text.remove_prefix(affix.size());
  if (!kPrefix && text.ends_with(affix)) text.remove_suffix(affix.size());
  return SameKind(runtime, self, std::string(text));
}

// --- searching ---

enum class Search { kFind, kRightFind, kIndex, kRightIndex };

template <Search kSearch>
Result<JinjaValue> Find(JinjaRuntime& runtime, const JinjaValue& self,
                        const JinjaArguments& arguments) {
  constexpr std::string_view kNames[] = {"find", "rfind", "index", "rindex"};
  constexpr std::string_view kName = kNames[static_cast<size_t>(kSearch)];
  KVASIR_ASSIGN_OR_RETURN(const JinjaBound bound, JinjaBind(kName, arguments, {"", "", ""}, 1));
  if (!bound[0]->is_string()) return NeedsString(kName, *bound[0]);
  KVASIR_ASSIGN_OR_RETURN(const Window window, WindowOf(runtime, self, kName, bound[1], bound[2]));
  constexpr bool kRight = kSearch == Search::kRightFind || kSearch == Search::kRightIndex;
  size_t offset = std::string::npos;
  if (window.inside) {
    offset = kRight ? window.text.rfind(bound[0]->text()) : window.text.find(bound[0]->text());
  }
  if (offset != std::string::npos) {
    return JinjaValue::FromSize(window.first_char +
                                JinjaCharCount(std::string_view(window.text).substr(0, offset)));
  }
  if (kSearch == Search::kFind || kSearch == Search::kRightFind) return JinjaValue(int64_t{-1});
  return InvalidArgument("substring not found");
}

Result<JinjaValue> Count(JinjaRuntime& runtime, const JinjaValue& self,
                         const JinjaArguments& arguments) {
  KVASIR_ASSIGN_OR_RETURN(const JinjaBound bound, JinjaBind("count", arguments, {"", "", ""}, 1));
  if (!bound[0]->is_string()) return NeedsString("count", *bound[0]);
  KVASIR_ASSIGN_OR_RETURN(const Window window,
                          WindowOf(runtime, self, "count", bound[1], bound[2]));
  const std::string& needle = bound[0]->text();
  if (!window.inside) return JinjaValue(int64_t{0});
  if (needle.empty()) return JinjaValue::FromSize(JinjaCharCount(window.text) + 1);
  int64_t count = 0;
  for (size_t at = window.text.find(needle); at != std::string::npos;
       at = window.text.find(needle, at + needle.size())) {
    ++count;
  }
  return JinjaValue(count);
}

Result<JinjaValue> Replace(JinjaRuntime& runtime, const JinjaValue& self,
                           const JinjaArguments& arguments) {
  KVASIR_ASSIGN_OR_RETURN(const JinjaBound bound, JinjaBind("replace", arguments, {"", "", ""}, 2));
  for (size_t i = 0; i < 2; ++i) {
    if (!bound[i]->is_string()) return NeedsString("replace", *bound[i]);
  }
  KVASIR_ASSIGN_OR_RETURN(const std::optional<int64_t> limit,
                          OptionalInt("replace", bound[2], false));
  KVASIR_ASSIGN_OR_RETURN(std::string text,
                          JinjaReplace(runtime.budget(), self.text(), bound[0]->text(),
                                       bound[1]->text(), limit.value_or(-1)));
  return JinjaValue(std::move(text), self.is_markup());
}

// --- splitting and joining ---

Result<JinjaValue> StringList(JinjaRuntime& runtime, const JinjaValue& self,
                              const std::vector<std::string_view>& parts,
                              JinjaListKind kind = JinjaListKind::kList) {
  std::vector<JinjaValue> items;
  items.reserve(parts.size());
  for (const std::string_view part : parts) {
    items.emplace_back(std::string(part), self.is_markup());
  }
  return runtime.NewList(std::move(items), kind);
}

template <bool kRight>
Result<JinjaValue> Split(JinjaRuntime& runtime, const JinjaValue& self,
                         const JinjaArguments& arguments) {
  constexpr std::string_view kName = kRight ? "rsplit" : "split";
  KVASIR_ASSIGN_OR_RETURN(const JinjaBound bound,
                          JinjaBind(kName, arguments, {"sep", "maxsplit"}, 0));
  KVASIR_ASSIGN_OR_RETURN(const std::optional<int64_t> limit, OptionalInt(kName, bound[1], false));
  // Every part is a string of its own: about as dear as a byte is cheap.
  KVASIR_RETURN_IF_ERROR(runtime.budget().SpendSteps(self.text().size() / 2));
  if (!bound[0].has_value() || bound[0]->is_none()) {
    return StringList(runtime, self, JinjaSplitAtSpace(self.text(), limit.value_or(-1), kRight));
  }
  if (!bound[0]->is_string()) return NeedsString(kName, *bound[0]);
  if (bound[0]->text().empty()) return InvalidArgument("empty separator");
  return StringList(
      runtime, self,
      JinjaSplitAtSeparator(self.text(), bound[0]->text(), limit.value_or(-1), kRight));
}

template <bool kRight>
Result<JinjaValue> Partition(JinjaRuntime& runtime, const JinjaValue& self,
                             const JinjaArguments& arguments) {
  constexpr std::string_view kName = kRight ? "rpartition" : "partition";
  KVASIR_ASSIGN_OR_RETURN(const JinjaBound bound, JinjaBind(kName, arguments, {""}, 1));
  if (!bound[0]->is_string()) return NeedsString(kName, *bound[0]);
  const std::string& separator = bound[0]->text();
  if (separator.empty()) return InvalidArgument("empty separator");
  KVASIR_RETURN_IF_ERROR(runtime.budget().SpendBytes(self.text().size()));
  std::vector<std::string_view> parts = JinjaSplitAtSeparator(self.text(), separator, 1, kRight);
  if (parts.size() == 2) {
    parts.insert(parts.begin() + 1, separator);
  } else {
    parts.insert(kRight ? parts.begin() : parts.end(), 2, std::string_view());
  }
  return StringList(runtime, self, parts, JinjaListKind::kTuple);
}

Result<JinjaValue> SplitLines(JinjaRuntime& runtime, const JinjaValue& self,
                              const JinjaArguments& arguments) {
  KVASIR_ASSIGN_OR_RETURN(const JinjaBound bound,
                          JinjaBind("splitlines", arguments, {"keepends"}, 0));
  KVASIR_RETURN_IF_ERROR(runtime.budget().SpendSteps(self.text().size() / 2));
  const bool keep_ends = bound[0].has_value() && JinjaTruth(*bound[0]);
  return StringList(runtime, self, JinjaSplitLines(self.text(), keep_ends));
}

Result<JinjaValue> Join(JinjaRuntime& runtime, const JinjaValue& self,
                        const JinjaArguments& arguments) {
  KVASIR_ASSIGN_OR_RETURN(const JinjaBound bound, JinjaBind("join", arguments, {""}, 1));
  KVASIR_ASSIGN_OR_RETURN(const std::vector<JinjaValue> items, JinjaElements(runtime, *bound[0]));
  std::string text;
  for (size_t i = 0; i < items.size(); ++i) {
    if (!items[i].is_string()) return NeedsString("join", items[i]);
    KVASIR_RETURN_IF_ERROR(
        runtime.budget().CheckBytes(text.size() + self.text().size() + items[i].text().size()));
    KVASIR_RETURN_IF_ERROR(
        runtime.budget().SpendBytes(self.text().size() + items[i].text().size()));
    if (i > 0) text += self.text();
    text += items[i].text();
  }
  return JinjaValue(std::move(text), self.is_markup());
}

// --- padding ---

enum class Align { kLeft, kRight, kCenter };

template <Align kAlign>
Result<JinjaValue> Justify(JinjaRuntime& runtime, const JinjaValue& self,
                           const JinjaArguments& arguments) {
  KVASIR_ASSIGN_OR_RETURN(const JinjaBound bound, JinjaBind("justify", arguments, {"", ""}, 1));
  KVASIR_ASSIGN_OR_RETURN(const std::optional<int64_t> width,
                          OptionalInt("justify", bound[0], false));
  const std::string fill = bound[1].has_value() && bound[1]->is_string() ? bound[1]->text() : " ";
  if (JinjaCharCount(fill) != 1 || (bound[1].has_value() && !bound[1]->is_string())) {
    return InvalidArgument("the fill character must be exactly one character long");
  }
  KVASIR_ASSIGN_OR_RETURN(std::string text,
                          JinjaPad(runtime.budget(), self.text(), *width, fill,
                                   kAlign != Align::kLeft, kAlign != Align::kRight));
  return SameKind(runtime, self, std::move(text));
}

Result<JinjaValue> ZeroFill(JinjaRuntime& runtime, const JinjaValue& self,
                            const JinjaArguments& arguments) {
  KVASIR_ASSIGN_OR_RETURN(const JinjaBound bound, JinjaBind("zfill", arguments, {""}, 1));
  KVASIR_ASSIGN_OR_RETURN(const std::optional<int64_t> width,
                          OptionalInt("zfill", bound[0], false));
  const bool sign = self.text().starts_with('-') || self.text().starts_with('+');
  KVASIR_ASSIGN_OR_RETURN(std::string text,
                          JinjaPad(runtime.budget(), std::string_view(self.text()).substr(sign),
                                   *width - sign, "0", true, false));
  return SameKind(runtime, self, self.text().substr(0, sign) + text);
}

// --- questions ---

// True when there are characters and all satisfy the predicate.
template <bool (*kPredicate)(uint32_t)>
Result<JinjaValue> AllCharacters(JinjaRuntime& runtime, const JinjaValue& self,
                                 const JinjaArguments& arguments) {
  KVASIR_RETURN_IF_ERROR(JinjaBind("the character test", arguments, {}, 0).status());
  KVASIR_RETURN_IF_ERROR(runtime.budget().SpendSteps(self.text().size() / 4));
  const std::vector<std::string_view> chars = JinjaChars(self.text());
  return JinjaValue(!chars.empty() && std::all_of(chars.begin(), chars.end(), [](auto character) {
    return kPredicate(JinjaCodePoint(character));
  }));
}

bool IsDigit(uint32_t c) { return c >= '0' && c <= '9'; }
bool IsAlphaNumeric(uint32_t c) { return IsDigit(c) || JinjaIsAlpha(c); }

Result<JinjaValue> IsAscii(JinjaRuntime&, const JinjaValue& self, const JinjaArguments& arguments) {
  KVASIR_RETURN_IF_ERROR(JinjaBind("isascii", arguments, {}, 0).status());
  return JinjaValue(std::all_of(self.text().begin(), self.text().end(),
                                [](char c) { return static_cast<unsigned char>(c) < 0x80; }));
}

template <bool kUpper>
Result<JinjaValue> IsCase(JinjaRuntime& runtime, const JinjaValue& self,
                          const JinjaArguments& arguments) {
  KVASIR_RETURN_IF_ERROR(JinjaBind("the case test", arguments, {}, 0).status());
  KVASIR_RETURN_IF_ERROR(runtime.budget().SpendBytes(self.text().size() * 4));
  return JinjaValue(JinjaIsCase(self.text(), kUpper));
}

Result<JinjaValue> IsTitle(JinjaRuntime& runtime, const JinjaValue& self,
                           const JinjaArguments& arguments) {
  KVASIR_RETURN_IF_ERROR(JinjaBind("istitle", arguments, {}, 0).status());
  KVASIR_RETURN_IF_ERROR(runtime.budget().SpendBytes(self.text().size() * 4));
  return JinjaValue(JinjaLower(self.text()) != JinjaUpper(self.text()) &&
                    JinjaTitleCase(self.text()) == self.text());
}

constexpr JinjaMethod kStringMethods[] = {
    {"capitalize", ConvertCase<JinjaCapitalize>},
    {"casefold", ConvertCase<JinjaLower>},
    {"center", Justify<Align::kCenter>},
    {"count", Count},
    {"encode"},
    {"endswith", EndsWith},
    {"expandtabs"},
    {"find", Find<Search::kFind>},
    {"format", JinjaBraceFormat},
    {"format_map"},
    {"index", Find<Search::kIndex>},
    {"isalnum", AllCharacters<IsAlphaNumeric>},
    {"isalpha", AllCharacters<JinjaIsAlpha>},
    {"isascii", IsAscii},
    {"isdecimal", AllCharacters<IsDigit>},
    {"isdigit", AllCharacters<IsDigit>},
    {"isidentifier"},
    {"islower", IsCase<false>},
    {"isnumeric", AllCharacters<IsDigit>},
    {"isprintable"},
    {"isspace", AllCharacters<JinjaIsSpace>},
    {"istitle", IsTitle},
    {"isupper", IsCase<true>},
    {"join", Join},
    {"ljust", Justify<Align::kLeft>},
    {"lower", ConvertCase<JinjaLower>},
    {"lstrip", LeftStrip},
    {"maketrans"},
    {"partition", Partition<false>},
    {"removeprefix", RemoveAffix<true>},
    {"removesuffix", RemoveAffix<false>},
    {"replace", Replace},
    {"rfind", Find<Search::kRightFind>},
    {"rindex", Find<Search::kRightIndex>},
    {"rjust", Justify<Align::kRight>},
    {"rpartition", Partition<true>},
    {"rsplit", Split<true>},
    {"rstrip", RightStrip},
    {"split", Split<false>},
    {"splitlines", SplitLines},
    {"startswith", StartsWith},
    {"strip", Strip},
    {"swapcase", ConvertCase<JinjaSwapCase>},
    {"title", ConvertCase<JinjaTitleCase>},
    {"translate"},
    {"upper", ConvertCase<JinjaUpper>},
    {"zfill", ZeroFill},
};

}  // namespace

std::span<const JinjaMethod> JinjaStringMethods() { return kStringMethods; }

}  // namespace kvasir
