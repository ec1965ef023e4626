// Reading tokenizer.json: a parsed value and accessors that answer absent for what is missing or of
// another type. Not kvasir/base/json.h: its ordered objects look each key up in a list, which takes
// minutes for a vocabulary of 262,144 tokens. Pure functions, any thread.

#ifndef KVASIR_TEXT_TOKENIZER_JSON_VALUE_H_
#define KVASIR_TEXT_TOKENIZER_JSON_VALUE_H_

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "kvasir/base/status.h"
#include "kvasir/formats/token_id.h"

namespace kvasir {

using JsonValue = nlohmann::json;

// kInvalidArgument says where and what; at most 64 levels and 256 MiB (Gemma's has 33 MB).
Result<JsonValue> ParseTokenizerJson(std::string_view text);

// The member `key`; null when `object` is no object, lacks it or has JSON's null there.
const JsonValue* FindMember(const JsonValue& object, const char* key);

// Its text or truth; the default when it is not of that type.
std::string StringOr(const JsonValue& object, const char* key, std::string_view otherwise);
bool BoolOr(const JsonValue& object, const char* key, bool otherwise);
// An id; kNoToken when `value` is no integer in [0, 2^24): larger vocabularies do not exist and
// would only cost memory.
TokenId ReadTokenId(const JsonValue& value);

}  // namespace kvasir

#endif  // KVASIR_TEXT_TOKENIZER_JSON_VALUE_H_
