#include "kvasir/text/regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <cstdint>

namespace kvasir {

namespace {

// Unicode's White_Space as class members. PCRE2's own \s also has U+180E, which left White_Space in
// Unicode 6.3 and which Oniguruma does not count.
constexpr std::string_view kWhiteSpace =
    R"(\x{09}-\x{0D}\x{20}\x{85}\x{A0}\x{1680}\x{2000}-\x{200A})"
    R"(\x{2028}\x{2029}\x{202F}\x{205F}\x{3000})";

// A pattern longer than this is no pre-tokenizer: the longest in use have about 2,000 bytes.
constexpr size_t kPatternBytesMax = 64 << 10;

// A piece of text is found in a few thousand steps; a pattern that backtracks without end stops
// here after some milliseconds.
constexpr uint32_t kMatchLimit = 1'000'000;
constexpr uint32_t kHeapLimitKib = 64 << 10;
constexpr size_t kJitStackBytesMax = 1 << 20;

// Rewrites \s and \S, and refuses what the two libraries read differently.
Result<std::string> ToPcre2(std::string_view pattern) {
  std::string out;
  bool in_class = false;
  for (size_t i = 0; i < pattern.size(); ++i) {
    const char c = pattern[i];
    if (c == '\\' && i + 1 < pattern.size()) {
      const char escaped = pattern[++i];
      if (escaped == 's') {
        out.append(in_class ? "" : "[").append(kWhiteSpace).append(in_class ? "" : "]");
      } else if (escaped == 'S' && !in_class) {
        out.append("[^").append(kWhiteSpace).append("]");
      } else {
        (out += c) += escaped;
      }
      continue;
    }
    if (in_class) {
      if (c == '[' && pattern.substr(i + 1, 1) != ":") {
        return Unimplemented("regular expression has a class inside a class, which is not known: " +
                             std::string(pattern));
      }
      if (c == '[') {  // [:name:] belongs to the class
        const size_t close = pattern.find(":]", i + 2);
        if (close == std::string_view::npos) {
          return InvalidArgument("regular expression has an open [: in a class: " +
                                 std::string(pattern));
        }
        out.append(pattern.substr(i, close + 2 - i));
        i = close + 1;
        continue;
      }
      if (c == '&' && pattern.substr(i + 1, 1) == "&") {
        return Unimplemented("regular expression has && in a class, which is not known: " +
                             std::string(pattern));
      }
      if (c == ']') in_class = false;
      out += c;
      continue;
    }
    out += c;
    if (c == '[') {
      in_class = true;
      if (pattern.substr(i + 1, 1) == "^") out += pattern[++i];
      if (pattern.substr(i + 1, 1) == "]") out += pattern[++i];  // first, ']' is a member
    }
  }
  return out;
}

}  // namespace

struct Regex::Rep {
  ~Rep() {
    pcre2_match_context_free(context);
    pcre2_code_free(code);
  }
  pcre2_code* code = nullptr;
  pcre2_match_context* context = nullptr;  // limits; read only
  bool jit = false;
};

struct Regex::Scanner::Rep {
  ~Rep() {
    pcre2_match_data_free(match);
    pcre2_match_context_free(context);
    pcre2_jit_stack_free(jit_stack);
  }
  const Regex::Rep* regex = nullptr;
  std::string_view text;
  size_t offset = 0;
  bool exhausted = false;
  pcre2_match_data* match = nullptr;
  pcre2_match_context* context = nullptr;
  pcre2_jit_stack* jit_stack = nullptr;
};

Result<Regex> Regex::Compile(std::string_view pattern) {
  if (pattern.size() > kPatternBytesMax) {
    return InvalidArgument("regular expression has " + std::to_string(pattern.size()) +
                           " bytes, at most " + std::to_string(kPatternBytesMax) + " are allowed");
  }
  KVASIR_ASSIGN_OR_RETURN(const std::string translated, ToPcre2(pattern));
  int error = 0;
  PCRE2_SIZE error_offset = 0;
  auto rep = std::make_unique<Rep>();
  // Oniguruma's ^ and $ are those of lines. \C would cut characters.
  rep->code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(translated.data()), translated.size(),
                            PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C,
                            &error, &error_offset, nullptr);
  if (rep->code == nullptr) {
    PCRE2_UCHAR message[256] = {};
    pcre2_get_error_message(error, message, sizeof(message));
    return InvalidArgument("regular expression " + std::string(pattern) +
                           " is malformed: " + reinterpret_cast<const char*>(message));
  }
  rep->context = pcre2_match_context_create(nullptr);
  if (rep->context == nullptr) return ResourceExhausted("no memory for a regular expression");
  pcre2_set_match_limit(rep->context, kMatchLimit);
  pcre2_set_heap_limit(rep->context, kHeapLimitKib);
  rep->jit = pcre2_jit_compile(rep->code, PCRE2_JIT_COMPLETE) == 0;
  return Regex(std::move(rep));
}

Regex::Regex(std::unique_ptr<const Rep> rep) : rep_(std::move(rep)) {}
Regex::Regex(Regex&&) noexcept = default;
Regex& Regex::operator=(Regex&&) noexcept = default;
Regex::~Regex() = default;

Regex::Scanner::Scanner(const Regex& regex, std::string_view text) : rep_(std::make_unique<Rep>()) {
  rep_->regex = regex.rep_.get();
  rep_->text = text;
  rep_->match = pcre2_match_data_create(1, nullptr);
  rep_->exhausted = rep_->match == nullptr;
}

Regex::Scanner::~Scanner() = default;

bool Regex::Scanner::Next(size_t* begin, size_t* end) {
  Rep& r = *rep_;
  const auto subject = reinterpret_cast<PCRE2_SPTR>(r.text.data());
  while (!r.exhausted && r.offset < r.text.size()) {
    int rc;
    if (r.regex->jit) {
      // Without options and checks: the text is known to be well-formed.
      rc = pcre2_jit_match(r.regex->code, subject, r.text.size(), r.offset, 0, r.match,
                           r.context != nullptr ? r.context : r.regex->context);
      if (rc == PCRE2_ERROR_JIT_STACKLIMIT && r.context == nullptr) {
        r.context = pcre2_match_context_copy(r.regex->context);
        r.jit_stack = pcre2_jit_stack_create(32 << 10, kJitStackBytesMax, nullptr);
        if (r.context != nullptr && r.jit_stack != nullptr) {
          pcre2_jit_stack_assign(r.context, nullptr, r.jit_stack);
          continue;
        }
      }
    } else {
      rc = pcre2_match(r.regex->code, subject, r.text.size(), r.offset, PCRE2_NO_UTF_CHECK, r.match,
                       r.regex->context);
    }
    if (rc == PCRE2_ERROR_JIT_STACKLIMIT) {  // the interpreter's stack is the heap
      rc = pcre2_match(r.regex->code, subject, r.text.size(), r.offset,
                       PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, r.match, r.regex->context);
    }
    if (rc < 0) {
      r.exhausted = true;
      return false;
    }
    const PCRE2_SIZE* span = pcre2_get_ovector_pointer(r.match);
    if (span[1] > span[0] && span[0] >= r.offset) {
      *begin = span[0];
      *end = span[1];
      r.offset = span[1];
      return true;
    }
    // An empty match (or one that \K moved back): go on behind the next character.
    r.offset = std::max<size_t>(r.offset, span[1]) + 1;
    while (r.offset < r.text.size() && (r.text[r.offset] & 0xC0) == 0x80) ++r.offset;
  }
  return false;
}

}  // namespace kvasir
