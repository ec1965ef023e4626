// Logprobs: how likely a model finds tokens, from a row of its logits. Pure functions, any thread.

#ifndef KVASIR_ENGINE_LOGPROBS_H_
#define KVASIR_ENGINE_LOGPROBS_H_

#include <cstddef>
#include <span>
#include <vector>

#include "kvasir/engine/request.h"
#include "kvasir/formats/token_id.h"

namespace kvasir {

// Of `token` and of the `top_count` likeliest tokens: log(softmax(logits)), the sum in double. A
// token without a chance (-inf, NaN) has the lowest float. REQUIRES a token of the row.
TokenLogprobs LogprobsOf(std::span<const float> logits, TokenId token, size_t top_count);

}  // namespace kvasir

#endif  // KVASIR_ENGINE_LOGPROBS_H_
