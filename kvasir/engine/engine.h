// Engine: requests in, tokens out, several sequences in one batch. Step() reads as a sentence:
// admit; schedule; build the batch; forward; sample; deliver; finish. Synchronous: whoever owns the
// engine calls Step until it returns false. Everything except Cancel is for one thread.

#ifndef KVASIR_ENGINE_ENGINE_H_
#define KVASIR_ENGINE_ENGINE_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "kvasir/base/status.h"
#include "kvasir/engine/engine_options.h"
#include "kvasir/engine/request.h"
#include "kvasir/model/model.h"

namespace kvasir {

struct EngineStats {
  size_t waiting_count = 0;
  size_t running_count = 0;
  size_t block_count = 0;
  size_t free_block_count = 0;
  size_t kv_bytes = 0;  // of the block pool
  uint64_t step_count = 0;
  uint64_t prompt_token_count = 0;  // computed, not counting recomputation after preemption
  uint64_t generated_token_count = 0;
  uint64_t preemption_count = 0;
};

class Engine {
 public:
  // `model` must outlive the engine. kInvalidArgument names an option out of bounds;
  // kResourceExhausted when the block pool does not fit in memory, with the sizes (memory_plan.h).
  // Destroying the engine ends what still runs with kCancelled.
  static Result<std::unique_ptr<Engine>> Create(Model& model, const EngineOptions& options);
  virtual ~Engine() = default;

  // Queues a request; tokens go to `sink`, which must live until its OnFinish. kInvalidArgument
  // when the prompt is empty, holds an id outside the vocabulary, or does not fit into the context
  // with at least one new token, or a parameter is out of bounds (CheckRequest): the message names
  // both numbers.
  virtual Result<RequestId> Submit(Request request, TokenSink& sink) = 0;

  // Ends a request at the next step with kCancelled; any thread; unknown or finished ids are
  // ignored.
  virtual void Cancel(RequestId id) = 0;

  // One forward pass. Returns false when nothing is left to do. When the pass fails, the requests
  // of its batch end with kError; the others go on.
  virtual bool Step() = 0;

  virtual EngineStats stats() const = 0;
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
