// The reading of what chat and text completions share: sampling, limits, streaming, cache, and the
// members that are known but refused. Internal to the two request parsers. Pure functions.

#ifndef KVASIR_SERVER_OPENAI_PARAMS_H_
#define KVASIR_SERVER_OPENAI_PARAMS_H_

#include <string>
#include <vector>

#include "kvasir/server/openai_request.h"
#include "kvasir/server/request_json.h"

namespace kvasir {

// Reads all shared members into `params`; a mistake is left in the reader.
void ReadGenerationParams(ObjectReader* reader, const ApiLimits& limits, GenerationParams* params);

// Last: collects the members that nobody read, and refuses them when limits.strict.
void FinishReading(ObjectReader* reader, const ApiLimits& limits, GenerationParams* params);

// The elements of an array as token ids.
ApiError ParseTokenIds(const Json& list, const std::string& path, size_t vocab_size,
                       std::vector<TokenId>* ids);

}  // namespace kvasir

#endif  // KVASIR_SERVER_OPENAI_PARAMS_H_
