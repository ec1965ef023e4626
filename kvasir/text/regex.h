// Regex: the regular expressions of pre-tokenizers, which are written for Oniguruma, on PCRE2
// (wrapped here alone). White space is Unicode's, classes follow Unicode properties. Immutable
// after Compile; any thread may search.

#ifndef KVASIR_TEXT_REGEX_H_
#define KVASIR_TEXT_REGEX_H_

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

#include "kvasir/base/status.h"

namespace kvasir {

class Regex {
 public:
  // Finds match after match in one text. Not for concurrent use; the Regex and the text must
  // outlive it.
  class Scanner {
   public:
    // REQUIRES well-formed UTF-8.
    Scanner(const Regex& regex, std::string_view text);
    ~Scanner();
    Scanner(const Scanner&) = delete;
    Scanner& operator=(const Scanner&) = delete;

    // The next match that is not empty. False at the end; also when an expression needs more
    // steps or memory than the limits allow: the rest of the text then counts as not matched.
    bool Next(size_t* begin, size_t* end);

   private:
    struct Rep;
    std::unique_ptr<Rep> rep_;
  };

  // kInvalidArgument quotes the pattern and says what is wrong; kUnimplemented names the constructs
  // in which PCRE2 and Oniguruma differ (nested classes, && in a class).
  static Result<Regex> Compile(std::string_view pattern);

  Regex(Regex&&) noexcept;
  Regex& operator=(Regex&&) noexcept;
  ~Regex();

 private:
  struct Rep;
  explicit Regex(std::unique_ptr<const Rep> rep);
  std::unique_ptr<const Rep> rep_;
};

}  // namespace kvasir

#endif  // KVASIR_TEXT_REGEX_H_
