#include "kvasir/engine/scheduler.h"

#include <algorithm>

#include "kvasir/formats/kv_block_layout.h"

namespace kvasir {
namespace {

size_t BlocksFor(size_t token_count) { return (token_count + kKvBlockTokens - 1) / kKvBlockTokens; }

bool IsDecode(const SchedulerSequence& s) { return s.computed_count + 1 == s.token_count; }

// Blocks that a sequence still takes until it is one block's worth of tokens longer than now.
size_t BlocksAhead(const SchedulerSequence& s) {
  return BlocksFor(s.token_count + kKvBlockTokens) - s.block_count;
}

class StepPlanner {
 public:
  StepPlanner(const SchedulerState& state, const SchedulerLimits& limits, StepPlan* plan)
      : state_(state),
        limits_(limits),
        plan_(plan),
        free_block_count_(state.free_block_count),
        budget_(limits.chunk_tokens) {
    plan_->work.clear();
    plan_->running_count = state.running_count;
  }

  // Rows for the running sequences that are decodes, or that are not. Preemption shortens the line
  // while this walks along it.
  void Continue(bool decodes) {
    for (size_t i = 0; i < plan_->running_count && budget_ > 0; ++i) {
      if (IsDecode(state_.sequences[i]) != decodes) continue;
      while (Room(i) == 0 && PreemptYoungest(i)) {
      }
      Give(i);
    }
  }

  // Admits from the head of the queue as long as rows, seats and blocks last. Blocks suffice when
  // everything that runs can reach its next block beyond its known tokens: otherwise the newcomer
  // would soon be preempted, or its prompt computed for nothing. Alone it may always come in.
  void Admit() {
    if (plan_->running_count < state_.running_count) return;  // there was no room for those inside
    size_t promised = 0;
    for (size_t i = 0; i < state_.running_count; ++i) promised += BlocksAhead(state_.sequences[i]);
    while (budget_ > 0 && plan_->running_count < limits_.sequence_count_max &&
           plan_->running_count < state_.sequences.size()) {
      const size_t next = plan_->running_count;
      promised += BlocksAhead(state_.sequences[next]);
      if (next > 0 && promised > state_.free_block_count) return;
      ++plan_->running_count;
      Give(next);
    }
  }

 private:
  // Tokens that fit into the blocks that sequence `i` holds and those that are free.
  size_t Room(size_t i) const {
    const SchedulerSequence& s = state_.sequences[i];
    return (s.block_count + free_block_count_) * kKvBlockTokens - s.computed_count;
  }

  // Takes the blocks of the youngest running sequence; false when that is `keep` or has rows.
  bool PreemptYoungest(size_t keep) {
    const size_t victim = plan_->running_count - 1;
    const auto is_victim = [&](const StepPlan::Work& work) { return work.sequence == victim; };
    if (victim == keep || std::any_of(plan_->work.begin(), plan_->work.end(), is_victim)) {
      return false;
    }
    --plan_->running_count;
    free_block_count_ += state_.sequences[victim].block_count;
    return true;
  }

  // Rows for as much of the sequence as budget and blocks allow, perhaps none.
  void Give(size_t i) {
    const SchedulerSequence& s = state_.sequences[i];
    const size_t count = std::min({s.token_count - s.computed_count, budget_, Room(i)});
    if (count == 0) return;
    free_block_count_ -= BlocksFor(s.computed_count + count) - s.block_count;
    budget_ -= count;
    plan_->work.push_back({.sequence = i, .token_count = count});
  }

  const SchedulerState& state_;
  const SchedulerLimits& limits_;
  StepPlan* plan_;
  size_t free_block_count_;
  size_t budget_;  // rows left
};

}  // namespace

void Schedule(const SchedulerState& state, const SchedulerLimits& limits, StepPlan* plan) {
  StepPlanner planner(state, limits, plan);
  planner.Continue(/*decodes=*/true);
  planner.Continue(/*decodes=*/false);
  planner.Admit();
}

}  // namespace kvasir
