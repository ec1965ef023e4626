#include "kvasir/engine/memory_plan.h"

#include <algorithm>
#include <limits>
#include <string>
#include <string_view>

#include "kvasir/kernels/hadamard.h"
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

// With a store: enough for one load and one write to go on at a time.
constexpr size_t kTierBlockCountMin = 8;
// As many as four batches of loads and six of writes; a device is busy with fewer.
constexpr size_t kTierBlockCountMax = 192;

// What a store may have of the blocks that one sequence of full length leaves over.
TierWindows PlanTierWindows(const MemoryPlan& plan) {
  const size_t spare = plan.block_count - plan.block_count_min();
  const size_t count = std::clamp(spare / 4, kTierBlockCountMin, kTierBlockCountMax);
  return {.load_block_count = count - count / 4, .store_block_count = count / 4};
}

// The number of blocks that options.kv_bytes or its default stands for.
Result<size_t> PlanBlockCount(const EngineOptions& options, const MemoryPlan& plan) {
  const size_t block_bytes = plan.kv_layout.block_bytes();
  const size_t block_count_min =
      SaturatingAdd(plan.block_count_min(), options.store != nullptr ? kTierBlockCountMin : 0);
  if (options.kv_bytes == 0) {
    const size_t usual = BlocksFor(std::min(plan.context_tokens, kDefaultSequenceTokens));
    return std::max(block_count_min, options.sequence_count_max * usual);
  }
  const size_t block_count =
      options.kv_bytes > plan.open_bytes ? (options.kv_bytes - plan.open_bytes) / block_bytes : 0;
  if (block_count < block_count_min) {
    return InvalidArgument("kv_bytes is " + std::to_string(options.kv_bytes) +
                           ", it must be 0 or at least " +
                           std::to_string(SaturatingAdd(
                               SaturatingMultiply(block_count_min, block_bytes), plan.open_bytes)) +
                           ", one sequence of " + std::to_string(plan.context_tokens) + " tokens" +
                           (options.store != nullptr ? " and what a store needs" : ""));
  }
  return block_count;
}

}  // namespace

size_t MemoryPlan::block_count_min() const { return BlocksFor(context_tokens); }

size_t MemoryPlan::pinned_block_count_max() const {
  return block_count - block_count_min() - tier_windows.load_block_count -
         tier_windows.store_block_count;
}

size_t MemoryPlan::needed_bytes() const {
  return SaturatingAdd(SaturatingAdd(kv_bytes, summary_bytes),
                       SaturatingAdd(logit_bytes, activation_bytes));
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

  KVASIR_RETURN_IF_ERROR(CheckBlockSelectTokens(options.block_select_tokens));
  if (options.store != nullptr && !options.prefix_cache) {
    return InvalidArgument("prefix_cache is off, with a store it must be on");
  }

  plan.weight_bytes = model.weight_bytes();
  KVASIR_ASSIGN_OR_RETURN(plan.kv_layout, KvLayoutFor(model, options));
  if (plan.kv_layout.block_bytes() == 0) {
    return InvalidArgument("the model has no layer that keeps keys and values");
  }
  plan.open_counts =
      OpenBlockCounts::For(plan.kv_layout, options.chunk_tokens, options.sequence_count_max);
  plan.open_bytes = OpenBlocks::ByteCount(plan.kv_layout, plan.open_counts);
  KVASIR_ASSIGN_OR_RETURN(plan.block_count, PlanBlockCount(options, plan));
  if (plan.block_count > kBlockCountLimit) {
    return InvalidArgument("kv_bytes makes " + std::to_string(plan.block_count) +
                           " blocks, at most " + std::to_string(kBlockCountLimit) +
                           " can be numbered");
  }
  if (options.store != nullptr) plan.tier_windows = PlanTierWindows(plan);
  plan.kv_bytes = SaturatingAdd(SaturatingMultiply(plan.block_count, plan.kv_layout.block_bytes()),
                                plan.open_bytes);
  if (options.block_select_tokens > 0) {
    plan.summary_bytes = BlockSummaries::ByteCount(plan.kv_layout, plan.block_count);
  }
  plan.logit_row_count =
      std::min(options.sequence_count_max + kPromptLogitRowsMax, options.chunk_tokens);
  plan.logit_bytes = plan.logit_row_count * sizeof(float) * size_t{spec.vocab_size};
  plan.activation_bytes = model.ActivationBytes(options.chunk_tokens, plan.logit_row_count);
  return plan;
}

Result<KvBlockLayout> KvLayoutFor(const Model& model, const EngineOptions& options) {
  KvBlockLayout layout = model.KvLayout(options.kv_format);
  layout.rotated = options.kv_rotation;
  const auto& formats = options.kv_layers;
  if (!formats.empty()) {
    if (formats.size() != layout.layer_count) {
      return InvalidArgument("kv_layers has " + std::to_string(formats.size()) +
                             " entries, the model has " + std::to_string(layout.layer_count) +
                             " layers");
    }
    layout = MixedKvLayout(layout, formats);
  }
  if (!IsOpenBlockCount(options.kv_open_blocks)) {
    return InvalidArgument("kv_open_blocks is " + std::to_string(options.kv_open_blocks) +
                           ", allowed are 1, 2, 4 and 8");
  }
  if (!layout.quantized()) {
    if (options.kv_open_blocks == 1) return layout;
    return InvalidArgument("kv_open_blocks is " + std::to_string(options.kv_open_blocks) +
                           ", without quantised keys and values it must be 1");
  }
  layout.open_blocks = uint32_t(options.kv_open_blocks);
  for (uint32_t layer = 0; layer < layout.layer_count; ++layer) {
    const KvFormats used = layout.formats(layer);
    if (used.k == KvFormat::kF32 || used.v == KvFormat::kF32) {
      return InvalidArgument("layer " + std::to_string(layer) +
                             " keeps keys or values in f32, which goes with f32 alone");
    }
  }
  if (options.block_select_tokens > 0) {
    return InvalidArgument("block_select_tokens is " + std::to_string(options.block_select_tokens) +
                           ", with quantised keys and values it must be 0");
  }
  if (layout.rotates()) KVASIR_RETURN_IF_ERROR(CheckHadamard(layout.head_dim));
  return layout;
}

Status CheckBlockSelectTokens(size_t tokens) {
  if (tokens == 0) return OkStatus();
  // The first and the latest blocks, and at least one that is chosen.
  constexpr size_t kTokensMin = 4 * kKvBlockTokens, kTokensMax = size_t{1} << 24;
  if (tokens % kKvBlockTokens == 0 && tokens >= kTokensMin && tokens <= kTokensMax) {
    return OkStatus();
  }
  return InvalidArgument("block_select_tokens is " + std::to_string(tokens) +
                         ", it must be 0 or a multiple of " + std::to_string(kKvBlockTokens) +
                         " from " + std::to_string(kTokensMin) + " to " +
                         std::to_string(kTokensMax));
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
