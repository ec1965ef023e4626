// The tokenizer that a Hugging Face tokenizer.json describes: BPE and unigram models with the
// normalizers, pre-tokenizers, decoders and templates that the supported families use.

#ifndef KVASIR_TEXT_TOKENIZER_JSON_H_
#define KVASIR_TEXT_TOKENIZER_JSON_H_

#include <memory>

#include "kvasir/text/tokenizer.h"

namespace kvasir {

// Tokenizer::Create for data with a tokenizer.json; errors as there. What tokenizer.json leaves
// open (bos, eos) comes from `data`, then from tokenizer_config.json.
Result<std::unique_ptr<Tokenizer>> MakeJsonTokenizer(const TokenizerData& data);

}  // namespace kvasir

#endif  // KVASIR_TEXT_TOKENIZER_JSON_H_
