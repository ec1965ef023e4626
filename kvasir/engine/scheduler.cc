#include "kvasir/engine/scheduler.h"

#include <algorithm>

#include "kvasir/formats/kv_block_layout.h"

namespace kvasir {
namespace {

constexpr size_t kNoWork = std::numeric_limits<size_t>::max();

size_t BlocksFor(size_t token_count) { return (token_count + kKvBlockTokens - 1) / kKvBlockTokens; }

bool IsDecode(const SchedulerSequence& s) { return s.computed_count + 1 == s.token_count; }

// Blocks of its own that a sequence still takes until it is one block's worth of tokens longer than
// now.
size_t BlocksAhead(const SchedulerSequence& s) {
  return BlocksFor(s.token_count + kKvBlockTokens) - s.block_count - s.awaited_block_count;
}

class StepPlanner {
 public:
  StepPlanner(const SchedulerState& state, const SchedulerLimits& limits, StepPlan* plan)
      : state_(state),
        limits_(limits),
        plan_(plan),
        available_block_count_(state.available_block_count),
        rows_left_(limits.chunk_tokens),
        all_logits_rows_left_(limits.all_logits_rows_max) {
    plan_->work.clear();
    plan_->work_of.assign(state.sequences.size(), kNoWork);
    plan_->running_count = state.running_count;
  }

  // Preemption shortens the line while this walks along it.
  void ContinueDecodes() {
    for (size_t i = 0; i < plan_->running_count && rows_left_ > 0; ++i) {
      if (IsDecode(state_.sequences[i]) && !state_.sequences[i].loading) Give(i, 1);
    }
    if (!plan_->work.empty()) rows_left_ = std::min(rows_left_, state_.prompt_rows_max);
  }

  // Lets in sequences from the head of the queue as long as seats and blocks last. Blocks suffice
  // when everything that runs can reach its next block beyond its known tokens: otherwise the
  // newcomer would soon be preempted, or its prompt computed for nothing. Alone it may always come
  // in.
  void Admit() {
    if (plan_->running_count < state_.running_count) return;  // there was no room for those inside
    size_t promised = 0;
    for (size_t i = 0; i < state_.running_count; ++i) promised += BlocksAhead(state_.sequences[i]);
    while (plan_->running_count < limits_.sequence_count_max &&
           plan_->running_count < state_.sequences.size()) {
      const SchedulerSequence& next = state_.sequences[plan_->running_count];
      promised += BlocksAhead(next) + next.own_block_count;
      if (plan_->running_count > 0 && promised > state_.available_block_count) return;
      available_block_count_ -= next.own_block_count;
      ++plan_->running_count;
    }
  }

  void SharePrompts() {
    RankPrompts();
    // The oldest first: the smallest index among those that have something to do.
    size_t oldest = kNoLeader;
    for (const auto& [tokens, i] : plan_->prompts_by_urgency) oldest = std::min(oldest, i);
    if (oldest != kNoLeader) Give(oldest, (rows_left_ + 1) / 2);
    for (const auto& [tokens, i] : plan_->prompts_by_urgency) {
      if (rows_left_ == 0) return;
      if (i < plan_->running_count) Give(i, rows_left_);
    }
  }

 private:
  // The prompts that do not wait for another sequence or a store, the least to read first.
  void RankPrompts() {
    auto& prompts = plan_->prompts_by_urgency;
    prompts.clear();
    for (size_t i = 0; i < plan_->running_count; ++i) {
      const SchedulerSequence& s = state_.sequences[i];
      const size_t tokens = s.token_count - s.computed_count;
      if (s.loading) continue;
      if (s.leader == kNoLeader && (tokens > 1 || RowsOf(i) == 0)) {
        prompts.emplace_back(tokens, i);
        continue;
      }
      for (auto& [leader_tokens, leader] : prompts) {
        if (leader == s.leader) leader_tokens = std::min(leader_tokens, tokens);
      }
    }
    std::sort(prompts.begin(), prompts.end());
  }

  size_t RowsOf(size_t i) const {
    const size_t work = plan_->work_of[i];
    return work == kNoWork ? 0 : plan_->work[work].token_count;
  }

  // Blocks that the sequence holds once it has so many rows.
  static size_t BlocksWithRows(const SchedulerSequence& s, size_t rows) {
    return std::max(s.block_count, BlocksFor(s.computed_count + rows));
  }

  // Tokens that fit behind its rows so far into the blocks that it holds and those available.
  size_t Room(size_t i) const {
    const SchedulerSequence& s = state_.sequences[i];
    const size_t rows = RowsOf(i);
    return (BlocksWithRows(s, rows) + available_block_count_) * kKvBlockTokens - s.computed_count -
           rows;
  }

  // Takes the blocks of the youngest running sequence; false when that is `keep` or has rows.
  bool PreemptYoungest(size_t keep) {
    const size_t victim = plan_->running_count - 1;
    if (victim == keep || RowsOf(victim) > 0) return false;
    --plan_->running_count;
    available_block_count_ += state_.sequences[victim].own_block_count;
    return true;
  }

  // Up to `rows_max` further rows for the sequence, as many as blocks allow, perhaps none.
  void Give(size_t i, size_t rows_max) {
    const SchedulerSequence& s = state_.sequences[i];
    while (Room(i) == 0 && PreemptYoungest(i)) {
    }
    const size_t rows = RowsOf(i);
    size_t count =
        std::min({s.token_count - s.computed_count - rows, rows_max, rows_left_, Room(i)});
    if (s.all_logits) count = std::min(count, all_logits_rows_left_);
    if (count == 0) return;
    available_block_count_ -= BlocksWithRows(s, rows + count) - BlocksWithRows(s, rows);
    rows_left_ -= count;
    if (s.all_logits) all_logits_rows_left_ -= count;
    if (rows > 0) {
      plan_->work[plan_->work_of[i]].token_count += count;
    } else {
      plan_->work_of[i] = plan_->work.size();
      plan_->work.push_back({.sequence = i, .token_count = count});
    }
  }

  const SchedulerState& state_;
  const SchedulerLimits& limits_;
  StepPlan* plan_;
  size_t available_block_count_;
  size_t rows_left_;
  size_t all_logits_rows_left_;
};

}  // namespace

void Schedule(const SchedulerState& state, const SchedulerLimits& limits, StepPlan* plan) {
  StepPlanner planner(state, limits, plan);
  planner.ContinueDecodes();
  planner.Admit();
  planner.SharePrompts();
}

}  // namespace kvasir
