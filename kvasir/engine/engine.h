// Engine: requests in, tokens out, several sequences in one batch. Step() reads as a sentence:
// admit; schedule; build the batch; forward; sample; deliver; finish. Synchronous: whoever owns the
// engine calls Step until it returns false (EngineLoop does so on a thread of its own). Everything
// except Cancel and Check is for one thread.

#ifndef KVASIR_ENGINE_ENGINE_H_
#define KVASIR_ENGINE_ENGINE_H_

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "kvasir/base/status.h"
#include "kvasir/engine/engine_options.h"
#include "kvasir/engine/engine_stats.h"
#include "kvasir/engine/request.h"
#include "kvasir/kv/prefix_cache.h"
#include "kvasir/kv/tier_manager.h"
#include "kvasir/model/model.h"

namespace kvasir {

class Engine {
 public:
  // `model` must outlive the engine. kInvalidArgument names an option out of bounds;
  // kResourceExhausted when the block pool does not fit in memory, with the sizes (memory_plan.h).
  // Destroying the engine ends what still runs with kCancelled, and gives a store a few seconds for
  // what was to be stored.
  static Result<std::unique_ptr<Engine>> Create(Model& model, const EngineOptions& options);
  virtual ~Engine() = default;

  // Queues a request; tokens go to `sink`, which must live until its OnFinish. What Check says when
  // that is not ok.
  virtual Result<RequestId> Submit(Request request, TokenSink& sink) = 0;

  // CheckRequest with this engine's vocabulary and context; any thread.
  virtual Status Check(const Request& request) const = 0;

  // Ends a request at the next step with kCancelled; any thread; unknown or finished ids are
  // ignored.
  virtual void Cancel(RequestId id) = 0;

  // One forward pass. Returns false when no request is left. When the pass fails, the requests of
  // its batch end with kError; the others go on. When everything waits for a store there is no
  // pass: without a waker Step waits then, with one it returns.
  virtual bool Step() = 0;

  // For who steps only when there is something to do: when to step next, in the past for at once;
  // absent while there is neither a request nor a store that is owed a visit. Earlier when the
  // waker is called, from any thread: a store has answered. It must not block; set before the first
  // Submit.
  virtual std::optional<std::chrono::steady_clock::time_point> NextStep() const = 0;
  virtual void SetWaker(std::function<void()> waker) = 0;
  // Waits until what was to be stored is stored and ready for the next process, or for `deadline`.
  virtual void Flush(std::chrono::steady_clock::time_point deadline) = 0;

  virtual EngineStats stats() const = 0;
  // To look into the prefix cache, pin and drop; null when it is off.
  virtual PrefixCache* prefix_cache() = 0;
  // The tier below it; null without a store.
  virtual TierManager* tiers() = 0;
  virtual size_t context_tokens() const = 0;
};

struct GenerateResult {
  std::vector<TokenId> tokens;
  FinishReason reason = FinishReason::kStop;
};

// Submits one request and steps until it finishes: for tests and simple tools.
Result<GenerateResult> Generate(Engine& engine, Request request);

}  // namespace kvasir

#endif  // KVASIR_ENGINE_ENGINE_H_
