#include "kvasir/engine/request.h"

#include <cmath>

#include "kvasir/base/check.h"

namespace kvasir {
namespace {

Status CheckRange(std::string_view name, float value, float lowest, float highest) {
  if (value >= lowest && value <= highest) return OkStatus();  // false for NaN
  return InvalidArgument(std::string(name) + " is " + std::to_string(value) + ", allowed is " +
                         std::to_string(lowest) + " to " + std::to_string(highest));
}

// Bounds far beyond any use, there to keep infinities and NaN out of the logits.
Status CheckSamplingParams(const SamplingParams& params) {
  KVASIR_RETURN_IF_ERROR(CheckRange("temperature", params.temperature, 0, 1000));
  KVASIR_RETURN_IF_ERROR(CheckRange("top_p", params.top_p, 0, 1));
  KVASIR_RETURN_IF_ERROR(CheckRange("min_p", params.min_p, 0, 1));
  KVASIR_RETURN_IF_ERROR(CheckRange("repetition_penalty", params.repetition_penalty, 0.001f, 1000));
  KVASIR_RETURN_IF_ERROR(CheckRange("presence_penalty", params.presence_penalty, -1000, 1000));
  return CheckRange("frequency_penalty", params.frequency_penalty, -1000, 1000);
}

Status CheckLogitBias(const std::vector<LogitBias>& biases, size_t vocab_size) {
  for (const auto& [token, bias] : biases) {
    if (token < 0 || static_cast<size_t>(token) >= vocab_size) {
      return InvalidArgument("logit_bias names the token " + std::to_string(token) +
                             ", the vocabulary has the ids 0 to " + std::to_string(vocab_size - 1));
    }
    KVASIR_RETURN_IF_ERROR(
        CheckRange("the logit_bias of token " + std::to_string(token), bias, -1000, 1000));
  }
  return OkStatus();
}

}  // namespace

std::string_view FinishReasonName(FinishReason reason) {
  switch (reason) {
    case FinishReason::kStop:
      return "stop";
    case FinishReason::kLength:
      return "length";
    case FinishReason::kCancelled:
      return "cancelled";
    case FinishReason::kDeadline:
      return "deadline";
    case FinishReason::kError:
      return "error";
  }
  KVASIR_CHECK(false);
}

Status CheckRequest(const Request& request, size_t vocab_size, size_t context_tokens) {
  if (request.prompt.empty()) {
    return InvalidArgument("the prompt is empty, it must have at least 1 token");
  }
  if (request.prompt.size() >= context_tokens) {
    return InvalidArgument("the prompt has " + std::to_string(request.prompt.size()) +
                           " tokens, at most " + std::to_string(context_tokens - 1) +
                           " fit beside one new token into the context of " +
                           std::to_string(context_tokens));
  }
  for (size_t i = 0; i < request.prompt.size(); ++i) {
    const TokenId token = request.prompt[i];
    if (token >= 0 && static_cast<size_t>(token) < vocab_size) continue;
    return InvalidArgument("prompt token " + std::to_string(i) + " has the id " +
                           std::to_string(token) + ", the vocabulary has the ids 0 to " +
                           std::to_string(vocab_size - 1));
  }
  if (request.token_count_max == 0) {
    return InvalidArgument("token_count_max is 0, it must be at least 1");
  }
  if (request.token_count_min > request.token_count_max) {
    return InvalidArgument("token_count_min is " + std::to_string(request.token_count_min) +
                           ", allowed is 0 to token_count_max, which is " +
                           std::to_string(request.token_count_max));
  }
  if (request.top_logprob_count > kTopLogprobCountMax) {
    return InvalidArgument("top_logprob_count is " + std::to_string(request.top_logprob_count) +
                           ", allowed is 0 to " + std::to_string(kTopLogprobCountMax));
  }
  KVASIR_RETURN_IF_ERROR(CheckLogitBias(request.logit_bias, vocab_size));
  return CheckSamplingParams(request.sampling);
}

}  // namespace kvasir
