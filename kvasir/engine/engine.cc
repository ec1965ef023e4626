#include "kvasir/engine/engine.h"

#include <algorithm>
#include <atomic>
#include <mutex>
#include <unordered_map>
#include <utility>
#include <vector>

#include "kvasir/base/aligned_buffer.h"
#include "kvasir/base/check.h"
#include "kvasir/base/topology.h"
#include "kvasir/engine/batch_builder.h"
#include "kvasir/engine/memory_plan.h"
#include "kvasir/engine/sampler.h"
#include "kvasir/engine/scheduler.h"
#include "kvasir/engine/sequence.h"
#include "kvasir/kv/block_pool.h"

namespace kvasir {
namespace {

// The one piece of the engine that other threads touch: which requests live, and which of them are
// to be cancelled. Ids that do not live are forgotten at once, so that it stays as small as the
// queue.
class CancelFlags {
 public:
  void Add(RequestId id) {
    std::lock_guard lock(mutex_);
    cancelled_.emplace(id, false);
  }
  void Remove(RequestId id) {
    std::lock_guard lock(mutex_);
    cancelled_.erase(id);
  }
  void Cancel(RequestId id) {
    std::lock_guard lock(mutex_);
    const auto found = cancelled_.find(id);
    if (found == cancelled_.end()) return;
    found->second = true;
    pending_.store(true, std::memory_order_release);
  }
  // True once after a Cancel of a living request.
  bool TakePending() {
    return pending_.load(std::memory_order_acquire) &&
           pending_.exchange(false, std::memory_order_acq_rel);
  }
  bool IsCancelled(RequestId id) const {
    std::lock_guard lock(mutex_);
    const auto found = cancelled_.find(id);
    return found != cancelled_.end() && found->second;
  }

 private:
  mutable std::mutex mutex_;
  std::unordered_map<RequestId, bool> cancelled_;  // by living request
  std::atomic<bool> pending_{false};
};

class BatchingEngine final : public Engine {
 public:
  BatchingEngine(Model& model, const EngineOptions& options, const MemoryPlan& plan,
                 std::unique_ptr<BlockPool> pool, AlignedBuffer logits)
      : model_(model),
        context_tokens_(plan.context_tokens),
        limits_{.chunk_tokens = options.chunk_tokens,
                .sequence_count_max = options.sequence_count_max},
        pool_(std::move(pool)),
        logits_(std::move(logits)),
        builder_(*pool_, options.chunk_tokens, options.sequence_count_max) {}

  ~BatchingEngine() override {
    for (const auto& sequence : sequences_) sequence->Finish(FinishReason::kCancelled);
    RemoveFinished();
  }

  Result<RequestId> Submit(Request request, TokenSink& sink) override {
    KVASIR_RETURN_IF_ERROR(Check(request));
    const RequestId id = next_id_++;
    cancel_flags_.Add(id);
    sequences_.push_back(std::make_unique<Sequence>(id, std::move(request), sink, *pool_));
    return id;
  }

  Status Check(const Request& request) const override {
    return CheckRequest(request, model_.spec().vocab_size, context_tokens_);
  }

  void Cancel(RequestId id) override { cancel_flags_.Cancel(id); }

  bool Step() override {
    FinishCancelled();
    PlanStep();
    if (!plan_.work.empty()) {
      BuildBatch();
      const MatrixView<float> logits = BatchLogits();
      if (Status status = model_.Forward(builder_.batch(), logits); status.ok()) {
        Deliver(logits);
      } else {
        FailBatch(status);
      }
    }
    RemoveFinished();
    return !sequences_.empty();
  }

  EngineStats stats() const override {
    EngineStats stats = counts_;
    stats.waiting_count = sequences_.size() - running_count_;
    stats.running_count = running_count_;
    stats.block_count = pool_->block_count();
    stats.free_block_count = pool_->free_count();
    stats.kv_bytes = pool_->block_count() * pool_->layout().block_bytes();
    return stats;
  }

  PrefixCache* prefix_cache() override { return nullptr; }
  size_t context_tokens() const override { return context_tokens_; }

 private:
  void FinishCancelled() {
    if (!cancel_flags_.TakePending()) return;
    for (const auto& sequence : sequences_) {
      if (cancel_flags_.IsCancelled(sequence->id())) sequence->Finish(FinishReason::kCancelled);
    }
    RemoveFinished();
  }

  // Asks the scheduler and does what it says about who runs.
  void PlanStep() {
    scheduler_view_.clear();
    for (const auto& sequence : sequences_) {
      scheduler_view_.push_back({.token_count = sequence->tokens().size(),
                                 .computed_count = sequence->blocks().token_count(),
                                 .block_count = sequence->blocks().blocks().size()});
    }
    Schedule({.sequences = scheduler_view_,
              .running_count = running_count_,
              .free_block_count = pool_->free_count()},
             limits_, &plan_);
    KVASIR_CHECK(sequences_.empty() || !plan_.work.empty());
    for (; running_count_ > plan_.running_count; --running_count_) {
      sequences_[running_count_ - 1]->blocks().Clear();
      ++counts_.preemption_count;
    }
    running_count_ = plan_.running_count;
  }

  void BuildBatch() {
    builder_.Start();
    for (const auto& [index, token_count] : plan_.work) {
      Sequence& sequence = *sequences_[index];
      KVASIR_CHECK(sequence.blocks().Extend(token_count).ok());  // the scheduler counted the blocks
      builder_.Add(sequence, token_count);
    }
  }

  MatrixView<float> BatchLogits() const {
    const size_t row_count = builder_.batch().logit_rows.size();
    return {logits_.as<float>(), row_count, model_.spec().vocab_size};
  }

  // Samples a token for each sequence that has logits; the others have read a piece of their
  // prompt.
  void Deliver(MatrixView<float> logits) {
    ++counts_.step_count;
    size_t row = 0;
    for (const auto& work : plan_.work) {
      Sequence& sequence = *sequences_[work.sequence];
      counts_.prompt_token_count += sequence.ReportPrefill();
      if (sequence.blocks().token_count() < sequence.tokens().size()) continue;
      const size_t generated_before = sequence.generated().size();
      sequence.TakeToken(sampler_.Next(sequence, logits.row_span(row++)), context_tokens_);
      counts_.generated_token_count += sequence.generated().size() - generated_before;
    }
  }

  // Nothing is known of the pages of a batch that failed: all of its sequences end.
  void FailBatch(const Status& status) {
    for (const auto& work : plan_.work) {
      sequences_[work.sequence]->Finish(FinishReason::kError, status);
    }
  }

  // Takes the finished sequences out of the line, frees their blocks and tells their sinks, last,
  // because a sink may submit its next request.
  void RemoveFinished() {
    std::vector<std::unique_ptr<Sequence>> finished;
    size_t kept = 0, kept_running = 0;
    for (size_t i = 0; i < sequences_.size(); ++i) {
      if (sequences_[i]->finished()) {
        sequences_[i]->blocks().Clear();
        finished.push_back(std::move(sequences_[i]));
        continue;
      }
      kept_running += i < running_count_;
      if (kept != i) sequences_[kept] = std::move(sequences_[i]);
      ++kept;
    }
    sequences_.resize(kept);
    running_count_ = kept_running;
    for (const auto& sequence : finished) {
      cancel_flags_.Remove(sequence->id());
      sequence->NotifyFinish();
    }
  }

  Model& model_;
  const size_t context_tokens_;
  const SchedulerLimits limits_;
  std::unique_ptr<BlockPool> pool_;  // outlives the block tables of the sequences
  AlignedBuffer logits_;             // [logit rows of a batch, vocab_size]
  BatchBuilder builder_;
  Sampler sampler_;
  std::vector<std::unique_ptr<Sequence>> sequences_;  // in order of arrival
  size_t running_count_ = 0;                          // the first ones hold blocks, the rest wait
  CancelFlags cancel_flags_;
  RequestId next_id_ = 1;
  EngineStats counts_;  // the counters alone; stats() fills in the rest
  // Of the current step, kept for their memory.
  std::vector<SchedulerSequence> scheduler_view_;
  StepPlan plan_;
};

// Collects the answer of Generate.
class CollectingSink final : public TokenSink {
 public:
  bool OnToken(const SampledToken& token) override {
    result.tokens.push_back(token.id);
    return true;
  }
  void OnFinish(FinishReason reason, const Status& finish_status) override {
    result.reason = reason;
    status = finish_status;
    finished = true;
  }

  GenerateResult result;
  Status status;
  bool finished = false;
};

}  // namespace

Result<std::unique_ptr<Engine>> Engine::Create(Model& model, const EngineOptions& options) {
  KVASIR_ASSIGN_OR_RETURN(const MemoryPlan plan, PlanMemory(model, options));
  KVASIR_RETURN_IF_ERROR(CheckMemoryPlanFits(plan, AvailableMemoryBytes()));
  KVASIR_ASSIGN_OR_RETURN(auto pool, BlockPool::Create(plan.kv_layout, plan.block_count));
  KVASIR_ASSIGN_OR_RETURN(auto logits, AlignedBuffer::Allocate(plan.logit_bytes));
  return std::unique_ptr<Engine>(
      std::make_unique<BatchingEngine>(model, options, plan, std::move(pool), std::move(logits)));
}

Result<GenerateResult> Generate(Engine& engine, Request request) {
  CollectingSink sink;
  KVASIR_RETURN_IF_ERROR(engine.Submit(std::move(request), sink).status());
  while (!sink.finished) engine.Step();
  KVASIR_RETURN_IF_ERROR(sink.status);
  return std::move(sink.result);
}

}  // namespace kvasir
