// OpenCheckpoint on tiny checkpoints that `transformers` wrote
// (tests/oracle/make_tiny_checkpoints.py and its expected.json) and on real GGUF files where they
// are.

#include "kvasir/weights/checkpoint.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include "kvasir/base/json.h"
#include "kvasir/formats/gguf_quants.h"

namespace kvasir {
namespace {

const std::string kTinyDir = KVASIR_SOURCE_DIR "/tests/oracle/weights_tiny/";

Json ReadJson(const std::string& path) {
  const Result<std::string> text = ReadFile(path, 16 << 20);
  EXPECT_TRUE(text.ok()) << text.status().message();
  Result<Json> json = ParseJson(*text);
  EXPECT_TRUE(json.ok());
  return *json;
}

double Sum(const TensorView& tensor) {
  std::vector<float> row(tensor.cols);
  const size_t row_bytes = DTypeBytes(tensor.dtype, tensor.cols);
  double sum = 0;
  for (uint64_t r = 0; r < tensor.rows; ++r) {
    DequantizeRow(tensor.dtype, tensor.bytes.data() + r * row_bytes, tensor.cols, row.data());
    for (const float x : row) sum += x;
  }
  return sum;
}

void ExpectFrequencies(const RopeSpec& rope, const Json& expected) {
  ASSERT_EQ(rope.inverse_frequency.size(), expected.size());
  for (size_t i = 0; i < expected.size(); ++i) {
    // pow of two libraries: they may differ in the last bits.
    const float want = expected[i].get<float>();
    EXPECT_NEAR(rope.inverse_frequency[i], want, 3e-7f * want) << i;
  }
}

class TinyCheckpointTest : public testing::TestWithParam<const char*> {};

TEST_P(TinyCheckpointTest, IsReadAsTransformersReadsIt) {
  const std::string directory = kTinyDir + GetParam();
  const auto checkpoint = OpenCheckpoint(directory);
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status().message();
  const Checkpoint& c = **checkpoint;
  const ModelSpec& spec = c.spec();
  const Json expected = ReadJson(directory + "/expected.json");

  ExpectFrequencies(spec.rope, expected["inverse_frequency"]);
  ExpectFrequencies(spec.sliding_rope, expected["sliding_inverse_frequency"]);
  EXPECT_FLOAT_EQ(spec.attention_scale, expected["attention_scale"].get<float>());
  EXPECT_FLOAT_EQ(spec.embedding_scale, expected["embedding_scale"].get<float>());
  EXPECT_EQ(spec.sliding_window, expected["sliding_window"].get<uint32_t>());
  EXPECT_EQ(spec.head_dim, expected["head_dim"].get<uint32_t>());
  EXPECT_EQ(spec.tied_embeddings, expected["tied"].get<bool>());
  EXPECT_FALSE(spec.rope_rows_interleaved);
  for (uint32_t layer = 0; layer < spec.layer_count; ++layer) {
    EXPECT_EQ(spec.IsSliding(layer), expected["layer_is_sliding"][layer].get<bool>()) << layer;
  }
  EXPECT_EQ(c.tensors().size(), expected["tensor_sums"].size());
  for (const auto& [key, tensor] : c.tensors()) {
    ASSERT_TRUE(expected["tensor_sums"].contains(tensor.name)) << tensor.name;
    EXPECT_NEAR(Sum(tensor), expected["tensor_sums"][tensor.name].get<double>(), 1e-9)
        << tensor.name;
  }
  EXPECT_EQ(c.tokenizer().eos, 2);
  EXPECT_EQ(c.tokenizer().end_of_generation, std::vector<TokenId>{2});
}

INSTANTIATE_TEST_SUITE_P(Families, TinyCheckpointTest,
                         testing::Values("llama", "llama_linear", "mistral", "qwen2", "qwen3",
                                         "gemma3"));

TEST(CheckpointTest, FamiliesDifferWhereTheyShould) {
  const auto open = [](const std::string& name) {
    return std::move(OpenCheckpoint(kTinyDir + name)).value();
  };
  const auto llama = open("llama"), qwen2 = open("qwen2"), qwen3 = open("qwen3"),
             gemma = open("gemma3");
  EXPECT_EQ(llama->format_description(), "Hugging Face, 5 shards");
  EXPECT_EQ(llama->spec().rope.description, "theta 500000, llama3 x8");
  EXPECT_NE(llama->Find(TensorRole::kOutput), nullptr);
  EXPECT_NE(llama->Find(TensorRole::kAttnOBias, 1), nullptr);
  EXPECT_NE(qwen2->Find(TensorRole::kAttnQBias, 1), nullptr);
  EXPECT_EQ(qwen2->Find(TensorRole::kAttnOBias), nullptr);
  EXPECT_EQ(qwen2->Find(TensorRole::kOutput), nullptr);
  EXPECT_EQ(qwen3->Find(TensorRole::kAttnKNorm, 1)->cols, 16u);
  EXPECT_EQ(qwen3->spec().norm_weight_offset, 0);
  EXPECT_EQ(gemma->spec().norm_weight_offset, 1);
  EXPECT_EQ(gemma->spec().activation, Activation::kGeluTanh);
  EXPECT_TRUE(gemma->spec().post_norms);
  EXPECT_EQ(gemma->Find(TensorRole::kFfnNorm, 2)->name,
            "model.layers.2.pre_feedforward_layernorm.weight");
  EXPECT_EQ(gemma->Find(TensorRole::kFfnNorm, 3), nullptr);
}

// The path of a real model: $KVASIR_MODEL or the cache for the default one.
std::string RealModel(const char* file_name) {
  const char* model = std::getenv("KVASIR_MODEL");
  const char* home = std::getenv("HOME");
  if (model != nullptr && std::filesystem::path(model).filename() == file_name) return model;
  return std::string(home == nullptr ? "" : home) + "/.cache/kvasir/models/" + file_name;
}

TEST(RealModelTest, SmolLM2) {
  const std::string path = RealModel("SmolLM2-135M-Instruct.Q4_1.gguf");
  if (!std::filesystem::exists(path)) GTEST_SKIP() << path << " is not there";
  const auto checkpoint = OpenCheckpoint(path);
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status().message();
  const Checkpoint& c = **checkpoint;
  EXPECT_EQ(c.spec().family, "llama");
  EXPECT_EQ(c.spec().layer_count, 30u);
  EXPECT_EQ(c.spec().head_dim, 64u);
  EXPECT_EQ(c.spec().vocab_size, 49152u);
  EXPECT_TRUE(c.spec().rope_rows_interleaved);
  EXPECT_TRUE(c.spec().tied_embeddings);
  EXPECT_EQ(c.format_description(), "GGUF v3");
  EXPECT_EQ(c.tensors().size(), 272u);
  EXPECT_EQ(c.Find(TensorRole::kFfnDown, 29)->dtype, DType::kQ4_1);
  EXPECT_EQ(c.Find(TensorRole::kFfnDown, 29)->cols, 1536u);
  EXPECT_EQ(c.tokenizer().pre, "smollm");
  EXPECT_EQ(c.tokenizer().merges.size(), 48900u);
  EXPECT_EQ(c.tokenizer().end_of_generation, (std::vector<TokenId>{2, 0}));
  EXPECT_FALSE(c.tokenizer().add_bos);
}

TEST(RealModelTest, Gemma3) {
  const std::string path = RealModel("gemma-3-270m-q4_k_m.gguf");
  if (!std::filesystem::exists(path)) GTEST_SKIP() << path << " is not there";
  const auto checkpoint = OpenCheckpoint(path);
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status().message();
  const Checkpoint& c = **checkpoint;
  EXPECT_EQ(c.spec().family, "gemma3");
  EXPECT_EQ(c.spec().head_dim, 256u);
  EXPECT_EQ(c.spec().sliding_window, 512u);
  EXPECT_TRUE(c.spec().IsSliding(4));
  EXPECT_FALSE(c.spec().IsSliding(5));
  EXPECT_EQ(c.spec().norm_weight_offset, 0);
  EXPECT_FLOAT_EQ(c.spec().attention_scale, 1.0f / 16);
  EXPECT_EQ(c.spec().rope.description, "theta 1e+06");
  EXPECT_EQ(c.spec().sliding_rope.description, "theta 10000");
  EXPECT_EQ(c.tensors().size(), 236u);
  EXPECT_TRUE(c.tokenizer().add_bos);
  EXPECT_FALSE(c.tokenizer().add_space_prefix);
  EXPECT_EQ(c.tokenizer().end_of_generation, (std::vector<TokenId>{1, 106}));
}

TEST(CheckpointTest, SaysWhatIsWrongWithAPath) {
  EXPECT_EQ(OpenCheckpoint("/nonexistent/model.gguf").status().message(),
            "/nonexistent/model.gguf: no such file or directory");
  EXPECT_EQ(OpenCheckpoint("/dev/null").status().message(), "/dev/null: not a regular file");
}

}  // namespace
}  // namespace kvasir
