#include "kvasir/weights/weights_digest.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <memory>
#include <string>

#include "kvasir/base/mapped_file.h"

namespace kvasir {
namespace {

const std::string kTinyModel = KVASIR_SOURCE_DIR "/tests/oracle/logits_tiny/llama_gguf/model.gguf";

class WeightsDigestTest : public testing::Test {
 protected:
  void SetUp() override {
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
    bytes_ = ReadFile(kTinyModel, 16 << 20).value();
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  void Write(const std::string& bytes) { std::ofstream(model_, std::ios::binary) << bytes; }
  std::string Digest(const std::string& cache) {
    const auto checkpoint = OpenCheckpoint(model_);
    EXPECT_TRUE(checkpoint.ok()) << checkpoint.status().message();
    return checkpoint.ok() ? WeightsDigest(**checkpoint, cache) : "";
  }
  // The only file of the cache.
  std::string Remembered() {
    for (const auto& entry : std::filesystem::directory_iterator(cache_)) {
      return entry.path().string();
    }
    return "";
  }

  const std::string folder_ = testing::TempDir() + "kvasir_weights_digest";
  const std::string cache_ = folder_ + "/cache/digests";
  const std::string model_ = folder_ + "/model.gguf";
  std::string bytes_;
};

TEST_F(WeightsDigestTest, EveryByteOfATensorCounts) {
  Write(bytes_);
  const std::string digest = Digest("");
  EXPECT_EQ(digest.size(), 64u);
  // Tensors are the end of the file; none of these lies where a sample would.
  for (const size_t from_end : {50, 1000, 7777}) {
    std::string changed = bytes_;
    changed[changed.size() - from_end] ^= 1;
    Write(changed);
    EXPECT_NE(Digest(""), digest) << from_end;
  }
}

TEST_F(WeightsDigestTest, IsRememberedAsLongAsTheFileStaysAsItIs) {
  Write(bytes_);
  const std::string digest = Digest(cache_);
  EXPECT_EQ(digest, Digest(""));
  ASSERT_NE(Remembered(), "");
  // What is remembered is what is answered.
  const std::string other(64, 'a');
  std::ofstream(Remembered()) << other;
  EXPECT_EQ(Digest(cache_), other);
  // A damaged memory is not believed.
  std::ofstream(Remembered()) << "nonsense";
  EXPECT_EQ(Digest(cache_), digest);
  // The same length and another byte, and the old modification time.
  const auto time = std::filesystem::last_write_time(model_);
  bytes_[bytes_.size() - 50] ^= 1;
  Write(bytes_);
  std::filesystem::last_write_time(model_, time);
  EXPECT_EQ(Digest(cache_), Digest(""));
  EXPECT_NE(Digest(cache_), digest);
}

TEST_F(WeightsDigestTest, ADirectoryThatCannotBeMadeIsNoError) {
  Write(bytes_);
  EXPECT_EQ(Digest(model_ + "/below_a_file"), Digest(""));
}

}  // namespace
}  // namespace kvasir
