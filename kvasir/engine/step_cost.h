// StepCost: what steps have cost lately, by their number of rows, and from that how many rows of
// prompts a step with decodes may carry. Answers never depend on it, only who waits how long.
// Engine thread only.
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

class StepCost {
 public:
  void Observe(size_t row_count, double seconds);

  // Seconds of a step of `row_count` rows: between the nearest sizes seen, in proportion to rows
  // beyond them. 0 while nothing was seen.
  double Estimate(size_t row_count) const;

  // Rows that prompts may have in a step with `decode_count` decodes, at least kPromptRowsMin, at
  // most rows_max; `prompt_count` prompts are being read or wait. All of rows_max while nothing was
  // seen. REQUIRES decode_count >= 1.
  size_t PromptRows(const PromptBudget& budget, size_t decode_count, size_t prompt_count,
                    size_t rows_max) const;

  // A prompt always goes on: so many rows cost little beside the weights that the decodes read
  // anyway.
  static constexpr size_t kPromptRowsMin = 8;
  // So prompts beside decodes are read at a third of their speed or more, as far as time goes that
  // is not the decodes' own.
  static constexpr double kRowCostRatioMax = 3;

 private:
  struct Size {
    double row_count = 0;  // mean of those seen; 0 = none
    double seconds = 0;    // likewise
  };
  // Sizes in half octaves: [1], [2], [3], [4, 5], [6, 7], [8 .. 11], ...
  std::array<Size, 40> sizes_ = {};
};

}  // namespace kvasir

#endif  // KVASIR_ENGINE_STEP_COST_H_
