// Normalizer: what a tokenizer changes in a text before it looks for words: a list of steps.
// Immutable after the steps are added; any thread may use it.

#ifndef KVASIR_TEXT_NORMALIZER_H_
#define KVASIR_TEXT_NORMALIZER_H_

#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "kvasir/text/regex.h"
#include "kvasir/text/unicode.h"

namespace kvasir {

// Puts `text` before every stretch that is not empty.
struct PrependStep {
  std::string text;
};
// Replaces every `from`, from left to right. REQUIRES from not empty.
struct ReplaceStep {
  std::string from;
  std::string to;
};
struct RegexReplaceStep {
  Regex from;
  std::string to;
};
// Takes white space away at the ends.
struct StripStep {
  bool left = false;
  bool right = false;
};

using NormalizerStep =
    std::variant<NormalForm, PrependStep, ReplaceStep, RegexReplaceStep, StripStep>;

class Normalizer {
 public:
  void Add(NormalizerStep step) { steps_.push_back(std::move(step)); }
  bool empty() const { return steps_.empty(); }

  // The normalized text; malformed bytes stay.
  std::string Apply(std::string_view text) const;

 private:
  std::vector<NormalizerStep> steps_;
};

}  // namespace kvasir

#endif  // KVASIR_TEXT_NORMALIZER_H_
