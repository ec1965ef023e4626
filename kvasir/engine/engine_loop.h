// EngineLoop: an engine on a thread of its own: take what came in; step; tell the sinks; sleep when
// there is nothing to do. Owns the engine and the thread, which is the one that calls sinks and
// tasks. Every method may be called from any thread, from sinks too, except where it says
// otherwise.

#ifndef KVASIR_ENGINE_ENGINE_LOOP_H_
#define KVASIR_ENGINE_ENGINE_LOOP_H_

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <optional>

#include "kvasir/base/status.h"
#include "kvasir/engine/engine.h"
#include "kvasir/engine/engine_stats.h"
#include "kvasir/engine/request.h"

namespace kvasir {

struct EngineLoopOptions {
  // Prompt tokens of all requests that wait to be let in. 1..2^40. One request is always taken when
  // none waits.
  size_t queue_tokens_max = 1 << 20;
  // Requests that wait to be let in, 1..1000000.
  size_t queue_count_max = 4096;
};

class EngineLoop {
 public:
  // Starts the thread. kInvalidArgument names an option out of bounds.
  static Result<std::unique_ptr<EngineLoop>> Create(std::unique_ptr<Engine> engine,
                                                    const EngineLoopOptions& options);
  // Stop(). Not on the engine thread.
  virtual ~EngineLoop() = default;

  // Queues a request; `sink` is kept until its OnFinish and called on the engine thread, where it
  // must not block. OnFinish may come before Submit returns. kInvalidArgument as Engine::Check;
  // kResourceExhausted with an estimate of the wait when the queue is full; kCancelled after Drain
  // or Stop. A sink whose request is refused is never called.
  virtual Result<RequestId> Submit(Request request, std::shared_ptr<TokenSink> sink) = 0;

  // Ends a request with kCancelled and frees what it holds after the running step at the latest;
  // unknown and finished ids are ignored.
  virtual void Cancel(RequestId id) = 0;

  // Runs `task` on the engine thread between two steps, waking it when it sleeps: the way to
  // Engine::prefix_cache. It must not block, step or destroy the engine. False when the loop has
  // stopped: the task is not run then.
  virtual bool Post(std::function<void(Engine&)> task) = 0;

  // What the store below the engine's pool counts of itself; absent without one.
  virtual std::optional<StoreStats> store_stats() const = 0;
  // The state after the last step, and what has come in since.
  virtual EngineStats stats() const = 0;
  // How long a request that comes now will probably wait until it is let in: for Retry-After. 0
  // when it would be let in at once.
  virtual double EstimateWaitSeconds() const = 0;
  virtual size_t context_tokens() const = 0;

  // Refuses new requests, waits until all others have ended, at `deadline` cancels the rest, then
  // stops. Returns how many were cancelled. Not on the engine thread.
  virtual size_t Drain(std::chrono::steady_clock::time_point deadline) = 0;
  // Whether Drain or Stop was called.
  virtual bool draining() const = 0;
  // Cancels everything and joins the thread; a second call, or one while another thread drains,
  // hurries that up and waits. Not on the engine thread.
  virtual void Stop() = 0;
};

}  // namespace kvasir

#endif  // KVASIR_ENGINE_ENGINE_LOOP_H_
