#include "kvasir/engine/memory_plan.h"

#include <limits>
#include <memory>
#include <string>

#include <gtest/gtest.h>

#include "kvasir/engine/engine.h"
#include "kvasir/engine/fake_model.h"
#include "kvasir/store/memory_store.h"

namespace kvasir {
namespace {

constexpr size_t kHuge = std::numeric_limits<size_t>::max();

TEST(PlanMemory, ResolvesTheDefaults) {
  const FakeModel model(/*context_length=*/100);
  const auto plan = PlanMemory(model, {.sequence_count_max = 3});
  ASSERT_TRUE(plan.ok());
  EXPECT_EQ(plan->context_tokens, 100);
  EXPECT_EQ(plan->block_count, 3 * 4);  // 100 tokens are 4 blocks
  EXPECT_EQ(plan->kv_bytes, 12 * model.KvLayout(KvFormat::kBF16).block_bytes());
  EXPECT_EQ(plan->kv_token_count(), 12 * 32);
  EXPECT_EQ(plan->weight_bytes, 1000);
  EXPECT_EQ(plan->logit_row_count, 3 + 16);  // 16 for logprobs of prompts
  EXPECT_EQ(plan->logit_bytes, 19 * 200 * 4);
  EXPECT_EQ(plan->activation_bytes, 100 * 512 + 10 * 19);
  EXPECT_EQ(plan->needed_bytes(), plan->kv_bytes + plan->logit_bytes + plan->activation_bytes);
}

TEST(PlanMemory, LongContextsShareThePool) {
  const FakeModel model(/*context_length=*/1 << 17);
  // Two sequences of 8192 tokens are less than one of full length; forty are more.
  EXPECT_EQ(PlanMemory(model, {.sequence_count_max = 2})->block_count, (1 << 17) / 32);
  EXPECT_EQ(PlanMemory(model, {.sequence_count_max = 40})->block_count, 40 * 8192 / 32);
}

TEST(PlanMemory, TakesWholeBlocksOfKvBytes) {
  const FakeModel model(64);
  const size_t block_bytes = model.KvLayout(KvFormat::kF32).block_bytes();
  const auto plan =
      PlanMemory(model, {.kv_format = KvFormat::kF32, .kv_bytes = 7 * block_bytes + 5});
  ASSERT_TRUE(plan.ok());
  EXPECT_EQ(plan->block_count, 7);
  EXPECT_EQ(plan->kv_bytes, 7 * block_bytes);
}

TEST(PlanMemory, AStoreGetsAPartOfWhatOneSequenceLeavesOver) {
  const FakeModel model(64);
  const size_t block_bytes = model.KvLayout(KvFormat::kBF16).block_bytes();
  EngineOptions options = {.sequence_count_max = 1, .store = std::make_shared<MemoryStore>()};
  // Two blocks for the sequence and eight for the store.
  EXPECT_EQ(PlanMemory(model, options)->block_count, 10);
  EXPECT_EQ(PlanMemory(model, options)->pinned_block_count_max(), 0);
  options.kv_bytes = 9 * block_bytes;
  EXPECT_EQ(PlanMemory(model, options).status().message(),
            "kv_bytes is " + std::to_string(options.kv_bytes) + ", it must be 0 or at least " +
                std::to_string(10 * block_bytes) +
                ", one sequence of 64 tokens and what a store needs");
  options.kv_bytes = 102 * block_bytes;
  const MemoryPlan plan = PlanMemory(model, options).value();
  EXPECT_EQ(plan.tier_windows.load_block_count, 19);
  EXPECT_EQ(plan.tier_windows.store_block_count, 6);
  EXPECT_EQ(plan.pinned_block_count_max(), 75);
  options.prefix_cache = false;
  EXPECT_EQ(PlanMemory(model, options).status().message(),
            "prefix_cache is off, with a store it must be on");
}

TEST(PlanMemory, OpenBlocksCountAsKvBytes) {
  FakeModel model(64);
  model.SetShape(30, 3, 64);
  EngineOptions options = {.kv_format = KvFormat::kInt8,
                           .kv_bytes = 64 << 20,
                           .sequence_count_max = 4,
                           .chunk_tokens = 96};
  const auto plan = PlanMemory(model, options);
  ASSERT_TRUE(plan.ok());
  // 30 layers of 6 tiles of 32 x 64 bf16 numbers, for each sequence; one layer for what 96 rows of
  // 4 sequences complete: (96 + 4 * 30) / 32 blocks.
  EXPECT_EQ(plan->open_counts.slots, 4);
  EXPECT_EQ(plan->open_counts.staging, 6);
  EXPECT_EQ(plan->open_bytes, (4 * 30 + 6) * 6 * 4096);
  // 6 * 30 tiles of 2112 bytes are 92.8 pages.
  EXPECT_EQ(plan->kv_layout.block_bytes(), 93 * 4096);
  EXPECT_EQ(plan->block_count, ((64 << 20) - plan->open_bytes) / (93 * 4096));
  EXPECT_EQ(plan->kv_bytes, plan->block_count * 93 * 4096 + plan->open_bytes);
  EXPECT_EQ(Engine::Create(model, options).value()->stats().kv_bytes, plan->kv_bytes);
}

TEST(PlanMemory, RefusesFormatsThatDoNotFitTheModelByName) {
  const FakeModel model(256);
  const auto message = [&](const EngineOptions& options) {
    return PlanMemory(model, options).status().message();
  };
  EXPECT_EQ(message({.kv_format = KvFormat::kInt8}),
            "head_dim is 5, rotated keys and values need a multiple of 16");
  EXPECT_EQ(message({.kv_format = {KvFormat::kBF16, KvFormat::kInt4}}),
            "head_dim is 5, rotated keys and values need a multiple of 16");
  EXPECT_EQ(message({.kv_format = KvFormat::kFp8E4M3}), "");
  EXPECT_EQ(message({.kv_format = KvFormat::kInt8, .kv_rotation = false}), "");
  EXPECT_EQ(message({.kv_format = KvFormat::kFp8E5M2, .block_select_tokens = 128}),
            "block_select_tokens is 128, with quantised keys and values it must be 0");
  EXPECT_EQ(message({.kv_format = KvFormat::kFp8E4M3, .kv_open_blocks = 3}),
            "kv_open_blocks is 3, allowed are 1, 2, 4 and 8");
  EXPECT_EQ(message({.kv_format = KvFormat::kBF16, .kv_open_blocks = 2}),
            "kv_open_blocks is 2, without quantised keys and values it must be 1");
  EXPECT_EQ(message({.kv_format = KvFormat::kFp8E4M3, .kv_open_blocks = 8}), "");
  EXPECT_EQ(message({.kv_layers = {KvFormat::kBF16}}),
            "kv_layers has 1 entries, the model has 2 layers");
  EXPECT_EQ(message({.kv_layers = {KvFormat::kF32, KvFormat::kFp8E4M3}}),
            "layer 0 keeps keys or values in f32, which goes with f32 alone");
  EXPECT_EQ(message({.kv_format = {KvFormat::kF32, KvFormat::kFp8E4M3}}),
            "layer 0 keeps keys or values in f32, which goes with f32 alone");
}

TEST(PlanMemory, RefusesOptionsOutOfBoundsByName) {
  FakeModel model(/*context_length=*/128, /*row_count_max=*/512);
  const auto expect_refused = [&](const EngineOptions& options, const std::string& message) {
    const auto plan = PlanMemory(model, options);
    ASSERT_FALSE(plan.ok()) << message;
    EXPECT_EQ(plan.status().code(), StatusCode::kInvalidArgument);
    EXPECT_EQ(plan.status().message(), message);
    EXPECT_EQ(Engine::Create(model, options).status().message(), message);
  };
  expect_refused({.context_tokens = 129}, "context_tokens is 129, allowed is 2 to 128");
  expect_refused({.context_tokens = 1}, "context_tokens is 1, allowed is 2 to 128");
  expect_refused({.sequence_count_max = 0}, "sequence_count_max is 0, allowed is 1 to 1024");
  expect_refused({.sequence_count_max = 1025}, "sequence_count_max is 1025, allowed is 1 to 1024");
  expect_refused({.chunk_tokens = 0}, "chunk_tokens is 0, allowed is 1 to 512");
  expect_refused({.chunk_tokens = 513}, "chunk_tokens is 513, allowed is 1 to 512");
  expect_refused({.prompt_share = -1},
                 "prompt_share is -1.000000, allowed is 0.100000 to 100.000000");
  expect_refused({.step_ms_max = 0},
                 "step_ms_max is 0.000000, allowed is 1.000000 to 60000.000000");
  for (const size_t tokens : {96, 130, (1 << 24) + 32}) {
    expect_refused({.block_select_tokens = tokens},
                   "block_select_tokens is " + std::to_string(tokens) +
                       ", it must be 0 or a multiple of 32 from 128 to 16777216");
  }
  const size_t block_bytes = model.KvLayout(KvFormat::kBF16).block_bytes();
  expect_refused({.kv_bytes = 4 * block_bytes - 1},
                 "kv_bytes is " + std::to_string(4 * block_bytes - 1) +
                     ", it must be 0 or at least " + std::to_string(4 * block_bytes) +
                     ", one sequence of 128 tokens");
  expect_refused({.kv_bytes = kHuge}, "kv_bytes makes " + std::to_string(kHuge / block_bytes) +
                                          " blocks, at most 2147483647 can be numbered");
}

TEST(CheckMemoryPlanFits, NamesNeededAndAvailable) {
  MemoryPlan plan;
  plan.block_count = 2;
  plan.kv_bytes = size_t{3} << 30;
  plan.logit_bytes = 10 << 20;
  plan.activation_bytes = 502 << 20;
  EXPECT_TRUE(CheckMemoryPlanFits(plan, plan.needed_bytes()).ok());
  const Status status = CheckMemoryPlanFits(plan, 100 << 20);
  EXPECT_EQ(status.code(), StatusCode::kResourceExhausted);
  EXPECT_EQ(status.message(),
            "the engine needs 3.5 GiB of memory (3.0 GiB for 64 tokens of keys and values, the "
            "rest for activations) and 100.0 MiB are available: a smaller kv_bytes, context_tokens "
            "or sequence_count_max needs less");
  plan.kv_bytes = kHuge;
  EXPECT_EQ(plan.needed_bytes(), kHuge);
}

TEST(CheckMemoryPlanFits, CreateRefusesWhatTheMachineDoesNotHave) {
  FakeModel model(/*context_length=*/std::numeric_limits<uint32_t>::max());
  const auto engine = Engine::Create(model, {.kv_bytes = size_t{1} << 42});
  ASSERT_FALSE(engine.ok());
  EXPECT_EQ(engine.status().code(), StatusCode::kResourceExhausted);
}

}  // namespace
}  // namespace kvasir
