// The logits of whole models against transformers in float32 on the same weights
// (tests/oracle/logits_make_*.py wrote the fixtures), and the int8 path against llama.cpp's
// distance from the same reference (logits_measure_llama_cpp.py).

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <map>
#include <numeric>
#include <string>
#include <vector>

#include "kvasir/base/json.h"
#include "kvasir/base/mapped_file.h"
#include "kvasir/base/topology.h"
#include "kvasir/kernels/sampling.h"
#include "tests/oracle/logits_runner.h"

namespace kvasir {
namespace {

namespace fs = std::filesystem;

const fs::path kOracle = fs::path(KVASIR_SOURCE_DIR) / "tests/oracle";

Json ReadJson(const fs::path& path) {
  Result<std::string> text = ReadFile(path.string(), 16 << 20);
  KVASIR_CHECK(text.ok());
  Result<Json> json = ParseJson(*text);
  KVASIR_CHECK(json.ok());
  return std::move(*json);
}

// Reads arrays one after the other from a little-endian binary file.
class BinaryReader {
 public:
  explicit BinaryReader(const fs::path& path) {
    Result<std::string> bytes = ReadFile(path.string(), 16 << 20);
    KVASIR_CHECK(bytes.ok());
    bytes_ = std::move(*bytes);
  }
  template <typename T>
  std::vector<T> Next(size_t count) {
    KVASIR_CHECK(offset_ + count * sizeof(T) <= bytes_.size());
    std::vector<T> values(count);
    std::memcpy(values.data(), bytes_.data() + offset_, count * sizeof(T));
    offset_ += count * sizeof(T);
    return values;
  }
  bool at_end() const { return offset_ == bytes_.size(); }

 private:
  std::string bytes_;
  size_t offset_ = 0;
};

double LogSumExp(std::span<const float> logits) {
  const double peak = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const float x : logits) sum += std::exp(x - peak);
  return peak + std::log(sum);
}

// ---- Tiny random checkpoints of every family ----

std::vector<std::string> TinyCheckpoints() {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(kOracle / "logits_tiny")) {
    names.push_back(entry.path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

class TinyLogitsTest : public testing::TestWithParam<std::string> {};

// Logits are ~ 4 to 10 in size and float32 itself is within 1.3e-5 of float64 on these checkpoints
// (the script prints it); 1e-4 leaves room for another order of the sums.
TEST_P(TinyLogitsTest, EqualTransformers) {
  const fs::path directory = kOracle / "logits_tiny" / GetParam();
  const fs::path gguf = directory / "model.gguf";
  const Json meta = ReadJson(directory / "reference.json");
  const size_t vocab_size = meta.at("vocab_size").get<size_t>();

  Result<LoadedModel> loaded = LoadForTest((fs::exists(gguf) ? gguf : directory).string(),
                                           ActivationPrecision::kF32, /*thread_count=*/1);
  ASSERT_TRUE(loaded.ok()) << loaded.status().message();
  ASSERT_EQ(loaded->model->spec().vocab_size, vocab_size);
  BinaryReader reference(directory / "reference.bin");
  for (const Json& fixture : meta.at("prompts")) {
    const RunnerPrompt prompt{.ids = fixture.at("ids").get<std::vector<TokenId>>(),
                              .positions = fixture.at("positions").get<std::vector<int32_t>>()};
    auto runner = ModelRunner::Create(*loaded->model, KvFormat::kF32, 1, prompt.ids.size());
    ASSERT_TRUE(runner.ok()) << runner.status().message();
    size_t row_count = 0;
    const Status status =
        runner->Run({&prompt, 1}, [&](size_t, int32_t position, std::span<const float> logits) {
          const std::vector<float> expected = reference.Next<float>(vocab_size);
          ++row_count;
          double worst = 0;
          for (size_t i = 0; i < vocab_size; ++i) {
            // Written so that a NaN counts as worst.
            const double difference = std::abs(double(logits[i]) - expected[i]);
            if (!(difference <= worst)) worst = difference;
          }
          EXPECT_LE(worst, 1e-4) << "position " << position << " of " << prompt.ids.size();
        });
    ASSERT_TRUE(status.ok()) << status.message();
    EXPECT_EQ(row_count, prompt.positions.size());
  }
  EXPECT_TRUE(reference.at_end());
}

INSTANTIATE_TEST_SUITE_P(Families, TinyLogitsTest, testing::ValuesIn(TinyCheckpoints()),
                         [](const auto& info) { return info.param; });

// ---- Real models ----

struct ReferencePosition {
  int32_t position = 0;
  float logsumexp = 0;
  std::vector<int32_t> top_ids;
  std::vector<float> top_logits;  // of top_ids
  std::vector<float> sample;      // of ids i * vocab_size / sample.size(); may be empty
  std::vector<float> full;        // of all ids; may be empty
};

struct ReferencePrompt {
  std::string name;
  std::vector<TokenId> ids;
  std::vector<ReferencePosition> positions;  // rising
  std::vector<int32_t> argmax;               // [ids]
};

// The format is described in tests/oracle/logits_fixture.py.
std::vector<ReferencePrompt> ReadReference(const std::string& name) {
  const Json meta = ReadJson(kOracle / "logits_fixtures" / (name + ".json"));
  BinaryReader reader(kOracle / "logits_fixtures" / (name + ".bin"));
  const size_t vocab_size = meta.at("vocab_size").get<size_t>();
  const size_t top_count = meta.at("top_count").get<size_t>();
  const size_t sample_count = meta.at("sample_count").get<size_t>();
  std::vector<ReferencePrompt> prompts;
  for (const Json& fixture : meta.at("prompts")) {
    ReferencePrompt& prompt = prompts.emplace_back();
    prompt.name = fixture.at("name").get<std::string>();
    prompt.ids = fixture.at("ids").get<std::vector<TokenId>>();
    std::map<int32_t, ReferencePosition> by_position;
    for (const Json& p : fixture.at("positions")) {
      ReferencePosition& position = by_position[p.get<int32_t>()];
      position.position = p.get<int32_t>();
      position.logsumexp = reader.Next<float>(1)[0];
      position.top_ids = reader.Next<int32_t>(top_count);
      position.top_logits = reader.Next<float>(top_count);
    }
    for (const Json& p : fixture.at("sampled_positions")) {
      by_position.at(p.get<int32_t>()).sample = reader.Next<float>(sample_count);
    }
    for (const Json& p : fixture.at("full_positions")) {
      by_position.at(p.get<int32_t>()).full = reader.Next<float>(vocab_size);
    }
    for (auto& [_, position] : by_position) prompt.positions.push_back(std::move(position));
    prompt.argmax = reader.Next<int32_t>(prompt.ids.size());
  }
  KVASIR_CHECK(reader.at_end());
  return prompts;
}

// The largest |difference| to whatever the reference knows of this position.
double MaxDifference(const ReferencePosition& expected, std::span<const float> logits) {
  double worst = std::abs(LogSumExp(logits) - expected.logsumexp);
  const auto compare = [&](size_t id, float value) {
    const double difference = std::abs(double(logits[id]) - value);
    if (!(difference <= worst)) worst = difference;
  };
  for (size_t i = 0; i < expected.top_ids.size(); ++i) {
    compare(size_t(expected.top_ids[i]), expected.top_logits[i]);
  }
  for (size_t i = 0; i < expected.sample.size(); ++i) {
    compare(i * logits.size() / expected.sample.size(), expected.sample[i]);
  }
  for (size_t i = 0; i < expected.full.size(); ++i) compare(i, expected.full[i]);
  return worst;
}

// KL(reference || logits) over the reference's top tokens and "any other token", like kl_divergence
// of tests/oracle/logits_fixture.py, which measured llama.cpp.
double KlDivergence(const ReferencePosition& expected, std::span<const float> logits) {
  const double logsumexp = LogSumExp(logits);
  double kl = 0, rest_p = 1, rest_q = 1;
  for (size_t i = 0; i < expected.top_ids.size(); ++i) {
    const double log_p = double(expected.top_logits[i]) - expected.logsumexp;
    const double log_q = logits[size_t(expected.top_ids[i])] - logsumexp;
    kl += std::exp(log_p) * (log_p - log_q);
    rest_p -= std::exp(log_p);
    rest_q -= std::exp(log_q);
  }
  rest_p = std::max(rest_p, 1e-12);
  rest_q = std::max(rest_q, 1e-12);
  return kl + rest_p * std::log(rest_p / rest_q);
}

struct RealModel {
  const char* fixture;   // stem of the files in logits_fixtures
  const char* variable;  // environment variable with the path
  const char* file;      // in the cache of models
};

class RealLogitsTest : public testing::TestWithParam<RealModel> {
 protected:
  void SetUp() override {
    path_ = FindModelFile(GetParam().variable, GetParam().file);
    if (path_.empty()) {
      GTEST_SKIP() << "no " << GetParam().file << " in ~/.cache/kvasir/models and no "
                   << GetParam().variable;
    }
  }

  std::string path_;
};

// REQUIRES every prompt to fit into the model's context. Each position of the fixture, or each
// position of the prompts with `every_position`, comes to `on_logits` once.
void RunReference(const std::string& path, ActivationPrecision activations, KvFormat format,
                  const std::vector<ReferencePrompt>& reference, bool every_position,
                  const OnLogits& on_logits) {
  Result<LoadedModel> loaded = LoadForTest(path, activations, UsableCoreCount());
  ASSERT_TRUE(loaded.ok()) << loaded.status().message();
  std::vector<RunnerPrompt> prompts;
  size_t length_max = 0;
  for (const ReferencePrompt& fixture : reference) {
    RunnerPrompt& prompt = prompts.emplace_back();
    prompt.ids = fixture.ids;
    // Logits of 128 rows over 262,144 tokens are 128 MB.
    if (every_position) prompt.chunk_tokens = 128;
    for (const ReferencePosition& p : fixture.positions) prompt.positions.push_back(p.position);
    if (every_position) {
      prompt.positions.resize(prompt.ids.size());
      std::iota(prompt.positions.begin(), prompt.positions.end(), 0);
    }
    length_max = std::max(length_max, prompt.ids.size());
  }
  auto runner = ModelRunner::Create(*loaded->model, format, 1, length_max);
  ASSERT_TRUE(runner.ok()) << runner.status().message();
  for (size_t i = 0; i < prompts.size(); ++i) {
    const Status status =
        runner->Run({&prompts[i], 1}, [&](size_t, int32_t position, std::span<const float> logits) {
          on_logits(i, position, logits);
        });
    ASSERT_TRUE(status.ok()) << reference[i].name << ": " << status.message();
  }
}

// The position of `prompt` in the fixture, or null.
const ReferencePosition* FindPosition(const ReferencePrompt& prompt, int32_t position) {
  const auto it = std::lower_bound(
      prompt.positions.begin(), prompt.positions.end(), position,
      [](const ReferencePosition& p, int32_t wanted) { return p.position < wanted; });
  return it != prompt.positions.end() && it->position == position ? &*it : nullptr;
}

TEST_P(RealLogitsTest, F32ActivationsEqualTransformers) {
  const std::vector<ReferencePrompt> reference = ReadReference(GetParam().fixture);
  std::vector<double> worst(reference.size(), 0);
  std::vector<size_t> position_count(reference.size(), 0);
  RunReference(path_, ActivationPrecision::kF32, KvFormat::kF32, reference,
               /*every_position=*/false,
               [&](size_t prompt, int32_t position, std::span<const float> logits) {
                 const ReferencePosition* expected = FindPosition(reference[prompt], position);
                 ASSERT_NE(expected, nullptr);
                 const double difference = MaxDifference(*expected, logits);
                 if (!(difference <= worst[prompt])) worst[prompt] = difference;
                 ++position_count[prompt];
               });
  for (size_t i = 0; i < reference.size(); ++i) {
    EXPECT_EQ(position_count[i], reference[i].positions.size()) << reference[i].name;
    EXPECT_LE(worst[i], 2e-3) << reference[i].name;
  }
  std::printf("%s, f32 activations: max |difference| %.2e\n", GetParam().fixture,
              *std::max_element(worst.begin(), worst.end()));
}

// The default precision: int8 activations and bf16 keys and values, against llama.cpp with its
// default, flash attention, and an f16 cache.
TEST_P(RealLogitsTest, Int8ActivationsAreAsGoodAsLlamaCpp) {
  const std::vector<ReferencePrompt> reference = ReadReference(GetParam().fixture);
  double kl_sum = 0, kl_max = 0;
  size_t kl_count = 0, hit_count = 0, position_count = 0;
  RunReference(path_, ActivationPrecision::kInt8, KvFormat::kBF16, reference,
               /*every_position=*/true,
               [&](size_t prompt, int32_t position, std::span<const float> logits) {
                 ++position_count;
                 hit_count += ArgMax(logits) == reference[prompt].argmax[size_t(position)];
                 if (const auto* expected = FindPosition(reference[prompt], position)) {
                   const double kl = KlDivergence(*expected, logits);
                   kl_sum += kl;
                   kl_max = std::max(kl_max, kl);
                   ++kl_count;
                 }
               });
  ASSERT_GT(kl_count, 0u);
  const Json theirs = ReadJson(kOracle / "logits_fixtures/llama_cpp.json")
                          .at("models")
                          .at(GetParam().fixture)
                          .at("flash_attention");
  ASSERT_EQ(kl_count, theirs.at("kl_position_count").get<size_t>());
  ASSERT_EQ(position_count, theirs.at("top1_position_count").get<size_t>());
  const double kl_mean = kl_sum / double(kl_count), their_kl = theirs.at("kl_mean").get<double>();
  const double top1 = double(hit_count) / double(position_count);
  const double their_top1 = theirs.at("top1").get<double>();
  std::printf(
      "%s, int8 activations: top-1 %.4f (llama.cpp %.4f) of %zu positions, mean KL %.6f "
      "(llama.cpp %.6f), max %.4f of %zu\n",
      GetParam().fixture, top1, their_top1, position_count, kl_mean, their_kl, kl_max, kl_count);
  EXPECT_LE(kl_mean, their_kl);
  EXPECT_GE(top1, their_top1);
}

INSTANTIATE_TEST_SUITE_P(
    Models, RealLogitsTest,
    testing::Values(RealModel{"smollm2", "KVASIR_MODEL", "SmolLM2-135M-Instruct.Q4_1.gguf"},
                    RealModel{"gemma3", "KVASIR_GEMMA3_MODEL", "gemma-3-270m-q4_k_m.gguf"}),
    [](const auto& info) { return std::string(info.param.fixture); });

}  // namespace
}  // namespace kvasir
