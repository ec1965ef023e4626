// The first promise of the design for the cache, in RAM and on disk: a hit never changes an answer.
// Prompts with
// common beginnings run on real networks, one by one without a cache and then with it, several at
// once, with aborts and preemption beside; tokens and logits are compared bit for bit. What is
// looked at are the logprobs of the twenty likeliest tokens, which change when any of the logits
// that matter does, and the whole rows on the way out of the network.

#include <gtest/gtest.h>

#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "kvasir/engine/engine.h"
#include "kvasir/engine/memory_plan.h"
#include "kvasir/store/disk_store.h"
#include "tests/oracle/logits_runner.h"

namespace kvasir {
namespace {

// Passes everything on to a model, counts rows and remembers the rows of logits that came out.
class SpyModel final : public Model {
 public:
  explicit SpyModel(Model& model) : model_(model) {}

  const ModelSpec& spec() const override { return model_.spec(); }
  size_t weight_bytes() const override { return model_.weight_bytes(); }
  size_t ActivationBytes(size_t row_count, size_t logit_row_count) const override {
    return model_.ActivationBytes(row_count, logit_row_count);
  }
  size_t row_count_max() const override { return model_.row_count_max(); }
  KvBlockLayout KvLayout(KvFormats formats) const override { return model_.KvLayout(formats); }
  Status Forward(const Batch& batch, MatrixView<float> logits) override {
    // Computing takes as long as on a larger model: otherwise loading would seldom pay.
    std::this_thread::sleep_for(delay);
    KVASIR_RETURN_IF_ERROR(model_.Forward(batch, logits));
    row_count += batch.tokens.size();
    for (size_t i = 0; i < batch.logit_rows.size(); ++i) {
      const auto row = logits.row_span(i);
      rows.insert({reinterpret_cast<const char*>(row.data()), row.size_bytes()});
    }
    return OkStatus();
  }

  std::set<std::string> rows;  // every row of logits that came out, as bytes
  size_t row_count = 0;        // computed
  std::chrono::milliseconds delay{0};

 private:
  Model& model_;
};

class Collector final : public TokenSink {
 public:
  bool OnToken(const SampledToken& token) override {
    tokens.push_back(token.id);
    logprobs.push_back(*token.logprobs);
    return true;
  }
  void OnPromptRead(const PromptStats& stats) override { cached_count = stats.cached_token_count; }
  void OnFinish(FinishReason finish_reason, const Status& finish_status) override {
    reason = finish_reason;
    status = finish_status;
  }

  std::vector<TokenId> tokens;
  std::vector<TokenLogprobs> logprobs;
  size_t cached_count = 0;
  FinishReason reason = FinishReason::kError;
  Status status;
};

struct Case {
  std::string checkpoint;  // a directory of logits_tiny, or "" for the default model
  KvFormats format;
  size_t prompt_count;
  size_t answer_tokens;
  size_t open_blocks = 1;
};

// Prompts of three families: random tokens with common beginnings of many lengths.
std::vector<Request> FamilyRequests(const Case& c, uint32_t vocab_size) {
  std::mt19937 random(11);
  std::vector<std::vector<TokenId>> families(3, std::vector<TokenId>(150));
  for (auto& family : families) {
    for (TokenId& token : family) token = TokenId(random() % vocab_size);
  }
  std::vector<Request> requests(c.prompt_count);
  for (size_t i = 0; i < requests.size(); ++i) {
    Request& request = requests[i];
    request.prompt.assign(families[i % 3].begin(), families[i % 3].begin() + 20 + random() % 130);
    for (size_t own = random() % 30; own > 0; --own) {
      request.prompt.push_back(TokenId(random() % vocab_size));
    }
    request.token_count_max = c.answer_tokens;
    request.logprobs = true;
    request.top_logprob_count = kTopLogprobCountMax;
    if (i % 4 == 3) {
      request.sampling.temperature = 1;
      request.sampling.seed = i;
    }
  }
  return requests;
}

class PrefixCacheModelTest : public testing::TestWithParam<Case> {
 protected:
  struct Answer {
    std::vector<TokenId> tokens;
    std::vector<TokenLogprobs> logprobs;
    bool operator==(const Answer&) const = default;
  };

  void SetUp() override {
    std::string path = FindDefaultModel();
    if (!GetParam().checkpoint.empty()) {
      const std::filesystem::path directory = std::filesystem::path(KVASIR_SOURCE_DIR) /
                                              "tests/oracle/logits_tiny" / GetParam().checkpoint;
      path = (exists(directory / "model.gguf") ? directory / "model.gguf" : directory).string();
    }
    if (path.empty()) GTEST_SKIP() << "the default model is absent: scripts/quickstart gets it";
    // Threads of a tiny network only wait for one another.
    const size_t thread_count = GetParam().checkpoint.empty() ? 2 : 1;
    Result<LoadedModel> loaded = LoadForTest(path, ActivationPrecision::kInt8, thread_count);
    ASSERT_TRUE(loaded.ok()) << loaded.status().message();
    loaded_ = std::move(*loaded);
    requests_ = FamilyRequests(GetParam(), loaded_.model->spec().vocab_size);
  }

  EngineOptions Options(size_t block_count) const {
    EngineOptions options;
    options.context_tokens = 256;
    options.kv_format = GetParam().format;
    options.kv_open_blocks = GetParam().open_blocks;
    const MemoryPlan plan = PlanMemory(*loaded_.model, options).value();
    options.kv_bytes = block_count * plan.kv_layout.block_bytes() + plan.open_bytes;
    return options;
  }

  // The answers of one request after the other without a cache: what all others are held against.
  void RunCold() {
    SpyModel spy(*loaded_.model);
    EngineOptions options = Options(8);
    options.prefix_cache = false;
    auto engine = Engine::Create(spy, options);
    ASSERT_TRUE(engine.ok()) << engine.status().message();
    for (const Request& request : requests_) {
      Collector collector;
      ASSERT_TRUE((*engine)->Submit(request, collector).ok());
      while ((*engine)->Step()) {
      }
      ASSERT_EQ(collector.reason, FinishReason::kLength) << collector.status.message();
      cold_.push_back({collector.tokens, collector.logprobs});
    }
    cold_rows_ = std::move(spy.rows);
    cold_row_count_ = spy.row_count;
    EXPECT_EQ((*engine)->stats().cached_token_count, 0u);
  }

  struct Warm {
    EngineStats stats;
    size_t row_count = 0;
  };

  // All requests on one engine with a cache, up to `together` at a time; with `aborts` a further
  // request of a random prompt comes and is cancelled now and then.
  Warm RunWarm(EngineOptions options, size_t together, bool aborts) {
    Warm warm;
    SpyModel spy(*loaded_.model);
    if (options.store != nullptr) spy.delay = std::chrono::milliseconds(2);
    // As many blocks however many sequences have open ones.
    const size_t block_count = PlanMemory(*loaded_.model, options).value().block_count;
    options.sequence_count_max = together + aborts;
    options.kv_bytes = 0;
    const MemoryPlan plan = PlanMemory(*loaded_.model, options).value();
    options.kv_bytes = block_count * plan.kv_layout.block_bytes() + plan.open_bytes;
    auto engine = Engine::Create(spy, options);
    EXPECT_TRUE(engine.ok()) << engine.status().message();
    if (!engine.ok()) return warm;
    std::mt19937 random(uint32_t(together) + 1);
    std::vector<Collector> collectors(requests_.size());
    std::vector<std::unique_ptr<Collector>> aborted;
    size_t submitted = 0;
    RequestId abort_id = 0;
    for (bool more = true; more || submitted < requests_.size();) {
      const EngineStats stats = (*engine)->stats();
      if (submitted < requests_.size() && stats.running_count + stats.waiting_count < together) {
        EXPECT_TRUE((*engine)->Submit(requests_[submitted], collectors[submitted]).ok());
        ++submitted;
      }
      if (aborts && submitted < requests_.size() && random() % 3 == 0) {
        (*engine)->Cancel(abort_id);
        aborted.push_back(std::make_unique<Collector>());
        const Request& request = requests_[random() % requests_.size()];
        abort_id = (*engine)->Submit(request, *aborted.back()).value();
      }
      if (submitted == requests_.size()) (*engine)->Cancel(abort_id);
      more = (*engine)->Step();
    }
    for (size_t i = 0; i < requests_.size(); ++i) {
      EXPECT_EQ(collectors[i].tokens, cold_[i].tokens) << "prompt " << i;
      EXPECT_TRUE(collectors[i].logprobs == cold_[i].logprobs) << "prompt " << i;
    }
    size_t strange_rows = 0;
    for (const std::string& row : spy.rows) strange_rows += cold_rows_.count(row) == 0;
    EXPECT_EQ(strange_rows, 0u) << "rows of logits that no cold run has computed";
    (*engine)->Flush(std::chrono::steady_clock::now() + std::chrono::seconds(30));
    warm.stats = (*engine)->stats();
    EXPECT_EQ(warm.stats.used_block_count, 0u);
    warm.row_count = spy.row_count;
    return warm;
  }

  LoadedModel loaded_;
  std::vector<Request> requests_;
  std::vector<Answer> cold_;
  std::set<std::string> cold_rows_;
  size_t cold_row_count_ = 0;
};

TEST_P(PrefixCacheModelTest, AHitNeverChangesAnAnswer) {
  ASSERT_NO_FATAL_FAILURE(RunCold());
  // Plenty of memory: everything that was computed once is found.
  const Warm alone = RunWarm(Options(400), 1, false);
  EXPECT_GT(alone.stats.cached_token_count, 0u);
  EXPECT_EQ(alone.row_count + alone.stats.cached_token_count, cold_row_count_);
  // The same work in other company, and in company the same savings: whoever comes second waits.
  const Warm together = RunWarm(Options(400), 8, false);
  EXPECT_EQ(together.row_count + together.stats.cached_token_count, cold_row_count_);
  EXPECT_EQ(together.stats.cached_token_count, alone.stats.cached_token_count);
  EXPECT_EQ(together.stats.preemption_count, 0u);
  RunWarm(Options(400), 4, true);
  // Eight blocks for one sequence of full length and a few groups more: evictions and preemptions.
  const Warm scarce = RunWarm(Options(8 + 4 * GetParam().open_blocks), 8, true);
  EXPECT_GT(scarce.stats.evicted_block_count, 0u);
  EXPECT_GT(scarce.stats.cached_token_count, 0u);
  EngineOptions chunks = Options(40);
  chunks.chunk_tokens = 48;
  RunWarm(chunks, 5, true);
}

// The same with blocks that come from disk: of an engine before, of a process before (as far as
// files tell), and of this one when its memory is too small.
TEST_P(PrefixCacheModelTest, ABlockFromDiskNeverChangesAnAnswer) {
  ASSERT_NO_FATAL_FAILURE(RunCold());
  const std::string directory =
      testing::TempDir() + "kvasir_prefix_cache_" + std::to_string(getpid());
  std::filesystem::remove_all(directory);
  const auto open = [&](size_t block_count) {
    EngineOptions options = Options(block_count);
    auto store = DiskStore::Open({.directory = directory, .cap_bytes = uint64_t{1} << 30});
    EXPECT_TRUE(store.ok()) << store.status().message();
    if (store.ok()) options.store = std::move(*store);
    return options;
  };
  const Warm first = RunWarm(open(400), 4, false);
  EXPECT_GT(first.stats.tier.stored_block_count, 0u);
  const Warm restarted = RunWarm(open(400), 1, false);
  EXPECT_GT(restarted.stats.loaded_token_count, 0u);
  EXPECT_LT(restarted.row_count, first.row_count);
  EXPECT_GT(RunWarm(open(400), 8, true).stats.loaded_token_count, 0u);
  // As few blocks as an engine takes, and a few groups more, because only whole ones are taken
  // over: preemption, and blocks that are loaded more than once.
  const Warm scarce = RunWarm(open(12 + 4 * GetParam().open_blocks), 8, true);
  EXPECT_GT(scarce.stats.loaded_token_count, 0u);
  EXPECT_EQ(scarce.stats.tier.corrupt_block_count, 0u);
  EXPECT_EQ(scarce.stats.tier.failed_load_count + scarce.stats.tier.failed_store_count, 0u);
  std::filesystem::remove_all(directory);
}

std::string CaseName(const testing::TestParamInfo<Case>& info) {
  const Case& c = info.param;
  return (c.checkpoint.empty() ? "default_model" : c.checkpoint) + "_kv_" +
         std::string(KvFormatName(c.format.k)) +
         (c.format.k == c.format.v ? "" : "_" + std::string(KvFormatName(c.format.v))) +
         (c.open_blocks == 1 ? "" : "_open" + std::to_string(c.open_blocks));
}

constexpr KvFormats kK8V4 = {KvFormat::kInt8, KvFormat::kInt4};

INSTANTIATE_TEST_SUITE_P(Checkpoints, PrefixCacheModelTest,
                         testing::Values(Case{"llama_gguf", KvFormat::kBF16, 36, 24},
                                         Case{"llama_gguf", KvFormat::kF32, 36, 24},
                                         Case{"gemma3", KvFormat::kBF16, 36, 24},
                                         Case{"llama_gguf", KvFormat::kInt8, 36, 24},
                                         Case{"llama_gguf", kK8V4, 36, 24},
                                         Case{"gemma3", KvFormat::kInt4, 36, 24},
                                         Case{"gemma3", KvFormat::kFp8E4M3, 36, 24},
                                         Case{"llama_gguf", KvFormat::kInt4, 36, 24, 2},
                                         Case{"gemma3", kK8V4, 36, 24, 4},
                                         Case{"", KvFormat::kInt8, 24, 8},
                                         Case{"", KvFormat::kBF16, 24, 8}),
                         CaseName);

}  // namespace
}  // namespace kvasir
