#include "kvasir/engine/engine.h"

#include <algorithm>
#include <chrono>
#include <optional>
#include <utility>
#include <vector>

#include "kvasir/base/aligned_buffer.h"
#include "kvasir/base/check.h"
#include "kvasir/base/topology.h"
#include "kvasir/engine/batch_builder.h"
#include "kvasir/engine/block_fingerprint.h"
#include "kvasir/engine/cancel_flags.h"
#include "kvasir/engine/memory_plan.h"
#include "kvasir/engine/prefix_loading.h"
#include "kvasir/engine/prefix_sharing.h"
#include "kvasir/engine/sampler.h"
#include "kvasir/engine/scheduler.h"
#include "kvasir/engine/sequence.h"
#include "kvasir/engine/step_cost.h"
#include "kvasir/kernels/cpu_target.h"
#include "kvasir/kv/block_pool.h"

namespace kvasir {
namespace {

using Clock = Sequence::Clock;

std::unique_ptr<PrefixCache> MakePrefixCache(const Model& model, const EngineOptions& options,
                                             const MemoryPlan& plan, BlockPool& pool) {
  if (!options.prefix_cache) return nullptr;
  const Digest fingerprint = BlockFingerprint(model.spec(), plan.kv_layout, options.model_identity,
                                              NumericsClass(ActiveCpuTarget()));
  // One sequence of full length always finds its blocks beside the pinned ones.
  return std::make_unique<PrefixCache>(pool, fingerprint, plan.pinned_block_count_max());
}

std::unique_ptr<TierManager> MakeTiers(const EngineOptions& options, const MemoryPlan& plan,
                                       PrefixCache* cache, std::shared_ptr<BlockPool> pool) {
  if (options.store == nullptr) return nullptr;
  return std::make_unique<TierManager>(*cache, std::move(pool), options.store, plan.tier_windows);
}

// For what was to be stored, when the engine ends.
constexpr std::chrono::seconds kFlushPatience{5};

class BatchingEngine final : public Engine {
 public:
  BatchingEngine(Model& model, const EngineOptions& options, const MemoryPlan& plan,
                 std::unique_ptr<BlockPool> pool, std::optional<BlockSummaries> summaries,
                 AlignedBuffer logits)
      : model_(model),
        context_tokens_(plan.context_tokens),
        kv_bytes_(plan.kv_bytes),
        limits_{.chunk_tokens = options.chunk_tokens,
                .sequence_count_max = options.sequence_count_max,
                .all_logits_rows_max = kPromptLogitRowsMax},
        prompt_budget_{.share = options.prompt_share, .seconds_max = options.step_ms_max / 1000},
        pool_(std::move(pool)),
        prefix_cache_(MakePrefixCache(model, options, plan, *pool_)),
        tiers_(MakeTiers(options, plan, prefix_cache_.get(), pool_)),
        sharing_(prefix_cache_.get(), tiers_.get(), *pool_,
                 /*prompts_only=*/options.block_select_tokens > 0),
        summaries_(std::move(summaries)),
        logits_(std::move(logits)),
        builder_(*pool_, options.chunk_tokens, options.sequence_count_max) {
    if (tiers_ != nullptr) {
      loading_.emplace(*tiers_, sharing_, [this](size_t token_start, size_t token_count) {
        return ComputeSeconds(token_start, token_count);
      });
    }
    if (!summaries_) return;
    BatchBlockSelect select;
    select.options.budget_blocks =
        static_cast<int32_t>(options.block_select_tokens / kKvBlockTokens);
    select.summaries = &*summaries_;
    select.page_allocations = pool_->allocation_counts();
    builder_.SelectBlocks(select);
  }

  ~BatchingEngine() override {
    for (const auto& sequence : sequences_) sequence->Finish(FinishReason::kCancelled);
    RemoveFinished();
    Flush(Clock::now() + kFlushPatience);
  }

  Result<RequestId> Submit(Request request, TokenSink& sink) override {
    KVASIR_RETURN_IF_ERROR(Check(request));
    const RequestId id = next_id_++;
    cancel_flags_.Add(id);
    sequences_.push_back(std::make_unique<Sequence>(id, std::move(request), sink, *pool_));
    all_wait_ = false;
    submitted_ = true;
    return id;
  }

  Status Check(const Request& request) const override {
    return CheckRequest(request, model_.spec().vocab_size, context_tokens_);
  }

  void Cancel(RequestId id) override {
    cancel_flags_.Cancel(id);
    if (tiers_ != nullptr) tiers_->Wake();
  }

  bool Step() override {
    const Clock::time_point start = Clock::now();
    FinishCancelled();
    FinishLate(start);
    if (tiers_ != nullptr) tiers_->Collect(start);
    PlanStep(start);
    if (!plan_.work.empty()) {
      BuildBatch();
      const MatrixView<float> logits = BatchLogits();
      if (Status status = model_.Forward(builder_.batch(), logits); status.ok()) {
        Deliver(logits);
        CountStep(std::chrono::duration<double>(Clock::now() - start).count());
      } else {
        FailBatch(status);
      }
    }
    RemoveFinished();
    if (tiers_ != nullptr) tiers_->AdvanceStores(Clock::now());
    // Whoever came during the step has not been looked at.
    all_wait_ = plan_.work.empty() && !sequences_.empty() && !submitted_;
    if (all_wait_ && !tiers_->has_waker()) tiers_->WaitUntil(NextStep().value_or(start));
    return !sequences_.empty();
  }

  std::optional<Clock::time_point> NextStep() const override {
    const bool runs = !sequences_.empty() && !all_wait_;
    if (runs || cancel_flags_.pending()) return Clock::time_point::min();
    if (tiers_ == nullptr) return std::nullopt;
    std::optional<Clock::time_point> next = tiers_->NextAdvance(Clock::now());
    for (const auto& sequence : sequences_) {
      const auto& deadline = sequence->request().deadline;
      if (deadline) next = std::min(next.value_or(*deadline), *deadline);
    }
    return next;
  }

  void SetWaker(std::function<void()> waker) override {
    if (tiers_ != nullptr) tiers_->SetWaker(std::move(waker));
  }

  void Flush(Clock::time_point deadline) override {
    if (tiers_ != nullptr) tiers_->Flush(deadline);
  }

  EngineStats stats() const override {
    EngineStats stats = counts_;
    stats.waiting_count = sequences_.size() - running_count_;
    stats.running_count = running_count_;
    stats.running_count_max = limits_.sequence_count_max;
    for (size_t i = 0; i < sequences_.size(); ++i) {
      const Sequence& sequence = *sequences_[i];
      if (i >= running_count_) stats.waiting_token_count += sequence.prompt().size();
      stats.unread_token_count += sequence.tokens().size() - sequence.blocks().token_count();
    }
    stats.block_count = pool_->block_count();
    stats.free_block_count = pool_->free_count();
    stats.cached_block_count = pool_->kept_count();
    if (prefix_cache_ != nullptr) {
      stats.pinned_block_count = prefix_cache_->index().pinned_block_count();
      stats.evicted_block_count = prefix_cache_->index().evicted_count();
    }
    stats.used_block_count = stats.block_count - stats.free_block_count - stats.cached_block_count;
    stats.kv_bytes = kv_bytes_;
    stats.kv_format = KvLayoutName(pool_->layout());
    stats.kv_bits_per_element = pool_->layout().bits_per_element();
    stats.kv_rotated = pool_->layout().rotates();
    if (tiers_ != nullptr) stats.tier = tiers_->stats();
    return stats;
  }

  PrefixCache* prefix_cache() override { return prefix_cache_.get(); }
  TierManager* tiers() override { return tiers_.get(); }
  size_t context_tokens() const override { return context_tokens_; }

 private:
  void FinishCancelled() {
    if (!cancel_flags_.TakePending()) return;
    for (const auto& sequence : sequences_) {
      if (cancel_flags_.IsCancelled(sequence->id())) sequence->Finish(FinishReason::kCancelled);
    }
    RemoveFinished();
  }

  void FinishLate(Clock::time_point now) {
    bool found = false;
    for (const auto& sequence : sequences_) {
      const auto& deadline = sequence->request().deadline;
      if (!deadline || *deadline > now) continue;
      sequence->Finish(
          FinishReason::kDeadline,
          Status(StatusCode::kDeadlineExceeded, "the deadline passed after " +
                                                    std::to_string(sequence->generated().size()) +
                                                    " generated tokens"));
      found = true;
    }
    if (found) RemoveFinished();
  }

  // Asks the scheduler and does what it says about who runs.
  void PlanStep(Clock::time_point now) {
    // By index: sinks hear of cached tokens and may submit.
    for (size_t i = 0; i < running_count_; ++i) Adopt(*sequences_[i]);
    if (loading_) loading_->Advance(sequences_, running_count_, limits_.sequence_count_max, now);
    submitted_ = false;
    sharing_.Describe(sequences_, running_count_, limits_.sequence_count_max - running_count_,
                      &scheduler_view_);
    Schedule({.sequences = scheduler_view_,
              .running_count = running_count_,
              .available_block_count = pool_->available_count(),
              .prompt_rows_max = PromptRows()},
             limits_, &plan_);
    // Whoever is oldest gets rows, unless it waits for the store.
    KVASIR_CHECK(!plan_.work.empty() || scheduler_view_.empty() || scheduler_view_[0].loading);
    for (; running_count_ > plan_.running_count; --running_count_) {
      ReleaseBlocks(*sequences_[running_count_ - 1]);
      ++counts_.preemption_count;
    }
    // Before any block is allocated: what the scheduler counted on is still there.
    for (; running_count_ < plan_.running_count; ++running_count_) {
      sequences_[running_count_]->Admit(now);
      Adopt(*sequences_[running_count_]);
    }
  }

  void Adopt(Sequence& sequence) {
    const PrefixSharing::Adopted adopted = sharing_.Adopt(sequence);
    if (adopted.block_count == 0) return;
    const size_t loaded = adopted.loaded_block_count * kKvBlockTokens;
    const size_t added = sequence.ReportPrefill(true, loaded);
    counts_.cached_token_count += added;
    counts_.loaded_token_count += std::min(added, loaded);
  }

  void ReleaseBlocks(Sequence& sequence) {
    sharing_.Release(sequence);
    if (loading_) loading_->Release(sequence, Clock::now());
  }

  // Seconds of reading so many tokens of a prompt behind `token_start`, with nobody beside; 0 while
  // no step was seen.
  double ComputeSeconds(size_t token_start, size_t token_count) const {
    double seconds = 0;
    for (size_t done = 0; done < token_count; done += limits_.chunk_tokens) {
      const size_t rows = std::min(limits_.chunk_tokens, token_count - done);
      const double keys = double(token_start + done) + double(rows) / 2;
      seconds += step_cost_.Estimate({rows, double(rows) * keys});
    }
    return seconds;
  }

  // Rows for prompts in a step with decodes. Those that wait press as well.
  size_t PromptRows() const {
    StepDemand demand;
    double prompt_keys = 0;
    for (size_t i = 0; i < running_count_; ++i) {
      const SchedulerSequence& s = scheduler_view_[i];
      if (s.computed_count + 1 == s.token_count) {
        ++demand.decode_count;
        demand.decode_key_count += double(s.token_count);
      } else {
        prompt_keys += double(s.computed_count);
      }
    }
    if (demand.decode_count == 0 || demand.decode_count >= limits_.chunk_tokens) {
      return limits_.chunk_tokens;
    }
    demand.prompt_count = sequences_.size() - demand.decode_count;
    const size_t reading_count = running_count_ - demand.decode_count;
    if (reading_count > 0) demand.prompt_key_count = prompt_keys / double(reading_count);
    demand.prompt_rows_max = limits_.chunk_tokens - demand.decode_count;
    return step_cost_.PromptRows(prompt_budget_, demand);
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

  // Publishes what is complete, then samples a token for each sequence that has the logits of its
  // last token; the others have read a piece of their prompt.
  void Deliver(MatrixView<float> logits) {
    size_t row = 0;
    for (const auto& work : plan_.work) {
      Sequence& sequence = *sequences_[work.sequence];
      sharing_.Publish(sequence);
      const size_t row_count = BatchBuilder::LogitRowCount(sequence, work.token_count);
      DeliverTo(sequence, work.token_count, logits, row, row_count);
      row += row_count;
    }
  }

  // `row_count` rows of `logits` from `row` on belong to the last `token_count` tokens in blocks.
  void DeliverTo(Sequence& sequence, size_t token_count, MatrixView<float> logits, size_t row,
                 size_t row_count) {
    const size_t end = sequence.blocks().token_count();
    counts_.prompt_token_count += sequence.ReportPrefill(false);
    if (sequence.wants_all_logits()) {
      for (size_t i = 0; i < row_count; ++i) {
        sequence.TakePromptLogits(end - token_count + i, logits.row_span(row + i));
      }
    }
    if (end < sequence.tokens().size()) return;
    const size_t generated_before = sequence.generated().size();
    const SampledToken token = sampler_.Next(sequence, logits.row_span(row + row_count - 1));
    sequence.TakeToken(token, context_tokens_, Clock::now());
    counts_.generated_token_count += sequence.generated().size() - generated_before;
  }

  void CountStep(double seconds) {
    const size_t row_count = builder_.batch().tokens.size();
    double key_count = 0;
    for (const int32_t position : builder_.batch().positions) key_count += position + 1;
    step_cost_.Observe({row_count, key_count}, seconds);
    ++counts_.step_count;
    counts_.step_seconds.Observe(seconds);
    counts_.batch_rows.Observe(double(row_count));
    counts_.batch_sequences.Observe(double(plan_.work.size()));
  }

  // Nothing is known of the pages of a batch that failed: all of its sequences end, unpublished.
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
        ReleaseBlocks(*sequences_[i]);
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
      ++counts_.finished_counts[size_t(sequence->finish_reason())];
      sequence->NotifyFinish();
    }
  }

  Model& model_;
  const size_t context_tokens_;
  const size_t kv_bytes_;
  const SchedulerLimits limits_;
  const PromptBudget prompt_budget_;
  std::shared_ptr<BlockPool> pool_;            // outlives cache, block tables and the store's work
  std::unique_ptr<PrefixCache> prefix_cache_;  // null when it is off
  std::unique_ptr<TierManager> tiers_;         // null without a store
  PrefixSharing sharing_;
  std::optional<PrefixLoading> loading_;     // with tiers_
  std::optional<BlockSummaries> summaries_;  // of the pool's blocks, for block selection
  AlignedBuffer logits_;                     // [logit rows of a batch, vocab_size]
  BatchBuilder builder_;
  Sampler sampler_;
  StepCost step_cost_;
  std::vector<std::unique_ptr<Sequence>> sequences_;  // in order of arrival
  size_t running_count_ = 0;                          // the first ones hold blocks, the rest wait
  bool submitted_ = false;                            // since the last step was planned
  bool all_wait_ = false;                             // for the store, after the last step
  CancelFlags cancel_flags_;
  RequestId next_id_ = 1;
  EngineStats counts_;  // what is counted alone; stats() fills in the rest
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
  KVASIR_ASSIGN_OR_RETURN(auto pool,
                          BlockPool::Create(plan.kv_layout, plan.block_count, plan.open_counts));
  std::optional<BlockSummaries> summaries;
  if (options.block_select_tokens > 0) {
    KVASIR_ASSIGN_OR_RETURN(summaries, BlockSummaries::Create(plan.kv_layout, plan.block_count));
  }
  KVASIR_ASSIGN_OR_RETURN(auto logits, AlignedBuffer::Allocate(plan.logit_bytes));
  return std::unique_ptr<Engine>(std::make_unique<BatchingEngine>(
      model, options, plan, std::move(pool), std::move(summaries), std::move(logits)));
}

Result<GenerateResult> Generate(Engine& engine, Request request) {
  CollectingSink sink;
  KVASIR_RETURN_IF_ERROR(engine.Submit(std::move(request), sink).status());
  while (!sink.finished) engine.Step();
  KVASIR_RETURN_IF_ERROR(sink.status);
  return std::move(sink.result);
}

}  // namespace kvasir
