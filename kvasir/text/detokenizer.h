// Detokenizer: token ids one at a time -> text that never ends inside a UTF-8 character. The
// concatenation of all pieces plus Finish() is Tokenizer::Decode of all ids, byte for byte. One per
// answer; not for concurrent use.

#ifndef KVASIR_TEXT_DETOKENIZER_H_
#define KVASIR_TEXT_DETOKENIZER_H_

#include <string>

#include "kvasir/text/tokenizer.h"

namespace kvasir {

class Detokenizer {
 public:
  // `tokenizer` must outlive this object.
  Detokenizer(const Tokenizer& tokenizer, DecodeOptions options);

  // The text that `id` completes: may be empty (inside a character) or hold more than the token's
  // own bytes.
  std::string Push(TokenId id);
  // Bytes still held back at the end of an answer (an incomplete character), as they are.
  std::string Finish();

 private:
  const Tokenizer& tokenizer_;
  DecodeOptions options_;
  bool at_start_ = true;
  std::string pending_;
};

}  // namespace kvasir

#endif  // KVASIR_TEXT_DETOKENIZER_H_
