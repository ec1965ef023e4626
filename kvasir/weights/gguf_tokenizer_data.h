// The tokenizer.* metadata of a GGUF file as TokenizerData. Pure function.

#ifndef KVASIR_WEIGHTS_GGUF_TOKENIZER_DATA_H_
#define KVASIR_WEIGHTS_GGUF_TOKENIZER_DATA_H_

#include <cstdint>

#include "kvasir/base/status.h"
#include "kvasir/weights/gguf.h"
#include "kvasir/weights/tokenizer_data.h"

namespace kvasir {

// Empty data when the file has no tokens. kInvalidArgument when arrays do not fit each other or a
// token id lies outside the vocabulary of `vocab_size`.
Result<TokenizerData> ReadGgufTokenizerData(const GgufFile& file, uint32_t vocab_size);

}  // namespace kvasir

#endif  // KVASIR_WEIGHTS_GGUF_TOKENIZER_DATA_H_
