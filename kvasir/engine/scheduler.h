// Scheduler: who runs in the next step, and how many tokens each. A pure function of the state
// given to it: no clock, no memory of its own, any thread.
//
// Sequences stand in order of arrival; the first `running_count` hold blocks, the rest wait. That
// is always a leading part of the line: admission takes the first that waits, preemption the last
// that runs. Rows go first to decodes (one token short of their next answer token), then to
// prompts, each in order of arrival, until the step has chunk_tokens rows. When the pool is
// exhausted the youngest sequence that has no rows in this step yet gives its blocks back, and
// computes them again later.
//
// The oldest sequence is never preempted and the pool holds at least one sequence of full length,
// so each step has at least one row and every request finishes.

#ifndef KVASIR_ENGINE_SCHEDULER_H_
#define KVASIR_ENGINE_SCHEDULER_H_

#include <cstddef>
#include <span>
#include <vector>

namespace kvasir {

struct SchedulerLimits {
  size_t chunk_tokens = 0;        // rows of a step, at least 1
  size_t sequence_count_max = 0;  // that run at once, at least 1
};

// What the scheduler knows of a sequence.
struct SchedulerSequence {
  size_t token_count = 0;  // prompt and answer so far
  size_t computed_count =
      0;                   // of these, whose keys and values are in blocks; less than token_count
  size_t block_count = 0;  // held: those of computed_count tokens
};

struct SchedulerState {
  std::span<const SchedulerSequence> sequences;  // in order of arrival
  size_t running_count = 0;
  size_t free_block_count = 0;
};

struct StepPlan {
  struct Work {
    size_t sequence;     // index into SchedulerState::sequences
    size_t token_count;  // the next tokens to compute, at least 1
    bool operator==(const Work&) const = default;
  };
  std::vector<Work> work;  // decodes, then prompts; no sequence twice
  // Sequences that run after this decision. Fewer than before: the last ones are preempted, and
  // their blocks are counted as free here. More: the first that waited are admitted.
  size_t running_count = 0;
};

// Decides the next step, reusing the memory of *plan. REQUIRES that the whole pool could hold any
// one of the sequences.
void Schedule(const SchedulerState& state, const SchedulerLimits& limits, StepPlan* plan);

}  // namespace kvasir

#endif  // KVASIR_ENGINE_SCHEDULER_H_
