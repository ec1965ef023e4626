// GGUF's form of a vocabulary from a Hugging Face tokenizer.json: tokens with types, merges or
// scores, and the name of the pre-tokenizer. tokenizer.json says far more than GGUF can: which of
// the forms is meant is found by trying, and the result is held against the original on a text of
// many scripts, so that a vocabulary that would cut words otherwise is refused, not written. Pure
// function; any thread.

#ifndef KVASIR_TEXT_GGUF_VOCABULARY_H_
#define KVASIR_TEXT_GGUF_VOCABULARY_H_

#include <cstddef>

#include "kvasir/base/status.h"
#include "kvasir/weights/tokenizer_data.h"

namespace kvasir {

// `data` with exactly `vocab_size` tokens in the GGUF arrays and without tokenizer_json: ids that
// name no token become unused ones, ids beyond it are dropped. Returned as it is when it is in that
// form already, or empty. kUnimplemented when no form of GGUF gives the ids of the original,
// kDataLoss when tokenizer.json is malformed.
Result<TokenizerData> ToGgufVocabulary(const TokenizerData& data, size_t vocab_size);

}  // namespace kvasir

#endif  // KVASIR_TEXT_GGUF_VOCABULARY_H_
