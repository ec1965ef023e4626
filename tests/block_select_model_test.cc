// Block selection across modules: summaries are never stale whatever happens to blocks, and answers
// depend on nothing but the request.

#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "kvasir/engine/engine.h"
#include "kvasir/eval/passkey.h"
#include "kvasir/eval/select_quality.h"
#include "kvasir/kernels/cpu_target.h"
#include "kvasir/weights/checkpoint.h"
#include "tests/oracle/logits_runner.h"

namespace kvasir {
namespace {

namespace fs = std::filesystem;

LoadedModel LoadTiny(const std::string& checkpoint, size_t thread_count) {
  const fs::path directory = fs::path(KVASIR_SOURCE_DIR) / "tests/oracle/logits_tiny" / checkpoint;
  const fs::path file = directory / "model.gguf";
  auto loaded = LoadForTest((fs::exists(file) ? file : directory).string(),
                            ActivationPrecision::kInt8, thread_count);
  EXPECT_TRUE(loaded.ok()) << loaded.status().message();
  return loaded.ok() ? std::move(*loaded) : LoadedModel();
}

// ---- Summaries that outlive what happens to blocks ----

// Sequences that are extended, cut, forked and dropped at random in one pool. Every decode runs
// twice from the same keys: with the summaries that have seen everything, and with new ones.
class StaleWalk {
 public:
  StaleWalk(Model& model, KvFormat format, uint32_t seed)
      : model_(model),
        random_(seed),
        pool_(std::move(BlockPool::Create(model.KvLayout(format), kBlocks)).value()),
        summaries_(std::move(BlockSummaries::Create(pool_->layout(), kBlocks)).value()) {}

  void Run(int step_count) {
    for (int step = 0; step < step_count; ++step) {
      SCOPED_TRACE(testing::Message() << "step " << step);
      if (tables_.empty() || (tables_.size() < 4 && random_() % 8 == 0)) {
        tables_.emplace_back(*pool_);
      }
      const size_t chosen = random_() % tables_.size();
      BlockTable& table = tables_[chosen];
      const uint32_t action = random_() % 16;
      if (action == 0) {
        tables_.erase(tables_.begin() + ptrdiff_t(chosen));
      } else if (action == 1 && tables_.size() < 4) {
        tables_.push_back(table.Fork());
      } else if (action <= 3) {
        table.Truncate(random_() % (table.token_count() + 1));
      } else if (action <= 7 || table.token_count() == 0) {
        Forward(table, 1 + random_() % 120, &summaries_, kBudgetBlocks);
      } else {
        ASSERT_NO_FATAL_FAILURE(DecodeTwice(table));
      }
    }
  }

  int selected_count() const { return selected_count_; }
  int different_count() const { return different_count_; }

 private:
  static constexpr size_t kBlocks = 48;
  static constexpr size_t kTokensMax = 400;
  static constexpr int32_t kBudgetBlocks = 4;

  void DecodeTwice(BlockTable& table) {
    if (table.token_count() >= kTokensMax || pool_->free_count() < 3) return;
    const uint32_t token_seed = random_();
    const auto decode = [&](BlockTable& sequence, BlockSummaries* summaries, int32_t budget) {
      random_.seed(token_seed);
      return Forward(sequence, 1, summaries, budget);
    };
    BlockTable fresh_table = table.Fork(), full_table = table.Fork();
    BlockSummaries fresh = std::move(BlockSummaries::Create(pool_->layout(), kBlocks)).value();
    const std::vector<float> expected = decode(fresh_table, &fresh, kBudgetBlocks);
    const std::vector<float> full = decode(full_table, nullptr, 0);
    fresh_table.Clear();
    full_table.Clear();
    const std::vector<float> logits = decode(table, &summaries_, kBudgetBlocks);
    ASSERT_EQ(std::memcmp(logits.data(), expected.data(), logits.size() * sizeof(float)), 0);
    const bool selects = table.blocks().size() > kBudgetBlocks;
    selected_count_ += selects;
    different_count_ += logits != full;
    if (!selects) {
      ASSERT_EQ(logits, full);
    }
  }

  // Appends `count` random tokens, fewer where there is no room, and gives the last one's logits.
  std::vector<float> Forward(BlockTable& table, size_t count, BlockSummaries* summaries,
                             int32_t budget) {
    count = std::min(count, kTokensMax - table.token_count());
    std::vector<float> logits(model_.spec().vocab_size);
    if (count == 0 || table.BlocksNeeded(count) > pool_->free_count()) return logits;
    std::vector<TokenId> tokens(count);
    std::vector<int32_t> positions(count);
    for (size_t i = 0; i < count; ++i) {
      tokens[i] = TokenId(random_() % model_.spec().vocab_size);
      positions[i] = int32_t(table.token_count() + i);
    }
    EXPECT_TRUE(table.Extend(count).ok());
    const std::vector<int32_t> qo_indptr = {0, int32_t(count)};
    const std::vector<int32_t> kv_indptr = {0, int32_t(table.blocks().size())};
    const int32_t last_page_len = int32_t(table.last_block_token_count());
    const int32_t last_row = int32_t(count) - 1;
    Batch batch{.tokens = tokens,
                .positions = positions,
                .qo_indptr = qo_indptr,
                .kv = {.layout = pool_->layout(),
                       .base = pool_->base(),
                       .page_count = kBlocks,
                       .kv_indptr = kv_indptr,
                       .kv_indices = table.blocks(),
                       .kv_last_page_len = {&last_page_len, 1}},
                .logit_rows = {&last_row, 1}};
    batch.block_select.options.budget_blocks = budget;
    batch.block_select.full_layer_count = 0;
    batch.block_select.summaries = summaries;
    batch.block_select.page_allocations = pool_->allocation_counts();
    const Status status = model_.Forward(batch, {logits.data(), 1, logits.size()});
    EXPECT_TRUE(status.ok()) << status.message();
    return logits;
  }

  Model& model_;
  std::mt19937 random_;
  std::unique_ptr<BlockPool> pool_;
  BlockSummaries summaries_;
  std::vector<BlockTable> tables_;
  int selected_count_ = 0;
  int different_count_ = 0;
};

TEST(BlockSelectModelTest, SummariesAreNeverStale) {
  const LoadedModel loaded = LoadTiny("llama_gguf", 1);
  ASSERT_NE(loaded.model, nullptr);
  int selected_count = 0, different_count = 0;
  for (uint32_t seed = 0; seed < 6; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    StaleWalk walk(*loaded.model, seed % 2 == 0 ? KvFormat::kBF16 : KvFormat::kF32, seed);
    ASSERT_NO_FATAL_FAILURE(walk.Run(400));
    selected_count += walk.selected_count();
    different_count += walk.different_count();
  }
  EXPECT_GT(selected_count, 200) << "the walk hardly reaches selection";
  EXPECT_GT(different_count, 100) << "selection hardly leaves anything out";
}

TEST(BlockSelectModelTest, AsksForSummaries) {
  const LoadedModel loaded = LoadTiny("llama_gguf", 1);
  ASSERT_NE(loaded.model, nullptr);
  std::vector<float> logits(loaded.model->spec().vocab_size);
  auto reader =
      std::move(SequenceReader::Create(*loaded.model, loaded.model->KvLayout(KvFormat::kBF16), 64))
          .value();
  BlockTable sequence = reader->NewSequence();
  EXPECT_TRUE(reader->Decode(1, {.budget_tokens = 128}, sequence, logits).ok());
  EXPECT_EQ(reader->Decode(1, {.budget_tokens = 96}, sequence, logits).message(),
            "budget_blocks is 3, allowed is 4 to 536870911");
}

// ---- Answers ----

class CollectingSink final : public TokenSink {
 public:
  bool OnToken(const SampledToken& sampled) override {
    tokens.push_back(sampled.id);
    return true;
  }
  void OnFinish(FinishReason, const Status& status) override {
    EXPECT_TRUE(status.ok()) << status.message();
  }
  std::vector<TokenId> tokens;
};

std::vector<Request> LongRequests(uint32_t vocab_size) {
  std::vector<Request> requests;
  std::mt19937 random(5);
  for (const size_t prompt_tokens : {300u, 129u, 40u, 201u}) {
    Request request;
    for (size_t i = 0; i < prompt_tokens; ++i) {
      request.prompt.push_back(TokenId(random() % vocab_size));
    }
    request.token_count_max = 40;
    requests.push_back(std::move(request));
  }
  return requests;
}

// The answers to `requests`, all at once or one after the other.
std::vector<std::vector<TokenId>> Answers(Model& model, const EngineOptions& options,
                                          bool together) {
  const std::vector<Request> requests = LongRequests(model.spec().vocab_size);
  auto engine = Engine::Create(model, options);
  EXPECT_TRUE(engine.ok()) << engine.status().message();
  if (!engine.ok()) return {};
  std::vector<CollectingSink> sinks(requests.size());
  for (size_t i = 0; i < requests.size(); ++i) {
    EXPECT_TRUE((*engine)->Submit(requests[i], sinks[i]).ok());
    while ((*engine)->Step() && !together) {
    }
  }
  while ((*engine)->Step()) {
  }
  std::vector<std::vector<TokenId>> answers;
  for (CollectingSink& sink : sinks) answers.push_back(std::move(sink.tokens));
  return answers;
}

class BlockSelectEngineTest : public testing::TestWithParam<const char*> {
 protected:
  static EngineOptions Options(size_t tokens, size_t chunk_tokens = 512) {
    EngineOptions options;
    options.context_tokens = 400;
    options.chunk_tokens = chunk_tokens;
    options.sequence_count_max = chunk_tokens == 1 ? 1 : 4;
    options.block_select_tokens = tokens;
    return options;
  }
};

// Models with more layers than those that read everything: a sliding-window one, and one of odd
// shapes.
INSTANTIATE_TEST_SUITE_P(Checkpoints, BlockSelectEngineTest,
                         testing::Values("gemma3", "llama_untied_odd_shapes"));

TEST_P(BlockSelectEngineTest, ABudgetThatCoversEverythingChangesNothing) {
  const LoadedModel loaded = LoadTiny(GetParam(), 2);
  ASSERT_NE(loaded.model, nullptr);
  EXPECT_EQ(Answers(*loaded.model, Options(416), true), Answers(*loaded.model, Options(0), true));
}

TEST_P(BlockSelectEngineTest, BatchesChunksThreadsAndTargetsDoNotMatter) {
  const LoadedModel one_thread = LoadTiny(GetParam(), 1), threaded = LoadTiny(GetParam(), 3);
  ASSERT_NE(one_thread.model, nullptr);
  ASSERT_NE(threaded.model, nullptr);
  const auto alone = Answers(*one_thread.model, Options(128), false);
  EXPECT_NE(Answers(*one_thread.model, Options(0), false), alone) << "nothing was left out";
  EXPECT_EQ(Answers(*one_thread.model, Options(128, 1), true), alone);
  for (const size_t chunk_tokens : {7, 512}) {
    EXPECT_EQ(Answers(*threaded.model, Options(128, chunk_tokens), true), alone) << chunk_tokens;
  }
  for (const CpuTarget target : SupportedCpuTargets()) {
    if (NumericsClass(target) != NumericsClass(ActiveCpuTarget())) continue;
    const ScopedCpuTarget scope(target);
    const LoadedModel loaded = LoadTiny(GetParam(), 2);
    ASSERT_NE(loaded.model, nullptr);
    EXPECT_EQ(Answers(*loaded.model, Options(128), true), alone) << CpuTargetName(target);
  }
}

// ---- Measuring the quality ----

std::vector<TokenId> RandomText(size_t count, uint32_t vocab_size) {
  std::mt19937 random(8);
  std::vector<TokenId> tokens(count);
  for (TokenId& token : tokens) token = TokenId(random() % vocab_size);
  return tokens;
}

TEST(SelectQualityTest, FullReadingAgreesWithItselfAndWithWideBudgets) {
  const LoadedModel loaded = LoadTiny("llama_gguf", 1);
  ASSERT_NE(loaded.model, nullptr);
  SelectQualityOptions options;
  options.depth_tokens = 300;
  options.decode_tokens = 20;
  options.window_count_max = 2;
  options.budgets = {128, 320};
  options.full_layer_count = 0;
  const auto text = RandomText(700, loaded.model->spec().vocab_size);
  const auto result = MeasureSelectQuality(*loaded.model, text, options);
  ASSERT_TRUE(result.ok()) << result.status().message();
  EXPECT_EQ(result->window_count, 2u);
  EXPECT_EQ(result->token_count, 40u);
  ASSERT_EQ(result->rows.size(), 3u);
  EXPECT_EQ(result->rows[0].mean_kl, 0);
  EXPECT_GT(result->rows[1].mean_kl, 0);
  EXPECT_EQ(result->rows[2].mean_nll, result->rows[0].mean_nll);
  EXPECT_EQ(result->rows[2].top1_agreement, 1);

  options.depth_tokens = 500;
  EXPECT_EQ(MeasureSelectQuality(*loaded.model, text, options).status().message(),
            "depth and decoded tokens are 520 tokens, this model takes 512");
  options.depth_tokens = 400;
  EXPECT_EQ(
      MeasureSelectQuality(*loaded.model, std::span(text).first(420), options).status().message(),
      "the text has 420 tokens, fewer than one window of 421");
}

}  // namespace
}  // namespace kvasir
