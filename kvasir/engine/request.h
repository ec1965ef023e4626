// Request: tokens in; TokenSink: tokens out. What a caller hands to the engine and what it hears
// back.

#ifndef KVASIR_ENGINE_REQUEST_H_
#define KVASIR_ENGINE_REQUEST_H_

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "kvasir/base/status.h"
#include "kvasir/formats/token_id.h"
#include "kvasir/kernels/sampling.h"

namespace kvasir {

using RequestId = uint64_t;

enum class FinishReason : uint8_t { kStop, kLength, kCancelled, kDeadline, kError };
inline constexpr size_t kFinishReasonCount = 5;
// "stop", "length", "cancelled", "deadline", "error".
std::string_view FinishReasonName(FinishReason reason);

struct TokenLogprob {
  TokenId token = kNoToken;
  float logprob = 0;
  bool operator==(const TokenLogprob&) const = default;
};

// How likely the model found a token: natural logarithms of softmax(its logits), before bias,
// penalties, temperature and cuts.
struct TokenLogprobs {
  float logprob = 0;  // of the token itself
  std::vector<TokenLogprob> top =
      {};  // the likeliest ones, falling; the lowest id first among equals
  bool operator==(const TokenLogprobs&) const = default;
};

struct SampledToken {
  TokenId id = kNoToken;
  const TokenLogprobs* logprobs = nullptr;  // null unless asked for; valid during the call
};

// What reading the prompt took.
struct PromptStats {
  size_t token_count = 0;
  size_t cached_token_count = 0;  // of these: found in the prefix cache, not computed
  size_t loaded_token_count = 0;  // of the cached ones: found in a store, not in memory
  double queue_seconds = 0;       // from the request's arrival until it was let in
  double read_seconds = 0;        // from there to the first token
};

// Receives the tokens of one request, on the thread that steps the engine: it must not block, all
// other requests wait for it. Its methods may call Submit and Cancel of the engine, but not Step.
class TokenSink {
 public:
  virtual ~TokenSink() = default;
  // Prompt tokens read so far, cached ones included, while the prompt is being read; for progress
  // displays.
  virtual void OnPrefillProgress(size_t done, size_t total) {}
  // How likely the prompt's own token at `position` (1, 2, ... in order) was; only when
  // Request::prompt_logprobs. The first token has none. All come before OnPromptRead.
  virtual void OnPromptLogprobs(size_t position, const TokenLogprobs& logprobs) {}
  // The prompt is read; once, before the first token. Not called when the request ends earlier.
  virtual void OnPromptRead(const PromptStats& stats) {}
  // The next token. Returning false ends the request with kStop (a stop string matched, the reader
  // has enough).
  virtual bool OnToken(const SampledToken& token) = 0;
  // Called exactly once, last. `status` explains kError and kDeadline and is ok otherwise.
  virtual void OnFinish(FinishReason reason, const Status& status) = 0;
};

inline constexpr size_t kTopLogprobCountMax = 20;
struct Request {
  std::vector<TokenId> prompt = {};  // at least one token
  size_t token_count_max = 512;      // generated tokens, at least 1
  // Stop tokens cannot be drawn before so many tokens are generated; at most token_count_max.
  size_t token_count_min = 0;
  std::vector<TokenId> stop_tokens = {};  // end the answer and are not delivered
  SamplingParams sampling = {};
  std::vector<LogitBias> logit_bias = {};  // before penalties and temperature
  // Delivers logprobs with each token, and those of the top_logprob_count likeliest, 0..20.
  bool logprobs = false;
  size_t top_logprob_count = 0;
  // Delivers them for the prompt as well. The prompt is then computed in full: the cache holds no
  // logits.
  bool prompt_logprobs = false;
  // Only requests with the same salt share cached blocks: the tenant, or a group that shares.
  std::string cache_salt = {};
  bool cache_read = true;   // false: computes its prompt as if nothing were cached
  bool cache_write = true;  // false: leaves nothing behind in the cache
  // When the request ends with kDeadline, wherever it is.
  std::optional<std::chrono::steady_clock::time_point> deadline = {};
  // When the request came in, for PromptStats; unset = at Submit.
  std::optional<std::chrono::steady_clock::time_point> arrival = {};
};

// Whether an engine with this vocabulary and context can serve the request. kInvalidArgument when
// the prompt is empty, holds an id outside the vocabulary, or does not fit into the context with
// one new token, or a parameter is out of bounds: the message names the value and what is allowed.
Status CheckRequest(const Request& request, size_t vocab_size, size_t context_tokens);

}  // namespace kvasir

#endif  // KVASIR_ENGINE_REQUEST_H_
