// PromptMaker: texts that are a wished number of tokens long for a tokenizer that is only known by
// what it counts. A text is a chain of words, drawn from a seed, each of which is one token of that
// tokenizer; which words those are is found out once, by halving. Not thread-safe.

#ifndef KVASIR_LOADGEN_PROMPT_MAKER_H_
#define KVASIR_LOADGEN_PROMPT_MAKER_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "kvasir/base/status.h"

namespace kvasir {

// The number of tokens of a text, without those that a prompt begins or ends with.
using TokenCounter = std::function<Result<size_t>(std::string_view text)>;

class PromptMaker {
 public:
  // Asks `counter` some dozens of times and forgets it. A null one makes every word count as one
  // token: lengths are then estimates. The counter's Status when it fails; kUnimplemented when
  // fewer than kWordCountMin words are one token each.
  static constexpr size_t kWordCountMin = 16;
  static Result<PromptMaker> Create(const TokenCounter& counter);

  // Words with a blank before each, together `token_count` tokens; the same for the same `seed`,
  // and a longer text begins with the shorter one. Texts can be joined: tokens add up.
  std::string Text(uint64_t seed, size_t token_count) const;

  // Whether a tokenizer was asked.
  bool exact() const { return exact_; }

 private:
  PromptMaker() = default;

  std::vector<std::string> words_;  // each with its blank
  bool exact_ = false;
};

// One seed of several numbers; another order is another seed.
uint64_t MixSeeds(uint64_t a, uint64_t b);

}  // namespace kvasir

#endif  // KVASIR_LOADGEN_PROMPT_MAKER_H_
