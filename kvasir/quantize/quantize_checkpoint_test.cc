// Whole files: tiny checkpoints that `transformers` wrote (tests/oracle/logits_make_tiny.py; the
// logits of our forward pass on them are held to its own in tests/logits_test.cc) are quantised,
// opened again and run.

#include "kvasir/quantize/quantize_checkpoint.h"

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <limits>
#include <random>
#include <vector>

#include "kvasir/base/mapped_file.h"
#include "kvasir/eval/sequence_reader.h"
#include "kvasir/model/activation_observer.h"
#include "kvasir/quantize/error_feedback.h"
#include "kvasir/quantize/input_statistics.h"
#include "kvasir/quantize/output_error.h"
#include "kvasir/quantize/scale_search.h"
#include "kvasir/text/tokenizer.h"
#include "kvasir/weights/testing/tiny_model.h"

namespace kvasir {
namespace {

namespace fs = std::filesystem;

const std::string kTiny = KVASIR_SOURCE_DIR "/tests/oracle/logits_tiny/";

std::vector<TokenId> RandomTokens(size_t count, uint32_t vocab_size, uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<TokenId> tokens(count);
  for (TokenId& token : tokens) token = static_cast<TokenId>(random() % vocab_size);
  return tokens;
}

std::unique_ptr<Checkpoint> Open(const std::string& path) {
  auto checkpoint = OpenCheckpoint(path);
  EXPECT_TRUE(checkpoint.ok()) << checkpoint.status().message();
  return checkpoint.ok() ? std::move(*checkpoint) : nullptr;
}

class CountingObserver : public ActivationObserver {
 public:
  void Observe(LinearInput, uint32_t, MatrixView<const float> rows) override {
    row_count += rows.rows();
  }
  size_t row_count = 0;
};

// The logits behind the last of 40 tokens, with f32 activations and KV.
std::vector<float> Logits(const Checkpoint& checkpoint, ActivationObserver* observer = nullptr) {
  ThreadPool pool(2);
  LoadOptions options;
  options.activations = ActivationPrecision::kF32;
  options.observer = observer;
  const auto model = LoadModel(checkpoint, options, pool);
  EXPECT_TRUE(model.ok()) << model.status().message();
  std::vector<float> logits(checkpoint.spec().vocab_size);
  const std::vector<TokenId> tokens = RandomTokens(40, checkpoint.spec().vocab_size, 11);
  const auto reader =
      SequenceReader::Create(**model, (*model)->KvLayout(KvFormat::kF32), tokens.size());
  EXPECT_TRUE(reader.ok());
  BlockTable sequence = (*reader)->NewSequence();
  EXPECT_TRUE((*reader)->Read(tokens, 512, sequence, logits).ok());
  return logits;
}

// Root of the mean square of a - b over that of b's spread.
double RelativeDifference(const std::vector<float>& a, const std::vector<float>& b) {
  double difference = 0, square = 0, mean = 0;
  for (const float x : b) mean += x / double(b.size());
  for (size_t i = 0; i < a.size(); ++i) {
    difference += std::pow(double{a[i]} - b[i], 2);
    square += std::pow(b[i] - mean, 2);
  }
  return std::sqrt(difference / square);
}

class TinyFamilyTest : public ::testing::TestWithParam<const char*> {};

TEST_P(TinyFamilyTest, SurvivesAndPredictsNearlyTheSame) {
  testing::TempDir directory;
  const auto source = Open(kTiny + GetParam());
  ASSERT_NE(source, nullptr);
  const std::vector<float> expected = Logits(*source);
  ThreadPool pool(2);
  struct Case {
    const char* name;
    QuantizeOptions options;
    double difference_max;
  };
  const std::vector<TokenId> tokens = RandomTokens(512, source->spec().vocab_size, 1);
  // A code of Q8_0 is off by 0.3 % of a weight or so (half a step of 127, over the square root of
  // 3, the largest number of a block being twice the typical one), which these random networks of
  // steep attention amplify up to ten times on the way to the logits. Steps of 4 bits are 16 times
  // as wide. Rows in a wrong order or a lost scale give a difference of about 1.4.
  const Case cases[] = {{"q8.gguf", {.type = DType::kQ8_0}, 0.05},
                        {"q4.gguf", {.type = DType::kQ4_0}, 0.8},
                        {"q4k.gguf", {.type = DType::kQ4_K}, 0.8},
                        {"fitted.gguf",
                         {.type = DType::kQ8_0,
                          .scale_channels = true,
                          .feed_back_errors = true,
                          .calibration_tokens = tokens},
                         0.05}};
  for (const Case& c : cases) {
    const std::string path = directory / c.name;
    const auto report = QuantizeCheckpoint(*source, c.options, path, pool);
    ASSERT_TRUE(report.ok()) << c.name << ": " << report.status().message();
    EXPECT_EQ(report->file_bytes, fs::file_size(path));
    const auto written = Open(path);
    ASSERT_NE(written, nullptr) << c.name;
    EXPECT_EQ(written->spec().layer_is_sliding, source->spec().layer_is_sliding);
    EXPECT_EQ(written->spec().tied_embeddings, source->spec().tied_embeddings);
    EXPECT_EQ(written->spec().context_length, source->spec().context_length);
    const double difference = RelativeDifference(Logits(*written), expected);
    EXPECT_LT(difference, c.difference_max) << c.name;
    std::printf("%s %s: logits differ by %.4f\n", GetParam(), c.name, difference);
  }
}

INSTANTIATE_TEST_SUITE_P(Families, TinyFamilyTest,
                         ::testing::Values("llama3", "smollm2_tied", "llama_untied_odd_shapes",
                                           "mistral", "qwen2", "qwen3", "gemma3"),
                         [](const auto& info) { return std::string(info.param); });

TEST(QuantizeCheckpointTest, FittedBytesDoNotDependOnTheThreadCount) {
  testing::TempDir directory;
  const auto source = Open(kTiny + "mistral");
  ASSERT_NE(source, nullptr);
  QuantizeOptions options = {
      .type = DType::kQ4_0, .scale_channels = true, .feed_back_errors = true};
  options.calibration_tokens = RandomTokens(256, source->spec().vocab_size, 1);
  std::vector<std::string> files;
  for (const size_t thread_count : {1, 3}) {
    ThreadPool pool(thread_count);
    const std::string path = directory / std::to_string(thread_count);
    const auto report = QuantizeCheckpoint(*source, options, path, pool);
    ASSERT_TRUE(report.ok()) << report.status().message();
    EXPECT_LT(report->output_error, report->plain_output_error);
    files.push_back(*ReadFile(path, 64 << 20));
  }
  EXPECT_EQ(files[0], files[1]);
}

// On tokens that were not calibrated with, for each input of each layer.
TEST(QuantizeCheckpointTest, FeedbackLosesLessOnUnseenTokens) {
  const auto source = Open(kTiny + "mistral");
  ASSERT_NE(source, nullptr);
  ThreadPool pool(2);
  const uint32_t vocab_size = source->spec().vocab_size;
  std::vector<std::vector<LayerStatistics>> statistics;
  for (const uint32_t seed : {1, 2}) {
    const auto gatherer =
        StatisticsGatherer::Create(*source, RandomTokens(1024, vocab_size, seed), pool);
    ASSERT_TRUE(gatherer.ok()) << gatherer.status().message();
    auto gathered = (*gatherer)->Gather(0, source->spec().layer_count, nullptr);
    ASSERT_TRUE(gathered.ok());
    statistics.push_back(std::move(*gathered));
  }
  const std::pair<LinearInput, TensorRole> readers[] = {
      {LinearInput::kAttention, TensorRole::kAttnQ},
      {LinearInput::kAttentionOutput, TensorRole::kAttnO},
      {LinearInput::kMlp, TensorRole::kFfnGate},
      {LinearInput::kMlpOutput, TensorRole::kFfnDown}};
  for (uint32_t layer = 0; layer < source->spec().layer_count; ++layer) {
    for (const auto& [input, role] : readers) {
      const TensorView& tensor = *source->Find(role, layer);
      const size_t rows = tensor.rows, cols = tensor.cols;
      std::vector<float> weights(rows * cols), plain(rows * cols), fed(rows * cols);
      DequantizeRow(tensor.dtype, tensor.bytes.data(), weights.size(), weights.data());
      const MatrixView<const float> matrix(weights.data(), rows, cols);
      RoundTrip(matrix, DType::kQ4_0, pool, {plain.data(), rows, cols});
      const auto factor = InverseFactor(statistics[0][layer][size_t(input)], pool);
      ASSERT_TRUE(factor.ok());
      std::vector<std::byte> bytes(DTypeBytes(DType::kQ4_0, weights.size()));
      QuantizeWithFeedback(matrix, DType::kQ4_0, *factor, pool, bytes);
      DequantizeRow(DType::kQ4_0, bytes.data(), fed.size(), fed.data());
      for (size_t i = 0; i < weights.size(); ++i) {
        plain[i] -= weights[i];
        fed[i] -= weights[i];
      }
      const auto unseen = OutputError::Create(statistics[1][layer][size_t(input)], pool);
      ASSERT_TRUE(unseen.ok());
      EXPECT_LT(unseen->Of({fed.data(), rows, cols}), unseen->Of({plain.data(), rows, cols}))
          << "layer " << layer << " input " << size_t(input);
    }
  }
}

TEST(QuantizeCheckpointTest, AnObserverChangesNoLogits) {
  const auto source = Open(kTiny + "gemma3");
  ASSERT_NE(source, nullptr);
  CountingObserver observer;
  EXPECT_EQ(Logits(*source, &observer), Logits(*source));
  EXPECT_EQ(observer.row_count, 40 * kLinearInputCount * source->spec().layer_count);
}

// A directory with a tokenizer and a template of its own.
TEST(QuantizeCheckpointTest, TokenizerAndTemplateSurvive) {
  testing::TempDir directory;
  const std::string model = directory / "model";
  fs::create_directory(model);
  testing::TinyShape shape;
  shape.vocab = 1408;
  testing::WriteFile(model + "/config.json", testing::TinyHfConfig(shape));
  testing::WriteFile(model + "/model.safetensors", testing::TinySafetensors(shape));
  fs::copy_file(KVASIR_SOURCE_DIR "/tests/oracle/tokenizer_fixtures/smollm.json",
                model + "/tokenizer.json");
  testing::WriteFile(model + "/tokenizer_config.json",
                     R"({"bos_token":"<|im_start|>","eos_token":"<|im_end|>",)"
                     R"("chat_template":"{% for m in messages %}{{ m.content }}{% endfor %}"})");
  const auto source = Open(model);
  ASSERT_NE(source, nullptr);
  ThreadPool pool(1);
  const std::string path = directory / "out.gguf";
  const auto report = QuantizeCheckpoint(*source, {.type = DType::kQ4_0}, path, pool);
  ASSERT_TRUE(report.ok()) << report.status().message();
  const auto written = Open(path);
  ASSERT_NE(written, nullptr);
  const TokenizerData& before = source->tokenizer();
  const TokenizerData& after = written->tokenizer();
  EXPECT_EQ(after.chat_template, before.chat_template);
  EXPECT_FALSE(after.chat_template.empty());
  EXPECT_EQ(after.pre, "smollm");
  EXPECT_EQ(after.bos, before.bos);
  EXPECT_EQ(after.eos, before.eos);
  EXPECT_EQ(after.end_of_generation, before.end_of_generation);
  const auto original = Tokenizer::Create(before), copy = Tokenizer::Create(after);
  ASSERT_TRUE(original.ok() && copy.ok());
  const std::string text = "<|im_start|>user\nHow many are 1234 sheep?<|im_end|>\n";
  EXPECT_EQ((*copy)->Encode(text), (*original)->Encode(text));
  // A copy of the copy keeps the metadata, and needs to be asked for.
  const std::string again = directory / "again.gguf";
  EXPECT_FALSE(QuantizeCheckpoint(*written, {.type = DType::kQ8_0}, again, pool).ok());
  const auto copied =
      QuantizeCheckpoint(*written, {.type = DType::kQ8_0, .from_quantized = true}, again, pool);
  ASSERT_TRUE(copied.ok()) << copied.status().message();
  EXPECT_EQ(Open(again)->tokenizer().chat_template, before.chat_template);
}

void ExpectRefused(const Result<QuantizeReport>& report, const std::string& part) {
  ASSERT_FALSE(report.ok());
  EXPECT_NE(report.status().message().find(part), std::string::npos) << report.status().message();
}

TEST(QuantizeCheckpointTest, Refusals) {
  testing::TempDir directory;
  ThreadPool pool(1);
  const std::string path = directory / "out.gguf", tiny = directory / "tiny.gguf";
  testing::WriteFile(tiny, testing::TinyGguf());
  const auto quantized = Open(tiny);
  ExpectRefused(QuantizeCheckpoint(*quantized, {}, path, pool), "quantised already");
  ExpectRefused(
      QuantizeCheckpoint(*quantized, {.from_quantized = true, .replace = true}, tiny, pool),
      "is the model itself");
  const auto source = Open(kTiny + "llama3");
  testing::WriteFile(path, "in the way");
  ExpectRefused(QuantizeCheckpoint(*source, {}, path, pool), "exists already");
  EXPECT_EQ(*ReadFile(path, 100), "in the way");
  ASSERT_TRUE(QuantizeCheckpoint(*source, {.replace = true}, path, pool).ok());
  ExpectRefused(
      QuantizeCheckpoint(*source, {.feed_back_errors = true, .calibration_tokens = {1, 2}},
                         directory / "few", pool),
      "the calibration text has 2 tokens, at least 64");
  ExpectRefused(QuantizeCheckpoint(*source, {}, directory / "no/such/place", pool),
                "No such file or directory");
}

TEST(QuantizeCheckpointTest, NumbersThatNoTypeHoldsAreRefused) {
  testing::TempDir directory;
  const std::string model = directory / "model";
  fs::create_directory(model);
  std::string tensors = testing::TinySafetensors();
  // The last number of the file, of a down projection in bf16, becomes infinite.
  tensors[tensors.size() - 2] = '\x80';
  tensors[tensors.size() - 1] = '\x7F';
  testing::WriteFile(model + "/config.json", testing::TinyHfConfig());
  testing::WriteFile(model + "/model.safetensors", tensors);
  const auto source = Open(model);
  ASSERT_NE(source, nullptr);
  ThreadPool pool(1);
  const std::string path = directory / "out.gguf";
  ExpectRefused(QuantizeCheckpoint(*source, {}, path, pool), "down_proj.weight has a number");
  // Nothing is left behind, under no name.
  size_t file_count = 0;
  for ([[maybe_unused]] const auto& entry : fs::directory_iterator(directory.path())) ++file_count;
  EXPECT_EQ(file_count, 1u);
}

}  // namespace
}  // namespace kvasir
