// StepCost: what steps have cost lately, by their rows and the keys that these read, and from that
// how many rows of prompts a step with decodes may carry. Answers never depend on it, only who
// waits how long. Engine thread only.
//
// Weights are read once however many rows there are, so the cost of rows is a curve: a mean for
// each size of step. Attention is in proportion to the keys that each row reads, so a long context
// adds a straight line: its slope is that of seconds over keys among steps of about one size.
//
// Requests share time: beside D decodes P prompts may add share * max(1, P / D) times what the
// decodes take alone. One prompt beside one decode makes a step twice as long at share 1, so a
// token comes after two of its usual intervals; fourteen prompts behind two decodes (everybody
// arrived at once) get seven times the decodes' time and are through before the two are half done.
//
// Where few rows are inefficient (many threads, a busy machine) politeness would cost more than it
// gives: a row of a prompt costs at most kRowCostRatioMax times what it costs in a full step,
// however long the decodes wait for that.

#ifndef KVASIR_ENGINE_STEP_COST_H_
#define KVASIR_ENGINE_STEP_COST_H_

#include <array>
#include <cstddef>

namespace kvasir {

struct PromptBudget {
  double share = 1;          // EngineOptions::prompt_share; 0 = no bound
  double seconds_max = 0.2;  // of a step with decodes, unless one prompt's share is more
};

// What a step computes.
struct StepSize {
  size_t row_count = 0;
  double key_count = 0;  // summed over the rows: keys that each attends to
};

// Who wants rows in a step.
struct StepDemand {
  size_t decode_count = 0;      // at least 1
  double decode_key_count = 0;  // keys of all decodes
  size_t prompt_count = 0;      // prompts that are being read or wait
  double prompt_key_count = 0;  // keys that a row of a prompt attends to, on average
  size_t prompt_rows_max = 0;   // that the step has room for
};

class StepCost {
 public:
  void Observe(const StepSize& size, double seconds);

  // Seconds of such a step: between the nearest sizes seen, in proportion to rows beyond them. 0
  // while nothing was seen.
  double Estimate(const StepSize& size) const;

  // Rows that prompts may have beside the decodes: at least kPromptRowsMin, at most
  // prompt_rows_max, and all of these while nothing was seen.
  size_t PromptRows(const PromptBudget& budget, const StepDemand& demand) const;

  // A prompt always goes on: so few rows cost little beside the weights that the decodes read
  // anyway, unless they read a long context; then even few are worth their time.
  static constexpr size_t kPromptRowsMin = 2;
  // So prompts beside decodes are read at a third of their speed or more, as far as time goes that
  // is not the decodes' own.
  static constexpr double kRowCostRatioMax = 3;

 private:
  // The mean of the steps of one size that were seen.
  struct Mean {
    double row_count = 0;  // 0 = none
    double key_count = 0;
    double seconds = 0;
  };

  // Seconds without what keys cost, by interpolation.
  double RowSeconds(double row_count) const;

  // Sizes in half octaves: [1], [2], [3], [4, 5], [6, 7], [8 .. 11], ...
  std::array<Mean, 40> means_ = {};
  // Sums over the steps of (keys - mean keys)^2 and (keys - mean keys) * (seconds - mean seconds),
  // the means being those of their size, and the quotient.
  double key_variation_ = 0;
  double key_covariation_ = 0;
  double key_seconds_ = 0;
};

}  // namespace kvasir

#endif  // KVASIR_ENGINE_STEP_COST_H_
