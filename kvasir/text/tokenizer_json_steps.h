// The parts of tokenizer.json around the model: normalizer, pre_tokenizer, decoder, post_processor.
// Each function reads one of them; kUnimplemented names a kind that is not known, kDataLoss a
// malformed member.

#ifndef KVASIR_TEXT_TOKENIZER_JSON_STEPS_H_
#define KVASIR_TEXT_TOKENIZER_JSON_STEPS_H_

#include <string>
#include <vector>

#include "kvasir/text/normalizer.h"
#include "kvasir/text/pre_tokenizer.h"
#include "kvasir/text/tokenizer_json_value.h"

namespace kvasir {

Status ReadNormalizer(const JsonValue& json, Normalizer& normalizer);

struct JsonPreTokenizer {
  PreTokenizer pre_tokenizer;
  bool byte_level = false;  // what follows works on bytes
};
Status ReadPreTokenizer(const JsonValue& json, JsonPreTokenizer& result);

struct JsonDecoder {
  std::vector<ReplaceStep> replacements;  // in every token
  bool byte_fallback = false;             // "<0x0A>" stands for a byte
  bool byte_level = false;
  bool drop_leading_space = false;
};
Status ReadDecoder(const JsonValue& json, JsonDecoder& decoder);

struct JsonTemplate {
  std::vector<TokenId> prefix;
  std::vector<TokenId> suffix;
};
Status ReadPostProcessor(const JsonValue& json, JsonTemplate& result);

}  // namespace kvasir

#endif  // KVASIR_TEXT_TOKENIZER_JSON_STEPS_H_
