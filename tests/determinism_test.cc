// The first promise of the design: the logits of a sequence are the same bits whatever the chunks
// its prompt was cut into, the number of threads, the sequences beside it, the blocks it was given
// and the instruction set (within one numerics class); and so are its tokens.

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "kvasir/engine/engine.h"
#include "kvasir/engine/memory_plan.h"
#include "kvasir/kernels/cpu_target.h"
#include "tests/oracle/logits_runner.h"

namespace kvasir {
namespace {

namespace fs = std::filesystem;

std::string Name(ActivationPrecision precision) {
  return precision == ActivationPrecision::kInt8 ? "int8" : "f32";
}

std::vector<TokenId> RandomTokens(size_t count, uint32_t vocab_size, uint32_t seed) {
  std::mt19937 random(seed);  // its sequence is fixed by the standard
  std::vector<TokenId> tokens(count);
  for (TokenId& token : tokens) token = static_cast<TokenId>(random() % vocab_size);
  return tokens;
}

// Every `step`th position and the last.
std::vector<int32_t> Positions(size_t token_count, size_t step) {
  std::vector<int32_t> positions;
  for (size_t p = 0; p + 1 < token_count; p += step) positions.push_back(static_cast<int32_t>(p));
  positions.push_back(static_cast<int32_t>(token_count - 1));
  return positions;
}

// The logits of the wanted positions of one prompt, in order.
using Rows = std::vector<std::vector<float>>;

// "" when the bits are equal, else where they first differ.
std::string Difference(const Rows& expected, const Rows& actual) {
  if (expected.size() != actual.size()) return "number of rows";
  for (size_t row = 0; row < expected.size(); ++row) {
    if (expected[row].size() != actual[row].size()) return "vocabulary";
    for (size_t i = 0; i < expected[row].size(); ++i) {
      if (std::memcmp(&expected[row][i], &actual[row][i], sizeof(float)) != 0) {
        return "row " + std::to_string(row) + ", token " + std::to_string(i) + ": " +
               std::to_string(expected[row][i]) + " and " + std::to_string(actual[row][i]);
      }
    }
  }
  return "";
}

// How keys and values are kept.
struct Kv {
  KvFormats formats;
  size_t open_blocks = 1;

  Kv(KvFormat format) : formats(format) {}  // NOLINT: both alike
  Kv(KvFormats f, size_t open_count = 1) : formats(f), open_blocks(open_count) {}  // NOLINT
};

// Runs prompts together on a new pool; the rows of each prompt.
std::vector<Rows> RunTogether(Model& model, Kv kv, const std::vector<RunnerPrompt>& prompts,
                              uint32_t shuffle_seed = 0) {
  size_t length_max = 0;
  for (const RunnerPrompt& prompt : prompts) length_max = std::max(length_max, prompt.ids.size());
  std::vector<Rows> rows(prompts.size());
  auto runner = ModelRunner::Create(model, kv.formats, prompts.size(), length_max, shuffle_seed,
                                    kv.open_blocks);
  EXPECT_TRUE(runner.ok()) << runner.status().message();
  if (!runner.ok()) return rows;
  const Status status = runner->Run(prompts, [&](size_t i, int32_t, std::span<const float> logits) {
    rows[i].emplace_back(logits.begin(), logits.end());
  });
  EXPECT_TRUE(status.ok()) << status.message();
  return rows;
}

// Formats as a part of a test's name.
std::string TestName(Kv kv) {
  std::string name = KvFormatsName(kv.formats);
  std::replace(name.begin(), name.end(), '/', '_');
  return kv.open_blocks == 1 ? name : name + "_open" + std::to_string(kv.open_blocks);
}

constexpr const char* kNoDefaultModel = "the default model is absent: scripts/quickstart gets it";

// A checkpoint of logits_tiny, or the default model for "". Empty when that is absent.
std::string CheckpointPath(const std::string& checkpoint) {
  if (checkpoint.empty()) return FindDefaultModel();
  const fs::path directory = fs::path(KVASIR_SOURCE_DIR) / "tests/oracle/logits_tiny" / checkpoint;
  return (fs::exists(directory / "model.gguf") ? directory / "model.gguf" : directory).string();
}

struct Case {
  std::string checkpoint;  // a directory of logits_tiny, or "" for the default model
  ActivationPrecision activations;
  Kv format;
  size_t token_count;
  size_t position_step;
};

std::string CaseName(const testing::TestParamInfo<Case>& info) {
  const Case& c = info.param;
  return (c.checkpoint.empty() ? "default_model" : c.checkpoint) + "_" + Name(c.activations) +
         "_kv_" + TestName(c.format);
}

class DeterminismTest : public testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    path_ = CheckpointPath(GetParam().checkpoint);
    if (path_.empty()) GTEST_SKIP() << kNoDefaultModel;
    one_thread_ = Load(1);
    ASSERT_NE(one_thread_.model, nullptr);
    prompt_.ids =
        RandomTokens(GetParam().token_count, one_thread_.model->spec().vocab_size, /*seed=*/1);
    prompt_.positions = Positions(GetParam().token_count, GetParam().position_step);
    expected_ = RunTogether(*one_thread_.model, GetParam().format, {prompt_})[0];
    ASSERT_EQ(expected_.size(), prompt_.positions.size());
  }

  LoadedModel Load(size_t thread_count) const {
    Result<LoadedModel> loaded = LoadForTest(path_, GetParam().activations, thread_count);
    EXPECT_TRUE(loaded.ok()) << loaded.status().message();
    return loaded.ok() ? std::move(*loaded) : LoadedModel();
  }

  // Other prompts, of the same model, to run beside prompt_.
  RunnerPrompt Neighbour(size_t token_count, size_t chunk_tokens, size_t first_step) const {
    const uint32_t vocab_size = one_thread_.model->spec().vocab_size;
    return {.ids = RandomTokens(token_count, vocab_size, static_cast<uint32_t>(token_count)),
            .positions = {0},
            .chunk_tokens = chunk_tokens,
            .first_step = first_step};
  }

  std::string path_;
  LoadedModel one_thread_;
  RunnerPrompt prompt_;
  Rows expected_;  // one thread, one chunk, alone, blocks in order, the best target
};

TEST_P(DeterminismTest, ChunksDoNotMatter) {
  for (const size_t chunk_tokens : {1, 7, 32}) {
    RunnerPrompt prompt = prompt_;
    prompt.chunk_tokens = chunk_tokens;
    const Rows rows = RunTogether(*one_thread_.model, GetParam().format, {prompt})[0];
    EXPECT_EQ(Difference(expected_, rows), "") << "chunks of " << chunk_tokens;
  }
}

TEST_P(DeterminismTest, ThreadsDoNotMatter) {
  const LoadedModel threaded = Load(2);
  ASSERT_NE(threaded.model, nullptr);
  for (const size_t chunk_tokens : {512, 7}) {
    RunnerPrompt prompt = prompt_;
    prompt.chunk_tokens = chunk_tokens;
    const Rows rows = RunTogether(*threaded.model, GetParam().format, {prompt})[0];
    EXPECT_EQ(Difference(expected_, rows), "") << "2 threads, chunks of " << chunk_tokens;
  }
}

TEST_P(DeterminismTest, NeighboursAndBlocksDoNotMatter) {
  // Decodes, short and long chunks beside the prompt, which joins when they are under way; the
  // second run has it among other rows of the batch, and every run has other blocks.
  for (const uint32_t shuffle_seed : {1u, 2u}) {
    RunnerPrompt prompt = prompt_;
    prompt.chunk_tokens = shuffle_seed == 1 ? 32 : 13;
    prompt.first_step = shuffle_seed;
    std::vector<RunnerPrompt> prompts = {Neighbour(40, 1, 0), prompt, Neighbour(90, 64, 2),
                                         Neighbour(33, 5, 1)};
    size_t own = 1;
    if (shuffle_seed == 2) std::swap(prompts[own], prompts[3]), own = 3;
    const std::vector<Rows> rows =
        RunTogether(*one_thread_.model, GetParam().format, prompts, shuffle_seed);
    EXPECT_EQ(Difference(expected_, rows[own]), "") << "mix " << shuffle_seed;
  }
  const Rows alone = RunTogether(*one_thread_.model, GetParam().format, {prompt_}, 3)[0];
  EXPECT_EQ(Difference(expected_, alone), "") << "alone on shuffled blocks";
}

TEST_P(DeterminismTest, InstructionSetsOfOneClassDoNotMatter) {
  const std::string_view numerics_class = NumericsClass(ActiveCpuTarget());
  size_t compared_count = 0;
  for (const CpuTarget target : SupportedCpuTargets()) {
    if (target == ActiveCpuTarget() || NumericsClass(target) != numerics_class) continue;
    const ScopedCpuTarget scope(target);
    const LoadedModel loaded = Load(2);
    ASSERT_NE(loaded.model, nullptr);
    for (const size_t chunk_tokens : {512, 7}) {
      RunnerPrompt prompt = prompt_;
      prompt.chunk_tokens = chunk_tokens;
      const Rows rows = RunTogether(*loaded.model, GetParam().format, {prompt})[0];
      EXPECT_EQ(Difference(expected_, rows), "")
          << CpuTargetName(target) << ", chunks of " << chunk_tokens;
      ++compared_count;
    }
  }
  if (compared_count == 0) {
    GTEST_SKIP() << "this CPU has one target of the class " << numerics_class;
  }
}

constexpr KvFormats kK8V4 = {KvFormat::kInt8, KvFormat::kInt4};
constexpr KvFormats kQuantised[] = {KvFormat::kInt8,
                                    KvFormat::kInt4,
                                    KvFormat::kFp8E4M3,
                                    KvFormat::kFp8E5M2,
                                    kK8V4,
                                    {KvFormat::kBF16, KvFormat::kInt8},
                                    {KvFormat::kInt4, KvFormat::kBF16}};

std::vector<Case> Cases() {
  std::vector<Case> cases;
  for (const auto activations : {ActivationPrecision::kInt8, ActivationPrecision::kF32}) {
    for (const auto format : {KvFormat::kBF16, KvFormat::kF32}) {
      // 300 tokens: more than one attention split, the last block and chunk incomplete.
      for (const char* tiny : {"llama_gguf", "llama_gguf_k", "gemma3", "llama_untied_odd_shapes"}) {
        cases.push_back({tiny, activations, format, 300, 1});
      }
    }
  }
  // Encoded blocks: every format, every path once with the tiny models that can be rotated.
  for (const KvFormats formats : kQuantised) {
    cases.push_back({"llama_gguf", ActivationPrecision::kF32, formats, 300, 1});
    cases.push_back({"gemma3", ActivationPrecision::kInt8, formats, 300, 1});
  }
  // Several of them open together.
  cases.push_back({"llama_gguf", ActivationPrecision::kF32, {KvFormat::kInt4, 2}, 300, 1});
  cases.push_back({"gemma3", ActivationPrecision::kInt8, {kK8V4, 4}, 300, 1});
  cases.push_back({"llama_gguf", ActivationPrecision::kF32, {KvFormat::kFp8E4M3, 8}, 300, 1});
  // The default model is slow in chunks of one: its own precision in full, the exact one in short.
  cases.push_back({"", ActivationPrecision::kInt8, KvFormat::kBF16, 280, 25});
  cases.push_back({"", ActivationPrecision::kF32, KvFormat::kF32, 45, 25});
  cases.push_back({"", ActivationPrecision::kInt8, KvFormat::kInt8, 280, 25});
  cases.push_back({"", ActivationPrecision::kInt8, kK8V4, 100, 25});
  return cases;
}

INSTANTIATE_TEST_SUITE_P(Checkpoints, DeterminismTest, testing::ValuesIn(Cases()), CaseName);

// ---- Tokens through the engine ----

// Collects the answer of one request.
class Collector : public TokenSink {
 public:
  bool OnToken(const SampledToken& token) override {
    tokens.push_back(token.id);
    return true;
  }
  void OnFinish(FinishReason finish_reason, const Status& finish_status) override {
    reason = finish_reason;
    status = finish_status;
  }

  std::vector<TokenId> tokens;
  std::optional<FinishReason> reason;
  Status status;
};

struct EngineRun {
  std::vector<std::vector<TokenId>> answers;  // by request
  EngineStats stats;
};

// Runs the requests, at most `together` of them at a time.
EngineRun RunEngine(Model& model, const EngineOptions& options,
                    const std::vector<Request>& requests, size_t together) {
  EngineRun run;
  Result<std::unique_ptr<Engine>> engine = Engine::Create(model, options);
  EXPECT_TRUE(engine.ok()) << engine.status().message();
  if (!engine.ok()) return run;
  for (size_t first = 0; first < requests.size(); first += together) {
    const size_t end = std::min(requests.size(), first + together);
    std::vector<Collector> collectors(end - first);
    for (size_t i = first; i < end; ++i) {
      const Result<RequestId> id = (*engine)->Submit(requests[i], collectors[i - first]);
      EXPECT_TRUE(id.ok()) << id.status().message();
      // The first request is under way when the second arrives.
      if (i == first) (*engine)->Step();
    }
    while ((*engine)->Step()) {
    }
    for (Collector& collector : collectors) {
      EXPECT_EQ(collector.reason, FinishReason::kLength) << collector.status.message();
      run.answers.push_back(std::move(collector.tokens));
    }
  }
  run.stats = (*engine)->stats();
  return run;
}

// Greedy and sampled requests with prompts of several lengths.
std::vector<Request> Requests(uint32_t vocab_size, size_t token_count_max) {
  std::vector<Request> requests;
  for (const uint32_t prompt_tokens : {1u, 40u, 64u, 5u, 47u, 33u}) {
    Request request;
    request.prompt = RandomTokens(prompt_tokens, vocab_size, prompt_tokens);
    request.token_count_max = token_count_max;
    if (prompt_tokens % 5 == 0) {
      request.sampling.temperature = 0.9f;
      request.sampling.top_p = 0.95f;
      request.sampling.seed = prompt_tokens;
    }
    requests.push_back(std::move(request));
  }
  return requests;
}

struct EngineCase {
  std::string checkpoint;  // a directory of logits_tiny, or "" for the default model
  Kv format;
  size_t answer_tokens;
  size_t thread_count;
};

class EngineDeterminismTest : public testing::TestWithParam<EngineCase> {
 protected:
  void SetUp() override {
    const std::string path = CheckpointPath(GetParam().checkpoint);
    if (path.empty()) GTEST_SKIP() << kNoDefaultModel;
    Result<LoadedModel> loaded =
        LoadForTest(path, ActivationPrecision::kInt8, GetParam().thread_count);
    ASSERT_TRUE(loaded.ok()) << loaded.status().message();
    loaded_ = std::move(*loaded);
    options_.kv_format = GetParam().format.formats;
    options_.kv_open_blocks = GetParam().format.open_blocks;
    requests_ = Requests(loaded_.model->spec().vocab_size, GetParam().answer_tokens);
    alone_ = RunEngine(*loaded_.model, options_, requests_, /*together=*/1).answers;
    ASSERT_EQ(alone_.size(), requests_.size());
    for (const std::vector<TokenId>& answer : alone_) {
      ASSERT_EQ(answer.size(), GetParam().answer_tokens);
    }
  }

  LoadedModel loaded_;
  std::vector<Request> requests_;
  EngineOptions options_{.context_tokens = 192};
  std::vector<std::vector<TokenId>> alone_;  // the answers, one request at a time
};

TEST_P(EngineDeterminismTest, BatchesAndChunksDoNotMatter) {
  for (const size_t chunk_tokens : {1, 7, 32, 512}) {
    EngineOptions options = options_;
    options.chunk_tokens = chunk_tokens;
    // A step of few rows is full of decodes when many sequences run: no room for a prompt beside.
    options.sequence_count_max = chunk_tokens == 1 ? 1 : chunk_tokens == 7 ? 3 : 16;
    const EngineRun mixed = RunEngine(*loaded_.model, options, requests_, requests_.size());
    EXPECT_EQ(mixed.answers, alone_) << "chunks of " << chunk_tokens;
  }
}

// Answers longer than a block beyond what admission waits for, so that some sequences lose theirs.
class EnginePreemptionTest : public EngineDeterminismTest {};

TEST_P(EnginePreemptionTest, PreemptionDoesNotMatter) {
  EngineOptions scarce = options_;
  const MemoryPlan plan = PlanMemory(*loaded_.model, options_).value();
  scarce.kv_bytes = 8 * plan.kv_layout.block_bytes() + plan.open_bytes;
  const EngineRun run = RunEngine(*loaded_.model, scarce, requests_, requests_.size());
  EXPECT_EQ(run.answers, alone_);
  EXPECT_GT(run.stats.preemption_count, 0u);
}

std::string EngineCaseName(const testing::TestParamInfo<EngineCase>& info) {
  return (info.param.checkpoint.empty() ? "default_model" : info.param.checkpoint) + "_kv_" +
         TestName(info.param.format);
}

constexpr KvFormats kBF16 = KvFormat::kBF16, kInt8 = KvFormat::kInt8, kInt4 = KvFormat::kInt4;

INSTANTIATE_TEST_SUITE_P(
    Checkpoints, EngineDeterminismTest,
    testing::Values(EngineCase{"llama_gguf", kBF16, 100, 1}, EngineCase{"gemma3", kBF16, 100, 1},
                    EngineCase{"", kBF16, 12, 2}, EngineCase{"llama_gguf", kInt8, 100, 1},
                    EngineCase{"llama_gguf", kK8V4, 100, 1}, EngineCase{"gemma3", kInt4, 100, 1},
                    EngineCase{"llama_gguf", {kInt4, 2}, 100, 1},
                    EngineCase{"gemma3", {kInt8, 4}, 100, 1}, EngineCase{"", kInt8, 12, 2}),
    EngineCaseName);
INSTANTIATE_TEST_SUITE_P(Checkpoints, EnginePreemptionTest,
                         testing::Values(EngineCase{"llama_gguf", kBF16, 100, 1},
                                         EngineCase{"gemma3", kBF16, 100, 1},
                                         EngineCase{"llama_gguf", kInt8, 100, 1},
                                         EngineCase{"gemma3", kInt4, 100, 1},
                                         EngineCase{"llama_gguf", {kInt4, 2}, 100, 1},
                                         EngineCase{"llama_gguf", KvFormat::kFp8E4M3, 100, 1}),
                         EngineCaseName);

}  // namespace
}  // namespace kvasir
