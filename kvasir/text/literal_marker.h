// LiteralMarker: keeps text from strangers text. A chat template mixes what it writes itself, where
// "<|im_end|>" is a special token, with messages, where it must not be. Before rendering, Mark puts
// a character that no text holds into every place of a message that spells a control token, alone
// or together with what may stand beside it; the tokenizer cuts the marks out again after it has
// looked for special tokens (EncodeOptions::literal_mark). The template still sees the message
// almost as it is: it can trim and search it. Immutable after creation; any thread.

#ifndef KVASIR_TEXT_LITERAL_MARKER_H_
#define KVASIR_TEXT_LITERAL_MARKER_H_

#include <string>
#include <string_view>
#include <vector>

#include "kvasir/base/json.h"
#include "kvasir/text/special_tokens.h"
#include "kvasir/text/tokenizer.h"

namespace kvasir {

class LiteralMarker {
 public:
  // Copies the names of the control tokens of `tokenizer`.
  explicit LiteralMarker(const Tokenizer& tokenizer);

  // `text` with marks. REQUIRES a mark that does not occur in it.
  std::string Mark(std::string_view text, std::string_view mark) const;

  // Marks every string in `value`, keys of objects included, and writes to `*mark` what it used:
  // one of the 32 noncharacters U+FDD0 ..., which no text needs. False when `value` holds all of
  // them.
  bool MarkAll(Json* value, std::string* mark) const;

 private:
  SpecialTokens tokens_;
};

// `text` without `mark`.
std::string RemoveMark(std::string_view text, std::string_view mark);

}  // namespace kvasir

#endif  // KVASIR_TEXT_LITERAL_MARKER_H_
