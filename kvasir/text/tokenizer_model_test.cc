// Token ids of real vocabularies, read through OpenCheckpoint from the model files that are at
// hand: the default model (env KVASIR_MODEL) and a Gemma 3 (env KVASIR_GEMMA_MODEL), each against
// the hashes in tests/oracle/tokenizer_fixtures/.

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>

#include "kvasir/text/tokenizer.h"
#include "kvasir/text/tokenizer_test_ids.h"
#include "kvasir/text/tokenizer_test_text.h"
#include "kvasir/weights/checkpoint.h"

namespace kvasir {
namespace {

// The path in `variable`, else `file_name` in the cache; empty when there is no such file.
std::string ModelPath(const char* variable, const std::string& file_name) {
  const char* named = std::getenv(variable);
  const char* home = std::getenv("HOME");
  const std::string path = named != nullptr ? named
                           : home != nullptr
                               ? std::string(home) + "/.cache/kvasir/models/" + file_name
                               : "";
  return std::filesystem::exists(path) ? path : "";
}

void ExpectModelHashes(const std::string& path, const std::string& name, bool parse_special) {
  const Result<std::unique_ptr<Checkpoint>> checkpoint = OpenCheckpoint(path);
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status().message();
  const auto tokenizer = Tokenizer::Create((*checkpoint)->tokenizer());
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status().message();
  ExpectHashes(**tokenizer, name, {.add_special = false, .parse_special = parse_special});
}

TEST(TokenizerModelTest, SmolLm2HasTheIdsOfTokenizers) {
  const std::string path = ModelPath("KVASIR_MODEL", "SmolLM2-135M-Instruct.Q4_1.gguf");
  if (path.empty()) GTEST_SKIP() << "no default model: set KVASIR_MODEL or run scripts/quickstart";
  ExpectModelHashes(path, "model_smollm", true);
}

TEST(TokenizerModelTest, Gemma3HasTheIdsOfSentencePiece) {
  const std::string path = ModelPath("KVASIR_GEMMA_MODEL", "gemma-3-270m-q4_k_m.gguf");
  if (path.empty()) GTEST_SKIP() << "no Gemma 3 model: set KVASIR_GEMMA_MODEL to its GGUF";
  ExpectModelHashes(path, "model_gemma", false);
}

}  // namespace
}  // namespace kvasir
