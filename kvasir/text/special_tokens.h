// SpecialTokens: cuts a text at the tokens that the merge algorithm must never see in pieces: the
// leftmost one first and, of several that begin there, the longest. Immutable after creation; any
// thread may use it.

#ifndef KVASIR_TEXT_SPECIAL_TOKENS_H_
#define KVASIR_TEXT_SPECIAL_TOKENS_H_

#include <array>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kvasir/formats/token_id.h"

namespace kvasir {

struct SpecialToken {
  std::string text;
  TokenId id = kNoToken;
  bool lstrip = false;       // takes the white space before it
  bool rstrip = false;       // takes the white space behind it
  bool single_word = false;  // only where no word character touches it
};

class SpecialTokens {
 public:
  // A stretch of text, or a token when `id` is not kNoToken.
  using Sink = std::function<void(std::string_view text, TokenId id)>;

  SpecialTokens() = default;
  // Empty texts are ignored; of two equal ones the later counts.
  explicit SpecialTokens(std::vector<SpecialToken> tokens);

  // Calls `sink` with the stretches of `text` between tokens and the tokens, in order; never with
  // an empty stretch of text.
  void Split(std::string_view text, const Sink& sink) const;

  // The text of the longest token that stands at `offset`; empty when none does. Valid as long as
  // this object. REQUIRES an offset inside the text.
  std::string_view TextAt(std::string_view text, size_t offset) const;
  std::span<const SpecialToken> tokens() const { return tokens_; }

  bool empty() const { return tokens_.empty(); }

 private:
  // The longest token at `text[offset]`; null when there is none.
  const SpecialToken* MatchAt(std::string_view text, size_t offset) const;

  std::vector<SpecialToken> tokens_;  // sorted by text
  // tokens_ whose text begins with byte b: [first_[b], first_[b + 1]).
  std::array<uint32_t, 257> first_{};
};

}  // namespace kvasir

#endif  // KVASIR_TEXT_SPECIAL_TOKENS_H_
