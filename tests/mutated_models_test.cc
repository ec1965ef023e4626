// Two thousand damaged models: OpenCheckpoint must refuse each within a second and in one sentence,
// or return a checkpoint that can be read to its last byte. Run under ASan and UBSan it shows that
// no damaged byte is used before it is checked.

#include <gtest/gtest.h>

#include <chrono>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "kvasir/formats/gguf_quants.h"
#include "kvasir/weights/checkpoint.h"
#include "kvasir/weights/testing/tiny_model.h"

namespace kvasir {
namespace {

using testing::TempDir;
using testing::WriteFile;

constexpr int kMutationsPerKind = 1000;
constexpr double kSecondsMax = 1;

// The numbers that break readers: huge, negative when signed, overflowing when multiplied.
constexpr uint64_t kHostileNumbers[] = {0,
                                        1,
                                        0x7F,
                                        0xFF,
                                        0x7FFFFFFF,
                                        0xFFFFFFFF,
                                        uint64_t{1} << 32,
                                        uint64_t{1} << 60,
                                        uint64_t{1} << 62,
                                        uint64_t{1} << 63,
                                        ~uint64_t{0},
                                        ~uint64_t{0} - 7};

// Damages `bytes`; positions are mostly within the first `hot_bytes`, where the structure is.
void Mutate(std::string* bytes, size_t hot_bytes, std::mt19937* random) {
  const auto below = [random](size_t limit) { return limit == 0 ? 0 : (*random)() % limit; };
  const size_t range = below(8) == 0 ? bytes->size() : std::min(hot_bytes, bytes->size());
  const size_t place = below(range);
  switch (below(6)) {
    case 0:
      for (size_t flips = 1 + below(4); flips > 0; --flips) {
        (*bytes)[below(range)] ^= static_cast<char>(1 << below(8));
      }
      break;
    case 1:
      bytes->resize(below(bytes->size()));
      break;
    case 2: {  // a hostile number over an aligned or odd place
      const uint64_t number = kHostileNumbers[below(std::size(kHostileNumbers))];
      const size_t width = below(2) == 0 ? 4 : 8;
      std::memcpy(bytes->data() + place, &number, std::min(width, bytes->size() - place));
      break;
    }
    case 3: {  // two runs change places: offsets, lengths, names
      const size_t other = below(range), width = 8;
      if (place + width > bytes->size() || other + width > bytes->size()) break;
      char run[width];
      std::memcpy(run, bytes->data() + place, width);
      std::memmove(bytes->data() + place, bytes->data() + other, width);
      std::memcpy(bytes->data() + other, run, width);
      break;
    }
    case 4:
      bytes->erase(place, 1 + below(16));
      break;
    default:
      bytes->insert(place, bytes->substr(below(range), 1 + below(64)));
  }
}

// Reads every number of every tensor.
void ReadWhole(const Checkpoint& checkpoint) {
  for (const auto& [key, tensor] : checkpoint.tensors()) {
    std::vector<float> row(tensor.cols);
    const size_t row_bytes = DTypeBytes(tensor.dtype, tensor.cols);
    ASSERT_EQ(tensor.bytes.size(), tensor.rows * row_bytes) << tensor.name;
    for (uint64_t r = 0; r < tensor.rows; ++r) {
      DequantizeRow(tensor.dtype, tensor.bytes.data() + r * row_bytes, tensor.cols, row.data());
    }
  }
  for (const TokenId id : checkpoint.tokenizer().end_of_generation) {
    ASSERT_LT(id, static_cast<TokenId>(checkpoint.spec().vocab_size));
  }
}

void ExpectOneSentence(const std::string& message) {
  EXPECT_GT(message.size(), 10u);
  EXPECT_LT(message.size(), 2000u);
  EXPECT_FALSE(message.ends_with('.')) << message;
  for (const char c : message) ASSERT_GE(static_cast<unsigned char>(c), 0x20) << message;
}

// Opens `path` and returns whether it was refused.
bool OpenAndCheck(const std::string& path) {
  const auto begin = std::chrono::steady_clock::now();
  const auto checkpoint = OpenCheckpoint(path);
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
  EXPECT_LT(seconds.count(), kSecondsMax);
  if (checkpoint.ok()) {
    ReadWhole(**checkpoint);
  } else {
    ExpectOneSentence(checkpoint.status().message());
  }
  return !checkpoint.ok();
}

TEST(MutatedModelsTest, Gguf) {
  const TempDir directory;
  const std::string path = (directory / "model.gguf").string();
  const std::string original = testing::TinyGguf();
  WriteFile(path, original);
  ASSERT_FALSE(OpenAndCheck(path));
  // The metadata and the table of 20 tensors, about 70 bytes each.
  const size_t head_bytes = testing::TinyGgufFields({}).File().size() + 20 * 70;
  int refused = 0;
  for (int i = 0; i < kMutationsPerKind; ++i) {
    SCOPED_TRACE("mutation " + std::to_string(i));
    std::mt19937 random(i);
    std::string bytes = original;
    for (size_t damage = 1 + random() % 2; damage > 0 && !bytes.empty(); --damage) {
      Mutate(&bytes, head_bytes, &random);
    }
    WriteFile(path, bytes);
    refused += OpenAndCheck(path);
    if (::testing::Test::HasFatalFailure()) return;
  }
  // Some damage hits only a name or a weight; most must be noticed.
  EXPECT_GT(refused, kMutationsPerKind / 2);
}

TEST(MutatedModelsTest, HuggingFaceDirectory) {
  const TempDir directory;
  const std::string tensors = testing::TinySafetensors(), config = testing::TinyHfConfig();
  const std::string generation = "{\"eos_token_id\": [1, 3]}";
  const std::string tokenizer =
      "{\"added_tokens\": [{\"id\": 1, \"content\": \"<|im_end|>\", \"special\": true}],"
      " \"post_processor\": {\"single\": [{\"SpecialToken\": {\"id\": \"<|im_end|>\"}}]},"
      " \"model\": {\"vocab\": {\"a\": 0}}}";
  const std::string tokenizer_config =
      "{\"eos_token\": {\"content\": \"<|im_end|>\"}, \"chat_template\": [{\"name\": "
      "\"default\", \"template\": \"{{ messages }}\"}]}";
  const struct {
    const char* name;
    const std::string& content;
    size_t hot_bytes;
  } files[] = {{"model.safetensors", tensors, 3000},
               {"config.json", config, config.size()},
               {"generation_config.json", generation, generation.size()},
               {"tokenizer.json", tokenizer, tokenizer.size()},
               {"tokenizer_config.json", tokenizer_config, tokenizer_config.size()}};
  for (const auto& file : files) WriteFile(directory / file.name, file.content);
  ASSERT_FALSE(OpenAndCheck(directory.path()));
  int refused = 0;
  for (int i = 0; i < kMutationsPerKind; ++i) {
    SCOPED_TRACE("mutation " + std::to_string(i));
    std::mt19937 random(i);
    // Half of them in the tensors, the rest spread over the small files.
    const auto& file = files[i % 2 == 0 ? 0 : 1 + i / 2 % 4];
    std::string bytes = file.content;
    Mutate(&bytes, file.hot_bytes, &random);
    WriteFile(directory / file.name, bytes);
    refused += OpenAndCheck(directory.path());
    WriteFile(directory / file.name, file.content);
    if (::testing::Test::HasFatalFailure()) return;
  }
  EXPECT_GT(refused, kMutationsPerKind / 2);
}

}  // namespace
}  // namespace kvasir
