// The text side of a Hugging Face directory as TokenizerData: tokenizer.json and its configuration
// as they are, the special ids and chat templates that config.json, generation_config.json,
// tokenizer_config.json and chat_template.jinja name. Reads files; no state.

#ifndef KVASIR_WEIGHTS_HF_TOKENIZER_DATA_H_
#define KVASIR_WEIGHTS_HF_TOKENIZER_DATA_H_

#include <cstdint>
#include <string>
#include <string_view>

#include "kvasir/base/status.h"
#include "kvasir/weights/hf_config.h"
#include "kvasir/weights/tokenizer_data.h"

namespace kvasir {

// Every file is optional. kInvalidArgument when one that is there cannot be understood.
Result<TokenizerData> ReadHfTokenizerData(const std::string& directory, const HfConfig& config,
                                          uint32_t vocab_size);

// The text of member `key` of the JSON object `text`, empty when there is none. Finds it without
// parsing the rest, which in a tokenizer.json is tens of megabytes of vocabulary. `text` need not
// be valid JSON: the result is then some part of it.
std::string_view FindJsonMember(std::string_view text, std::string_view key);

}  // namespace kvasir

#endif  // KVASIR_WEIGHTS_HF_TOKENIZER_DATA_H_
