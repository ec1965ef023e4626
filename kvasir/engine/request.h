// Request: tokens in; TokenSink: tokens out. What a caller hands to the engine and what it hears
// back.

#ifndef KVASIR_ENGINE_REQUEST_H_
#define KVASIR_ENGINE_REQUEST_H_

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "kvasir/base/status.h"
#include "kvasir/formats/token_id.h"
#include "kvasir/kernels/sampling.h"

namespace kvasir {

using RequestId = uint64_t;

enum class FinishReason : uint8_t { kStop, kLength, kCancelled, kError };
std::string_view FinishReasonName(FinishReason reason);  // "stop", "length", "cancelled", "error"

// Receives the tokens of one request, on the thread that calls Engine::Step. Its methods may call
// Submit and Cancel of the engine, but not Step.
class TokenSink {
 public:
  virtual ~TokenSink() = default;
  // The next token. Returning false ends the request with kStop (a stop string matched, the reader
  // has enough).
  virtual bool OnToken(TokenId token) = 0;
  // Prompt tokens computed so far, while the prompt is being read; for progress displays.
  virtual void OnPrefillProgress(size_t done, size_t total) {}
  // Called exactly once, last. `status` explains kError and is ok otherwise.
  virtual void OnFinish(FinishReason reason, const Status& status) = 0;
};

struct Request {
  std::vector<TokenId> prompt;       // at least one token
  size_t token_count_max = 512;      // generated tokens, at least 1
  std::vector<TokenId> stop_tokens;  // end the answer and are not delivered
  SamplingParams sampling;
};

// Whether an engine with this vocabulary and context can serve the request. kInvalidArgument when
// the prompt is empty, holds an id outside the vocabulary, or does not fit into the context with
// one new token, or a parameter is out of bounds: the message names the value and what is allowed.
Status CheckRequest(const Request& request, size_t vocab_size, size_t context_tokens);

}  // namespace kvasir

#endif  // KVASIR_ENGINE_REQUEST_H_
