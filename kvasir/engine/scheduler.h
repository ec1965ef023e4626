// Scheduler: who runs in the next step, and how many tokens each. A pure function of the state
// given to it: no clock, no memory of its own, any thread.
//
// Sequences stand in order of arrival; the first `running_count` hold blocks, the rest wait. That
// is always a leading part of the line: admission takes the first that waits, preemption the last
// that runs. In a step:
//
//   1. Each decode (one token short of its next answer token) gets its row, in order of arrival.
//   2. Waiting sequences are let in while seats and blocks last. They need no rows for that:
//   whoever
//      is inside takes part in the next point.
//   3. Prompts share the rows that are left, and beside decodes no more than prompt_rows_max. Half
//   of
//      them go to the oldest prompt, so that it ends whatever comes after it; the other half to the
//      prompts with the least left to read, so that a short one does not wait behind a long one.
//      What either half does not need the other one takes.
//
// A prompt whose next block another sequence is about to compute (its leader) waits for that block
// and gets no rows; its leader counts as being as short as the shortest that waits for it. One
// whose next blocks are being loaded waits, too; when all that run do, the step has no work.
//
// When the pool is exhausted the youngest sequence that has no rows in this step yet gives its
// blocks back, and computes them again later, or finds them in the cache. The oldest sequence is
// never preempted and the pool holds at least one sequence of full length, so each step has at
// least one row, unless the oldest one loads, and every request finishes.

#ifndef KVASIR_ENGINE_SCHEDULER_H_
#define KVASIR_ENGINE_SCHEDULER_H_

#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <utility>
#include <vector>

namespace kvasir {

inline constexpr size_t kNoLeader = std::numeric_limits<size_t>::max();

struct SchedulerLimits {
  size_t chunk_tokens = 0;        // rows of a step, at least 1
  size_t sequence_count_max = 0;  // that run at once, at least 1
  // Rows of a step that belong to sequences which want the logits of every row, at least 1.
  size_t all_logits_rows_max = std::numeric_limits<size_t>::max();
};

// What the scheduler knows of a sequence. Of one that waits: what it will be once it is let in and
// has taken over what the cache has for it.
struct SchedulerSequence {
  size_t token_count = 0;  // prompt and answer so far
  size_t computed_count =
      0;                   // of these, whose keys and values are in blocks; less than token_count
  size_t block_count = 0;  // those of computed_count tokens, shared ones included
  // Of these, the blocks that no older sequence holds, no pin and no store: preempting a sequence
  // makes so many available, letting one in takes so many away.
  size_t own_block_count = 0;
  size_t leader = kNoLeader;       // the older sequence that computes its next block
  size_t awaited_block_count = 0;  // blocks that it will take over from its leader
  bool all_logits = false;         // the logits of every row are wanted
  bool loading = false;            // its next blocks are on their way from a store
};

struct SchedulerState {
  std::span<const SchedulerSequence> sequences;  // in order of arrival
  size_t running_count = 0;
  size_t available_block_count = 0;  // free, or kept for nobody but the cache
  // Rows of prompts in a step that has decodes.
  size_t prompt_rows_max = std::numeric_limits<size_t>::max();
};

struct StepPlan {
  struct Work {
    size_t sequence;     // index into SchedulerState::sequences
    size_t token_count;  // the next tokens to compute, at least 1
    bool operator==(const Work&) const = default;
  };
  std::vector<Work> work;  // decodes, then prompts; no sequence twice
  // Sequences that run after this decision. Fewer than before: the last ones are preempted, and
  // their blocks are counted as available here. More: the first that waited are let in.
  size_t running_count = 0;
  // Scratch, kept for its memory: prompts by what they or their followers have left to read, and
  // the index of each sequence's work.
  std::vector<std::pair<size_t, size_t>> prompts_by_urgency;  // (tokens, sequence), rising
  std::vector<size_t> work_of;                                // [sequences]
};

// Decides the next step, reusing the memory of *plan. REQUIRES that the whole pool could hold any
// one of the sequences.
void Schedule(const SchedulerState& state, const SchedulerLimits& limits, StepPlan* plan);

}  // namespace kvasir

#endif  // KVASIR_ENGINE_SCHEDULER_H_
