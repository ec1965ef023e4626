#include "kvasir/engine/memory_plan.h"

#include <algorithm>
#include <limits>
#include <string>
#include <string_view>

#include "kvasir/kv/block_pool.h"

namespace kvasir {
namespace {

constexpr size_t kSequenceCountLimit = 1024;
constexpr size_t kBlockCountLimit = std::numeric_limits<BlockId>::max();
// Sequences are planned with this many tokens by default; longer ones share the pool.
constexpr size_t kDefaultSequenceTokens = 8192;

size_t SaturatingMultiply(size_t a, size_t b) {
  size_t product;
  return __builtin_mul_overflow(a, b, &product) ? std::numeric_limits<size_t>::max() : product;
}

size_t SaturatingAdd(size_t a, size_t b) {
  size_t sum;
  return __builtin_add_overflow(a, b, &sum) ? std::numeric_limits<size_t>::max() : sum;
}

size_t BlocksFor(size_t token_count) {
  return token_count / kKvBlockTokens + (token_count % kKvBlockTokens != 0);
}

// "3.2 GiB", or MiB below one.
std::string FormatBytes(size_t byte_count) {
  const bool large = byte_count >= (size_t{1} << 30);
  const double unit = large ? 1 << 30 : 1 << 20;
  const std::string number = std::to_string(static_cast<double>(byte_count) / unit);
  return number.substr(0, number.find('.') + 2) + (large ? " GiB" : " MiB");
}

Status CheckBounds(std::string_view option, size_t value, size_t lowest, size_t highest) {
  if (value >= lowest && value <= highest) return OkStatus();
  return InvalidArgument(std::string(option) + " is " + std::to_string(value) + ", allowed is " +
                         std::to_string(lowest) + " to " + std::to_string(highest));
}

// The same for numbers with fractions.
Status CheckRange(std::string_view option, double value, double lowest, double highest) {
  if (value >= lowest && value <= highest) return OkStatus();  // false for NaN
  return InvalidArgument(std::string(option) + " is " + std::to_string(value) + ", allowed is " +
                         std::to_string(lowest) + " to " + std::to_string(highest));
}

// The number of blocks that options.kv_bytes or its default stands for.
Result<size_t> PlanBlockCount(const EngineOptions& options, const MemoryPlan& plan) {
  const size_t block_bytes = plan.kv_layout.block_bytes();
  const size_t block_count_min = plan.block_count_min();
  if (options.kv_bytes == 0) {
    const size_t usual = BlocksFor(std::min(plan.context_tokens, kDefaultSequenceTokens));
    return std::max(block_count_min, options.sequence_count_max * usual);
  }
  const size_t block_count = options.kv_bytes / block_bytes;
  if (block_count < block_count_min) {
    return InvalidArgument("kv_bytes is " + std::to_string(options.kv_bytes) +
                           ", it must be 0 or at least " +
                           std::to_string(SaturatingMultiply(block_count_min, block_bytes)) +
                           ", one sequence of " + std::to_string(plan.context_tokens) + " tokens");
  }
  return block_count;
}

}  // namespace

size_t MemoryPlan::block_count_min() const { return BlocksFor(context_tokens); }

size_t MemoryPlan::needed_bytes() const {
  return SaturatingAdd(SaturatingAdd(kv_bytes, logit_bytes), activation_bytes);
}

Result<MemoryPlan> PlanMemory(const Model& model, const EngineOptions& options) {
  const ModelSpec& spec = model.spec();
  // Positions are int32_t all the way down to the kernels.
  const size_t context_limit =
      std::min<size_t>(spec.context_length, std::numeric_limits<int32_t>::max());
  MemoryPlan plan;
  plan.context_tokens = options.context_tokens == 0 ? context_limit : options.context_tokens;
  // A prompt token and a new one.
  KVASIR_RETURN_IF_ERROR(CheckBounds("context_tokens", plan.context_tokens, 2, context_limit));
  KVASIR_RETURN_IF_ERROR(
      CheckBounds("sequence_count_max", options.sequence_count_max, 1, kSequenceCountLimit));
  KVASIR_RETURN_IF_ERROR(
      CheckBounds("chunk_tokens", options.chunk_tokens, 1, model.row_count_max()));
  if (options.prompt_share != 0) {
    KVASIR_RETURN_IF_ERROR(CheckRange("prompt_share", options.prompt_share, 0.1, 100));
  }
  KVASIR_RETURN_IF_ERROR(CheckRange("step_ms_max", options.step_ms_max, 1, 60000));

  plan.weight_bytes = model.weight_bytes();
  plan.kv_layout = model.KvLayout(options.kv_format);
  if (plan.kv_layout.block_bytes() == 0) {
    return InvalidArgument("the model has no layer that keeps keys and values");
  }
  KVASIR_ASSIGN_OR_RETURN(plan.block_count, PlanBlockCount(options, plan));
  if (plan.block_count > kBlockCountLimit) {
    return InvalidArgument("kv_bytes makes " + std::to_string(plan.block_count) +
                           " blocks, at most " + std::to_string(kBlockCountLimit) +
                           " can be numbered");
  }
  plan.kv_bytes = SaturatingMultiply(plan.block_count, plan.kv_layout.block_bytes());
  plan.logit_row_count =
      std::min(options.sequence_count_max + kPromptLogitRowsMax, options.chunk_tokens);
  plan.logit_bytes = plan.logit_row_count * sizeof(float) * size_t{spec.vocab_size};
  plan.activation_bytes = model.ActivationBytes(options.chunk_tokens, plan.logit_row_count);
  return plan;
}

Status CheckMemoryPlanFits(const MemoryPlan& plan, size_t available_bytes) {
  if (plan.needed_bytes() <= available_bytes) return OkStatus();
  return ResourceExhausted(
      "the engine needs " + FormatBytes(plan.needed_bytes()) + " of memory (" +
      FormatBytes(plan.kv_bytes) + " for " + std::to_string(plan.kv_token_count()) +
      " tokens of keys and values, the rest for activations) and " + FormatBytes(available_bytes) +
      " are available: a smaller kv_bytes, context_tokens or sequence_count_max needs less");
}

}  // namespace kvasir
