// The tokenizer that a GGUF file describes in arrays: vocabulary, types, scores and merges.

#ifndef KVASIR_TEXT_GGUF_TOKENIZER_H_
#define KVASIR_TEXT_GGUF_TOKENIZER_H_

#include <memory>

#include "kvasir/text/tokenizer.h"

namespace kvasir {

// Tokenizer::Create for data with GGUF arrays; errors as there. Models: "gpt2" (byte-level BPE),
// "llama" (SentencePiece BPE), "t5" (SentencePiece unigram, without its character map, which GGUF
// keeps apart).
Result<std::unique_ptr<Tokenizer>> MakeGgufTokenizer(const TokenizerData& data);

}  // namespace kvasir

#endif  // KVASIR_TEXT_GGUF_TOKENIZER_H_
