#include "kvasir/weights/weights_identity.h"

#include <gtest/gtest.h>

#include <memory>
#include <set>
#include <string>

#include "kvasir/base/mapped_file.h"
#include "kvasir/weights/checkpoint_builder.h"

namespace kvasir {
namespace {

const std::string kTinyDir = KVASIR_SOURCE_DIR "/tests/oracle/logits_tiny/";

std::string IdentityOf(const std::string& path) {
  const auto checkpoint = OpenCheckpoint(kTinyDir + path);
  EXPECT_TRUE(checkpoint.ok()) << checkpoint.status().message();
  return checkpoint.ok() ? WeightsIdentity(**checkpoint) : "";
}

TEST(WeightsIdentity, IsTheSameTwiceAndDiffersBetweenModels) {
  std::set<std::string> identities;
  for (const char* path : {"llama_gguf/model.gguf", "llama_gguf_k/model.gguf", "gemma3", "qwen2"}) {
    const std::string identity = IdentityOf(path);
    EXPECT_EQ(identity.size(), 64);
    EXPECT_EQ(identity, IdentityOf(path));
    identities.insert(identity);
  }
  EXPECT_EQ(identities.size(), 4);
}

TEST(WeightsIdentity, OneByteOfATensorCounts) {
  Result<std::string> file = ReadFile(kTinyDir + "llama_gguf/model.gguf", 16 << 20);
  ASSERT_TRUE(file.ok());
  std::string bytes = *file;
  const auto identity = [&] {
    auto checkpoint = CheckpointBuilder::FromGgufBytes(std::as_bytes(std::span(bytes)));
    EXPECT_TRUE(checkpoint.ok()) << checkpoint.status().message();
    return checkpoint.ok() ? WeightsIdentity(**checkpoint) : "";
  };
  EXPECT_EQ(identity(), IdentityOf("llama_gguf/model.gguf"));
  bytes[bytes.size() - 40] ^= 1;  // of the last tensor, before the padding
  EXPECT_NE(identity(), IdentityOf("llama_gguf/model.gguf"));
}

}  // namespace
}  // namespace kvasir
