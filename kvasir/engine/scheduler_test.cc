#include "kvasir/engine/scheduler.h"

#include <algorithm>
#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "kvasir/formats/kv_block_layout.h"

namespace kvasir {
namespace {

using Work = StepPlan::Work;

size_t BlocksFor(size_t token_count) { return (token_count + kKvBlockTokens - 1) / kKvBlockTokens; }

// A sequence that has computed so many of its tokens.
SchedulerSequence Computed(size_t computed_count, size_t token_count) {
  return {token_count, computed_count, BlocksFor(computed_count)};
}

StepPlan ScheduleOf(const std::vector<SchedulerSequence>& sequences, size_t running_count,
                    size_t free_block_count, SchedulerLimits limits = {64, 8}) {
  StepPlan plan;
  Schedule({sequences, running_count, free_block_count}, limits, &plan);
  return plan;
}

TEST(Scheduler, NothingToDo) {
  const StepPlan plan = ScheduleOf({}, 0, 10);
  EXPECT_TRUE(plan.work.empty());
  EXPECT_EQ(plan.running_count, 0);
}

TEST(Scheduler, DecodesFirstThenPromptsInOrderOfArrival) {
  const StepPlan plan = ScheduleOf({Computed(0, 40), Computed(9, 10), Computed(0, 100)}, 3, 20);
  EXPECT_EQ(plan.work, (std::vector<Work>{{1, 1}, {0, 40}, {2, 23}}));
}

TEST(Scheduler, AdmitsWhileRowsSeatsAndBlocksLast) {
  const std::vector<SchedulerSequence> waiting = {Computed(0, 30), Computed(0, 30),
                                                  Computed(0, 30)};
  EXPECT_EQ(ScheduleOf(waiting, 0, 100).work, (std::vector<Work>{{0, 30}, {1, 30}, {2, 4}}));
  EXPECT_EQ(ScheduleOf(waiting, 0, 100, {60, 8}).running_count, 2);
  EXPECT_EQ(ScheduleOf(waiting, 0, 100, {64, 2}).running_count, 2);
  // 30 tokens and 32 more take two blocks.
  EXPECT_EQ(ScheduleOf(waiting, 0, 4).running_count, 2);
  EXPECT_EQ(ScheduleOf(waiting, 0, 3).running_count, 1);
  // Alone a sequence may always come in.
  EXPECT_EQ(ScheduleOf(waiting, 0, 1).work, (std::vector<Work>{{0, 30}}));
}

TEST(Scheduler, AdmissionCountsWhatRunningPromptsWillTake) {
  // The first has 400 tokens to go and 13 blocks are free: none is left for the second.
  EXPECT_EQ(ScheduleOf({Computed(32, 432), Computed(0, 10)}, 1, 13, {512, 8}).running_count, 1);
  EXPECT_EQ(ScheduleOf({Computed(32, 432), Computed(0, 10)}, 1, 16, {512, 8}).running_count, 2);
}

TEST(Scheduler, PreemptsTheYoungestWhenADecodeHasNoBlock) {
  const StepPlan plan = ScheduleOf(
      {Computed(64, 65), Computed(40, 41), Computed(70, 71), Computed(0, 5)}, 3, 0, {64, 8});
  EXPECT_EQ(plan.running_count, 2);
  EXPECT_EQ(plan.work, (std::vector<Work>{{0, 1}, {1, 1}}));
}

TEST(Scheduler, TheYoungestWaitsRatherThanPreemptingItself) {
  const StepPlan plan = ScheduleOf({Computed(10, 11), Computed(32, 33)}, 2, 0);
  EXPECT_EQ(plan.running_count, 2);
  EXPECT_EQ(plan.work, (std::vector<Work>{{0, 1}}));
}

TEST(Scheduler, APromptTakesTheRoomThatThereIs) {
  const StepPlan plan = ScheduleOf({Computed(40, 200), Computed(10, 11)}, 2, 1, {512, 8});
  EXPECT_EQ(plan.work, (std::vector<Work>{{1, 1}, {0, 56}}));
  EXPECT_EQ(plan.running_count, 2);
}

// A queue, a pool and sequences that the scheduler drives by numbers alone.
class Simulation {
 public:
  explicit Simulation(uint32_t seed) : random_(seed) {
    context_tokens_ = 2 + random_() % 400;
    limits_ = {1 + random_() % (random_() % 2 ? 600 : 20), 1 + random_() % 12};
    block_count_ = BlocksFor(context_tokens_) + random_() % 30;
    arrivals_left_ = 60;
    cancels_ = random_() % 2;
  }

  void Run() {
    for (int step = 0; arrivals_left_ > 0 || !line_.empty(); ++step) {
      // Generous: every step moves at least one token, so a stall would show.
      ASSERT_LT(step, 60 * 2 * 402) << "a request starves";
      Arrive();
      if (line_.empty()) continue;
      ASSERT_NO_FATAL_FAILURE(Step());
      Leave();
      ASSERT_EQ(FreeBlocks() + HeldBlocks(), block_count_);
    }
    EXPECT_EQ(FreeBlocks(), block_count_);
    EXPECT_TRUE(std::is_sorted(first_tokens_.begin(), first_tokens_.end()));
  }

  size_t preemption_count() const { return preemption_count_; }

 private:
  struct Simulated {
    int id;
    size_t token_count;
    size_t end_count;  // tokens at which it finishes
    size_t computed_count = 0;
    bool answered = false;
    bool preempted = false;
  };

  size_t HeldBlocks() const {
    size_t held = 0;
    for (size_t i = 0; i < line_.size(); ++i) held += BlocksFor(line_[i].computed_count);
    return held;
  }
  size_t FreeBlocks() const { return block_count_ - HeldBlocks(); }

  void Arrive() {
    while (arrivals_left_ > 0 && random_() % 3 == 0) {
      const size_t prompt = 1 + random_() % (context_tokens_ - 1);
      const size_t end = std::min(context_tokens_, prompt + 1 + random_() % 300);
      line_.push_back({.id = 60 - arrivals_left_--, .token_count = prompt, .end_count = end});
    }
  }

  // One step, its plan checked before it is done.
  void Step() {
    std::vector<SchedulerSequence> sequences;
    for (const Simulated& s : line_) sequences.push_back(Computed(s.computed_count, s.token_count));
    const SchedulerState state{sequences, running_count_, FreeBlocks()};
    StepPlan plan, again;
    Schedule(state, limits_, &plan);
    again.work.resize(3);
    Schedule(state, limits_, &again);
    ASSERT_EQ(plan.work, again.work);
    ASSERT_EQ(plan.running_count, again.running_count);
    ASSERT_GE(plan.work.size(), 1);
    ASSERT_GE(plan.running_count, 1) << "the oldest keeps its blocks";
    ASSERT_LE(plan.running_count, std::min(line_.size(), limits_.sequence_count_max));
    for (; running_count_ > plan.running_count; --running_count_) {
      line_[running_count_ - 1].computed_count = 0;
      line_[running_count_ - 1].preempted = true;
      ++preemption_count_;
    }
    running_count_ = plan.running_count;
    ASSERT_NO_FATAL_FAILURE(Execute(plan, sequences));
  }

  void Execute(const StepPlan& plan, const std::vector<SchedulerSequence>& before) {
    size_t row_count = 0;
    bool prompts = false;
    std::vector<bool> has_rows(line_.size(), false);
    for (const Work& work : plan.work) {
      ASSERT_LT(work.sequence, running_count_);
      ASSERT_FALSE(has_rows[work.sequence]);
      has_rows[work.sequence] = true;
      Simulated& s = line_[work.sequence];
      const bool decode = before[work.sequence].computed_count + 1 == s.token_count;
      ASSERT_FALSE(decode && prompts && s.computed_count > 0) << "a prompt came before a decode";
      prompts |= !decode;
      row_count += work.token_count;
      ASSERT_GE(work.token_count, 1);
      s.computed_count += work.token_count;
      ASSERT_LE(s.computed_count, s.token_count);
      ASSERT_LE(HeldBlocks(), block_count_);
      if (s.computed_count < s.token_count) continue;
      ++s.token_count;
      if (!s.answered && !s.preempted) first_tokens_.push_back(s.id);
      s.answered = true;
    }
    ASSERT_LE(row_count, limits_.chunk_tokens);
  }

  // Removes what is finished, and now and then somebody who lost patience.
  void Leave() {
    size_t kept = 0, kept_running = 0;
    for (size_t i = 0; i < line_.size(); ++i) {
      const bool gone =
          line_[i].token_count >= line_[i].end_count || (cancels_ && random_() % 200 == 0);
      if (gone) continue;
      kept_running += i < running_count_;
      line_[kept++] = line_[i];
    }
    line_.resize(kept);
    running_count_ = kept_running;
  }

  std::mt19937 random_;
  SchedulerLimits limits_;
  size_t context_tokens_;
  size_t block_count_;
  int arrivals_left_;
  bool cancels_;
  std::vector<Simulated> line_;
  size_t running_count_ = 0;
  size_t preemption_count_ = 0;
  std::vector<int> first_tokens_;  // ids of those never preempted, in order of their first token
};

TEST(Scheduler, EveryRequestFinishesWhateverTheLoad) {
  size_t preemption_count = 0;
  for (uint32_t seed = 0; seed < 300; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    Simulation simulation(seed);
    ASSERT_NO_FATAL_FAILURE(simulation.Run());
    preemption_count += simulation.preemption_count();
    if (testing::Test::HasFailure()) break;
  }
  EXPECT_GT(preemption_count, 100) << "the simulation does not reach preemption";
}

}  // namespace
}  // namespace kvasir
