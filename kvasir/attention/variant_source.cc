#include "kvasir/attention/variant_source.h"

#include <algorithm>
#include <cctype>

namespace kvasir {

namespace {

constexpr std::string_view kMacro = "KVASIR_ATTENTION_VARIANT";

// The text with blanks for comments and for what stands in quotes, lines as they were.
std::string WithoutComments(std::string_view text) {
  std::string bare(text);
  const auto blank = [&](size_t from, size_t to) {
    to = std::min(to, bare.size());
    for (size_t i = from; i < to; ++i) {
      if (bare[i] != '\n') bare[i] = ' ';
    }
    return to;
  };
  for (size_t i = 0; i < bare.size();) {
    const std::string_view rest = text.substr(i);
    if (rest.starts_with("//")) {
      i = blank(i, i + std::min(rest.find('\n'), rest.size()));
    } else if (rest.starts_with("/*")) {
      const size_t end = rest.find("*/", 2);
      i = blank(i, end == std::string_view::npos ? bare.size() : i + end + 2);
    } else if (rest[0] == '"' ||
               (rest[0] == '\'' && (i == 0 || !isalnum(static_cast<unsigned char>(bare[i - 1]))))) {
      size_t end = 1;  // 1'000 is no quote
      while (end < rest.size() && rest[end] != rest[0] && rest[end] != '\n') {
        end += rest[end] == '\\' ? 2 : 1;
      }
      i = blank(i, i + end + 1);
    } else {
      ++i;
    }
  }
  return bare;
}

// A word, or another character that is no blank.
struct Token {
  std::string_view text;
  size_t position = 0;
  bool opens_line = false;
};

// `bare` cut into tokens, with a few empty ones behind the last.
std::vector<Token> SplitTokens(std::string_view bare) {
  const auto is_word = [](char c) { return isalnum(static_cast<unsigned char>(c)) || c == '_'; };
  std::vector<Token> tokens;
  bool opens_line = true;
  for (size_t i = 0; i < bare.size();) {
    size_t end = i + 1;
    if (isspace(static_cast<unsigned char>(bare[i]))) {
      opens_line = opens_line || bare[i] == '\n';
    } else {
      while (is_word(bare[i]) && end < bare.size() && is_word(bare[end])) ++end;
      tokens.push_back({bare.substr(i, end - i), i, opens_line});
      opens_line = false;
    }
    i = end;
  }
  constexpr size_t kLookAhead = 8;
  tokens.insert(tokens.end(), kLookAhead, {"", bare.size(), true});
  return tokens;
}

// Why a header of variants may not have what begins at tokens[0]; empty when it may.
std::string Forbidden(const Token* tokens) {
  constexpr char kGuard[] =
      "a header of variants has no include guard: it is compiled once for each instruction set";
  if (tokens[0].text == "namespace") {
    return "a header of variants has no namespace: it is compiled inside kvasir's own";
  }
  if (tokens[0].text != "#" || !tokens[0].opens_line) return "";
  if (tokens[1].text == "include") {
    return "#include has no place in a header of variants: it is compiled inside Kvasir's own "
           "source, where everything that variant-inl.h offers is known";
  }
  if (tokens[1].text == "pragma" && tokens[2].text == "once") return kGuard;
  // A macro without a value that is tested and defined at once.
  const bool is_guard = tokens[1].text == "ifndef" && tokens[3].text == "#" &&
                        tokens[4].text == "define" && tokens[5].text == tokens[2].text &&
                        tokens[6].opens_line;
  return is_guard ? kGuard : "";
}

// The names of the variants. A brace that is missing would end or swallow the namespaces around the
// header, so they are counted here, where the line is known.
Result<std::vector<std::string>> CheckTokens(std::string_view bare, const std::string& path) {
  const auto refuse = [&](size_t position, const std::string& why) {
    const auto line = std::count(bare.begin(), bare.begin() + ptrdiff_t(position), '\n') + 1;
    return InvalidArgument(path + ":" + std::to_string(line) + ": " + why);
  };
  const std::vector<Token> tokens = SplitTokens(bare);
  std::vector<std::string> names;
  std::vector<size_t> open;
  for (const Token* token = tokens.data(); !token->text.empty(); ++token) {
    if (const std::string why = Forbidden(token); !why.empty()) {
      return refuse(token->position, why);
    }
    if (token->text == "{") open.push_back(token->position);
    if (token->text == "}") {
      if (open.empty()) return refuse(token->position, "this } closes nothing");
      open.pop_back();
    }
    if (token->text != kMacro) continue;
    const std::string name(token[2].text);
    if (std::find(names.begin(), names.end(), name) != names.end()) {
      return refuse(token->position, name + " is named twice");
    }
    names.push_back(name);
  }
  if (!open.empty()) return refuse(open.back(), "this { is not closed");
  if (names.empty()) {
    return InvalidArgument(path + " names no variant: a line " + std::string(kMacro) +
                           "(Name) behind the struct Name is needed");
  }
  return names;
}

// A string literal.
std::string Quoted(const std::string& text) {
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') quoted += '\\';
    quoted += c == '\n' ? ' ' : c;
  }
  return quoted + "\"";
}

std::string Replaced(std::string text, std::string_view from, const std::string& to) {
  return text.replace(text.find(from), from.size(), to);
}

// @NAME@ marks what is filled in. The line of the second #line does not matter: below it there is
// only what is written here.
constexpr char kTemplate[] = R"(// Made by `kvasir attention build` from the user's header below.

#include "kvasir/kernels/highway_targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "@SOURCE@"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kvasir/attention/variant-inl.h"

HWY_BEFORE_NAMESPACE();
namespace kvasir {
namespace HWY_NAMESPACE {
#line 1 @PATH@
@HEADER@
#line 1 "@SOURCE@"
}  // namespace HWY_NAMESPACE
}  // namespace kvasir
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include "kvasir/attention/variant_abi.h"
namespace kvasir {
constexpr AttentionVariantDescriptor kDescriptors[] = {
@DESCRIPTORS@};
KVASIR_EXPORT_ATTENTION_VARIANTS(kDescriptors)
}  // namespace kvasir
#endif  // HWY_ONCE
)";

}  // namespace

Result<VariantSource> MakeVariantSource(std::string_view header, const std::string& path) {
  VariantSource source;
  KVASIR_ASSIGN_OR_RETURN(source.names, CheckTokens(WithoutComments(header), path));
  std::string descriptors;
  for (const std::string& name : source.names) {
    descriptors += "    KVASIR_DESCRIBE_ATTENTION_VARIANT(" + name + "),\n";
  }
  source.text = Replaced(kTemplate, "@SOURCE@", std::string(kVariantSourceName));
  source.text = Replaced(source.text, "@SOURCE@", std::string(kVariantSourceName));
  source.text = Replaced(source.text, "@DESCRIPTORS@", descriptors);
  // The user's own last: whatever stands in them is left alone.
  source.text = Replaced(source.text, "@PATH@", Quoted(path));
  source.text = Replaced(source.text, "@HEADER@", std::string(header));
  return source;
}

}  // namespace kvasir
