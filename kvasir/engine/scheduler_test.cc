#include "kvasir/engine/scheduler.h"

#include <vector>

#include <gtest/gtest.h>

#include "kvasir/formats/kv_block_layout.h"

namespace kvasir {
namespace {

using Work = StepPlan::Work;

size_t BlocksFor(size_t token_count) { return (token_count + kKvBlockTokens - 1) / kKvBlockTokens; }

// A sequence that has computed so many of its tokens, in blocks of its own.
SchedulerSequence Computed(size_t computed_count, size_t token_count) {
  return {.token_count = token_count,
          .computed_count = computed_count,
          .block_count = BlocksFor(computed_count),
          .own_block_count = BlocksFor(computed_count)};
}

// One whose next `awaited_block_count` blocks the sequence `leader` computes.
SchedulerSequence Following(size_t leader, size_t awaited_block_count, SchedulerSequence s) {
  s.leader = leader;
  s.awaited_block_count = awaited_block_count;
  return s;
}

StepPlan ScheduleOf(const std::vector<SchedulerSequence>& sequences, size_t running_count,
                    size_t available_block_count, SchedulerLimits limits = {64, 8}) {
  StepPlan plan;
  Schedule({.sequences = sequences,
            .running_count = running_count,
            .available_block_count = available_block_count},
           limits, &plan);
  return plan;
}

TEST(Scheduler, NothingToDo) {
  const StepPlan plan = ScheduleOf({}, 0, 10);
  EXPECT_TRUE(plan.work.empty());
  EXPECT_EQ(plan.running_count, 0);
}

TEST(Scheduler, DecodesFirstThenPrompts) {
  const StepPlan plan = ScheduleOf({Computed(0, 40), Computed(9, 10), Computed(0, 100)}, 3, 20);
  EXPECT_EQ(plan.work, (std::vector<Work>{{1, 1}, {0, 40}, {2, 23}}));
}

TEST(Scheduler, ALoadingSequenceGetsNoRowsAndKeepsItsBlocks) {
  SchedulerSequence loading = Computed(32, 200);
  loading.loading = true;
  EXPECT_EQ(ScheduleOf({loading, Computed(0, 40)}, 2, 20).work, (std::vector<Work>{{1, 40}}));
  const StepPlan waits = ScheduleOf({loading}, 1, 20);
  EXPECT_TRUE(waits.work.empty());
  EXPECT_EQ(waits.running_count, 1u);
  // It is let in like any other.
  EXPECT_EQ(ScheduleOf({loading, Computed(0, 40)}, 0, 20).running_count, 2u);
}

TEST(Scheduler, HalfOfTheRowsForTheOldestPromptHalfForTheShortest) {
  const std::vector<SchedulerSequence> prompts = {Computed(0, 1000), Computed(0, 500),
                                                  Computed(30, 50), Computed(0, 300)};
  // 32 for the oldest; the shortest needs 20 and leaves 12 to the next one.
  EXPECT_EQ(ScheduleOf(prompts, 4, 100).work, (std::vector<Work>{{0, 32}, {2, 20}, {3, 12}}));
  // What the others do not need comes back to the oldest.
  EXPECT_EQ(ScheduleOf({Computed(0, 1000), Computed(0, 10)}, 2, 100).work,
            (std::vector<Work>{{0, 54}, {1, 10}}));
  // Equally short ones go in order of arrival.
  EXPECT_EQ(ScheduleOf({Computed(0, 40), Computed(0, 40), Computed(0, 40)}, 3, 100).work,
            (std::vector<Work>{{0, 40}, {1, 24}}));
}

TEST(Scheduler, APromptBesideDecodesKeepsToItsBudget) {
  const std::vector<SchedulerSequence> sequences = {Computed(9, 10), Computed(0, 100),
                                                    Computed(0, 7)};
  StepPlan plan;
  Schedule({.sequences = sequences,
            .running_count = 3,
            .available_block_count = 20,
            .prompt_rows_max = 12},
           {64, 8}, &plan);
  EXPECT_EQ(plan.work, (std::vector<Work>{{0, 1}, {1, 6}, {2, 6}}));
  // Without a decode the budget does not count.
  Schedule({.sequences = std::span(sequences).subspan(1),
            .running_count = 2,
            .available_block_count = 20,
            .prompt_rows_max = 12},
           {64, 8}, &plan);
  EXPECT_EQ(plan.work, (std::vector<Work>{{0, 57}, {1, 7}}));
}

TEST(Scheduler, AFollowerWaitsForTheBlocksOfItsLeader) {
  // The third shares two blocks with the second and then has little left: its leader goes before
  // the first, which is shorter than the leader itself.
  const std::vector<SchedulerSequence> sequences = {
      Computed(0, 400), Computed(0, 500), Following(1, 2, Computed(0, 70)), Computed(0, 300)};
  EXPECT_EQ(ScheduleOf(sequences, 4, 100).work, (std::vector<Work>{{0, 32}, {1, 32}}));
  EXPECT_EQ(ScheduleOf({Computed(0, 40), Following(0, 1, Computed(0, 40))}, 2, 9).work,
            (std::vector<Work>{{0, 40}}));
}

TEST(Scheduler, AdmissionCountsSharedBlocksOnce) {
  // 320 tokens and 32 more take 11 blocks. The followers share 9 of them and take 2 each.
  std::vector<SchedulerSequence> waiting = {Computed(0, 320)};
  for (int i = 0; i < 3; ++i) waiting.push_back(Following(0, 9, Computed(0, 320)));
  EXPECT_EQ(ScheduleOf(waiting, 0, 17).running_count, 4);
  EXPECT_EQ(ScheduleOf(waiting, 0, 16).running_count, 3);
  // Cached blocks cost nothing when somebody holds them, and what they are when nobody does.
  SchedulerSequence cached = Computed(288, 320);
  EXPECT_EQ(ScheduleOf({Computed(9, 10), cached}, 1, 13).running_count, 2);
  EXPECT_EQ(ScheduleOf({Computed(9, 10), cached}, 1, 11).running_count, 1);
  cached.own_block_count = 0;
  EXPECT_EQ(ScheduleOf({Computed(9, 10), cached}, 1, 3).running_count, 2);
}

TEST(Scheduler, PreemptionFreesOnlyWhatNobodyOlderHolds) {
  // The youngest holds three blocks, two of them shared with the second: one comes free, enough for
  // one decode.
  SchedulerSequence youngest = Computed(96, 97);
  youngest.own_block_count = 1;
  const StepPlan plan = ScheduleOf({Computed(64, 65), Computed(64, 65), youngest}, 3, 0);
  EXPECT_EQ(plan.running_count, 2);
  EXPECT_EQ(plan.work, (std::vector<Work>{{0, 1}}));
}

TEST(Scheduler, LogitsOfEveryRowAreRationed) {
  SchedulerSequence a = Computed(0, 100), b = Computed(0, 100);
  a.all_logits = b.all_logits = true;
  const StepPlan plan =
      ScheduleOf({a, b, Computed(0, 200)}, 3, 100,
                 {.chunk_tokens = 64, .sequence_count_max = 8, .all_logits_rows_max = 16});
  EXPECT_EQ(plan.work, (std::vector<Work>{{0, 16}, {2, 48}}));
}

TEST(Scheduler, AdmitsWhileSeatsAndBlocksLast) {
  const std::vector<SchedulerSequence> waiting = {Computed(0, 30), Computed(0, 30),
                                                  Computed(0, 30)};
  EXPECT_EQ(ScheduleOf(waiting, 0, 100).work, (std::vector<Work>{{0, 30}, {1, 30}, {2, 4}}));
  // No rows are needed to come in.
  EXPECT_EQ(ScheduleOf(waiting, 0, 100, {30, 8}).running_count, 3);
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

TEST(Scheduler, AShortPromptDoesNotWaitBehindALongOne) {
  std::vector<SchedulerSequence> prompts = {Computed(0, 50000), Computed(0, 100)};
  size_t steps = 0;
  for (; prompts[1].computed_count < 100; ++steps) {
    for (const Work& work : ScheduleOf(prompts, 2, 2000).work) {
      prompts[work.sequence] = Computed(prompts[work.sequence].computed_count + work.token_count,
                                        prompts[work.sequence].token_count);
    }
  }
  EXPECT_EQ(steps, 4);  // 100 tokens at half of 64 rows
  EXPECT_EQ(prompts[0].computed_count, 4 * 64 - 100);
}

}  // namespace
}  // namespace kvasir
