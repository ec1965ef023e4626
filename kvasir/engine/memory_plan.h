// MemoryPlan: what an engine with these options needs, computed before anything is allocated:
// `kvasir info` prints it and Engine::Create keeps to it. Pure functions of their arguments, any
// thread.

#ifndef KVASIR_ENGINE_MEMORY_PLAN_H_
#define KVASIR_ENGINE_MEMORY_PLAN_H_

#include <cstddef>

#include "kvasir/base/status.h"
#include "kvasir/engine/engine_options.h"
#include "kvasir/formats/kv_block_layout.h"
#include "kvasir/kv/open_blocks.h"
#include "kvasir/kv/tier_manager.h"
#include "kvasir/model/model.h"

namespace kvasir {

// Rows of a step whose logits are wanted for the logprobs of prompts. As many as make a matrix
// product efficient (one row costs as much as reading the weights), few enough that their logits
// stay below 10 MiB at 150000 tokens of vocabulary.
inline constexpr size_t kPromptLogitRowsMax = 16;

struct MemoryPlan {
  size_t context_tokens = 0;  // of one sequence, the model's own where the options say 0
  size_t weight_bytes = 0;    // in memory already: the model is loaded
  KvBlockLayout kv_layout;
  size_t block_count = 0;
  // Of these, what a store may have at once, to fill and to read; 0 without one.
  TierWindows tier_windows;
  OpenBlockCounts open_counts;  // of blocks that are not encoded yet
  size_t open_bytes = 0;        // theirs
  size_t kv_bytes = 0;          // block_count blocks, and open_bytes
  size_t summary_bytes = 0;     // of the blocks, for block selection
  size_t logit_row_count = 0;   // of the largest batch
  size_t logit_bytes = 0;
  size_t activation_bytes = 0;  // of the largest batch

  // What is allocated or first touched after the model was loaded.
  size_t needed_bytes() const;
  // Blocks of one sequence of full length.
  size_t block_count_min() const;
  // Blocks that may be pinned: the rest is enough for one sequence of full length, whatever a store
  // has at the time.
  size_t pinned_block_count_max() const;
  size_t kv_token_count() const { return block_count * kKvBlockTokens; }
};

// Checks the options against their bounds and resolves their defaults. kInvalidArgument names the
// option, its value and its range. A sum that does not fit into size_t becomes the largest size_t.
Result<MemoryPlan> PlanMemory(const Model& model, const EngineOptions& options);

// The layout of the model's blocks with the formats of the options. kInvalidArgument names the
// option when the formats do not go together or with the model.
Result<KvBlockLayout> KvLayoutFor(const Model& model, const EngineOptions& options);

// Whether EngineOptions::block_select_tokens may be `tokens`; kInvalidArgument names the range.
Status CheckBlockSelectTokens(size_t tokens);

// kResourceExhausted with what is needed and what is available when the plan does not fit.
Status CheckMemoryPlanFits(const MemoryPlan& plan, size_t available_bytes);

}  // namespace kvasir

#endif  // KVASIR_ENGINE_MEMORY_PLAN_H_
