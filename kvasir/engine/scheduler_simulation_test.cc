// The scheduler under random load: a queue, a pool and sequences that it drives by numbers alone,
// some of them with a common beginning, whose blocks they share while somebody holds them.

#include <algorithm>
#include <map>
#include <random>
#include <set>
#include <tuple>
#include <vector>

#include <gtest/gtest.h>

#include "kvasir/engine/scheduler.h"
#include "kvasir/formats/kv_block_layout.h"

namespace kvasir {
namespace {

using Work = StepPlan::Work;

constexpr int kArrivalCount = 60;

size_t BlocksFor(size_t token_count) { return (token_count + kKvBlockTokens - 1) / kKvBlockTokens; }

class Simulation {
 public:
  explicit Simulation(uint32_t seed) : random_(seed) {
    context_tokens_ = 2 + random_() % 400;
    limits_ = {.chunk_tokens = 1 + random_() % (random_() % 2 ? 600 : 20),
               .sequence_count_max = 1 + random_() % 12};
    block_count_ = BlocksFor(context_tokens_) + random_() % 30;
    cancels_ = random_() % 2;
    family_count_ = random_() % 2 ? 2 : 1000;  // seldom the same, or often
  }

  void Run() {
    for (int step = 0; arrivals_left_ > 0 || !line_.empty(); ++step) {
      // Generous: every step moves at least one token, so a stall would show.
      ASSERT_LT(step, kArrivalCount * 4 * 402) << "a request starves";
      Arrive();
      if (line_.empty()) continue;
      ASSERT_NO_FATAL_FAILURE(Step());
      Leave();
    }
    EXPECT_EQ(HeldBlocks(), 0);
  }

  size_t preemption_count() const { return preemption_count_; }
  size_t adopted_count() const { return adopted_count_; }
  size_t follower_count() const { return follower_count_; }

 private:
  struct Simulated {
    int id;
    int family;
    size_t shared_block_count;  // leading blocks that are the same in the whole family
    size_t token_count;
    size_t end_count;  // tokens at which it finishes
    size_t computed_count = 0;
  };
  // What a block holds: (family, -1) and (-1, id) never meet.
  using Contents = std::tuple<int, int, size_t>;

  Contents ContentsOf(const Simulated& s, size_t block) const {
    const bool shared =
        block < s.shared_block_count && (block + 1) * kKvBlockTokens <= s.computed_count;
    return shared ? Contents{s.family, -1, block} : Contents{-1, s.id, block};
  }

  size_t HeldBlocks() const {
    std::set<Contents> held;
    for (const Simulated& s : line_) {
      for (size_t i = 0; i < BlocksFor(s.computed_count); ++i) held.insert(ContentsOf(s, i));
    }
    return held.size();
  }
  size_t AvailableBlocks() const { return block_count_ - HeldBlocks(); }

  // Leading blocks of a family that somebody holds.
  size_t KnownBlocks(int family) const {
    size_t known = 0;
    for (const Simulated& s : line_) {
      if (s.family != family) continue;
      known = std::max(known, std::min(s.shared_block_count, s.computed_count / kKvBlockTokens));
    }
    return known;
  }
  size_t AdoptableTokens(const Simulated& s) const {
    const size_t tokens = std::min(KnownBlocks(s.family), s.shared_block_count) * kKvBlockTokens;
    return std::max(tokens, s.computed_count);
  }

  void Arrive() {
    while (arrivals_left_ > 0 && random_() % 3 == 0) {
      const size_t prompt = 1 + random_() % (context_tokens_ - 1);
      const size_t end = std::min(context_tokens_, prompt + 1 + random_() % 300);
      line_.push_back({.id = kArrivalCount - arrivals_left_--,
                       .family = int(random_() % family_count_),
                       .shared_block_count = (prompt - 1) / kKvBlockTokens,
                       .token_count = prompt,
                       .end_count = end});
    }
  }

  void Adopt(size_t i) {
    adopted_count_ += AdoptableTokens(line_[i]) - line_[i].computed_count;
    line_[i].computed_count = AdoptableTokens(line_[i]);
  }

  std::vector<SchedulerSequence> Describe() {
    std::vector<SchedulerSequence> view;
    std::set<Contents> counted;
    std::map<Contents, size_t> leaders;
    for (size_t i = 0; i < line_.size(); ++i) {
      const Simulated& s = line_[i];
      SchedulerSequence& v = view.emplace_back();
      v.token_count = s.token_count;
      v.computed_count = AdoptableTokens(s);
      v.block_count = BlocksFor(v.computed_count);
      for (size_t b = 0; i < running_count_ && b < v.block_count; ++b) {
        v.own_block_count += counted.insert(ContentsOf(s, b)).second;
      }
      const size_t next = v.computed_count / kKvBlockTokens;
      if (next >= s.shared_block_count) continue;
      const auto [leader, is_first] = leaders.emplace(Contents{s.family, -1, next}, i);
      if (is_first) continue;
      v.leader = leader->second;
      v.awaited_block_count =
          std::min(s.shared_block_count, line_[v.leader].shared_block_count) - next;
      follower_count_ += i < running_count_;
    }
    return view;
  }

  // One step, its plan checked before it is done.
  void Step() {
    for (size_t i = 0; i < running_count_; ++i) Adopt(i);
    const std::vector<SchedulerSequence> sequences = Describe();
    const SchedulerState state{.sequences = sequences,
                               .running_count = running_count_,
                               .available_block_count = AvailableBlocks(),
                               .prompt_rows_max = 1 + random_() % 100};
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
      ++preemption_count_;
    }
    for (; running_count_ < plan.running_count; ++running_count_) Adopt(running_count_);
    ASSERT_NO_FATAL_FAILURE(CheckShares(plan, state));
    ASSERT_NO_FATAL_FAILURE(Execute(plan));
  }

  static size_t RowsOf(const StepPlan& plan, size_t i) {
    for (const Work& work : plan.work) {
      if (work.sequence == i) return work.token_count;
    }
    return 0;
  }

  static bool IsDecode(const SchedulerSequence& s) { return s.computed_count + 1 == s.token_count; }

  void CheckShares(const StepPlan& plan, const SchedulerState& state) {
    size_t row_count = 0, decode_rows = 0;
    for (const Work& work : plan.work) {
      ASSERT_GE(work.token_count, 1);
      row_count += work.token_count;
      const SchedulerSequence& s = state.sequences[work.sequence];
      if (work.sequence < state.running_count && IsDecode(s)) {
        ASSERT_EQ(decode_rows + 1, row_count) << "a prompt came before a decode";
        ++decode_rows;
      } else {
        ASSERT_EQ(s.leader, kNoLeader) << "a follower has rows";
      }
    }
    ASSERT_LE(row_count, limits_.chunk_tokens);
    size_t prompt_rows = limits_.chunk_tokens - decode_rows;
    if (decode_rows > 0) prompt_rows = std::min(prompt_rows, state.prompt_rows_max);
    ASSERT_LE(row_count - decode_rows, prompt_rows);

    const bool plenty =
        state.available_block_count >= plan.running_count + BlocksFor(limits_.chunk_tokens) + 1;
    bool oldest_prompt = true;
    for (size_t i = 0; i < plan.running_count; ++i) {
      const SchedulerSequence& s = state.sequences[i];
      if (IsDecode(s) && i < state.running_count) {
        const bool has_room = plenty || s.computed_count % kKvBlockTokens != 0;
        if (has_room && decode_rows < limits_.chunk_tokens) {
          ASSERT_EQ(RowsOf(plan, i), 1) << "a decode waits";
        }
      } else if (s.leader == kNoLeader && std::exchange(oldest_prompt, false) && plenty) {
        ASSERT_GE(RowsOf(plan, i),
                  std::min(s.token_count - s.computed_count, (prompt_rows + 1) / 2))
            << "the oldest prompt has less than its half";
      }
    }
  }

  void Execute(const StepPlan& plan) {
    std::vector<bool> has_rows(line_.size(), false);
    for (const Work& work : plan.work) {
      ASSERT_LT(work.sequence, running_count_);
      ASSERT_FALSE(has_rows[work.sequence]);
      has_rows[work.sequence] = true;
      Simulated& s = line_[work.sequence];
      s.computed_count += work.token_count;
      ASSERT_LE(s.computed_count, s.token_count);
      ASSERT_LE(HeldBlocks(), block_count_);
      if (s.computed_count == s.token_count) ++s.token_count;
    }
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
  int arrivals_left_ = kArrivalCount;
  bool cancels_;
  uint32_t family_count_;
  std::vector<Simulated> line_;
  size_t running_count_ = 0;
  size_t preemption_count_ = 0;
  size_t adopted_count_ = 0;   // tokens taken over from others
  size_t follower_count_ = 0;  // steps in which somebody waited for a leader
};

TEST(SchedulerSimulation, EveryRequestFinishesWhateverTheLoad) {
  size_t preemption_count = 0, adopted_count = 0, follower_count = 0;
  for (uint32_t seed = 0; seed < 300; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    Simulation simulation(seed);
    ASSERT_NO_FATAL_FAILURE(simulation.Run());
    preemption_count += simulation.preemption_count();
    adopted_count += simulation.adopted_count();
    follower_count += simulation.follower_count();
    if (testing::Test::HasFailure()) break;
  }
  EXPECT_GT(preemption_count, 100) << "the simulation does not reach preemption";
  EXPECT_GT(adopted_count, 1000) << "the simulation does not share";
  EXPECT_GT(follower_count, 100) << "nobody ever waits for a leader";
}

}  // namespace
}  // namespace kvasir
