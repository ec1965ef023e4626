// Files of the writer, read by the reader; tests/oracle/quantize_check_readers.py has PyPI's `gguf`
// and llama.cpp read one.

#include "kvasir/weights/gguf_writer.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <vector>

#include "kvasir/base/mapped_file.h"
#include "kvasir/weights/testing/tiny_model.h"

namespace kvasir {
namespace {

std::vector<std::byte> Bytes(size_t count, int value) {
  return std::vector<std::byte>(count, static_cast<std::byte>(value));
}

TEST(GgufWriterTest, IsReadBack) {
  testing::TempDir directory;
  const std::string path = directory / "a.gguf";
  GgufMetadata metadata;
  metadata.Uint("a.uint", 7);
  metadata.Float("a.float", 0.5f);
  metadata.Bool("a.bool", true);
  metadata.String("a.string", "text");
  metadata.Strings("a.strings", std::vector<std::string>{"", "b"});
  metadata.Floats("a.floats", std::vector<float>{1, -2});
  metadata.Ints("a.ints", std::vector<int32_t>{-3});
  metadata.Bools("a.bools", {true, false});
  auto writer = GgufWriter::Create(path, metadata,
                                   {{"q", DType::kQ4_K, {2, 256}}, {"v", DType::kF32, {3}}}, false);
  ASSERT_TRUE(writer.ok()) << writer.status().message();
  ASSERT_TRUE((*writer)->Append(Bytes(144, 1)).ok());
  ASSERT_TRUE((*writer)->Append(Bytes(144, 2)).ok());
  ASSERT_TRUE((*writer)->Append(Bytes(12, 3)).ok());
  EXPECT_FALSE(std::filesystem::exists(path));
  ASSERT_TRUE((*writer)->Finish().ok());
  EXPECT_EQ(std::filesystem::file_size(path), (*writer)->file_bytes());

  const auto mapped = MappedFile::Open(path);
  ASSERT_TRUE(mapped.ok());
  const auto file = GgufFile::Parse(mapped->bytes());
  ASSERT_TRUE(file.ok()) << file.status().message();
  EXPECT_EQ(file->version(), 3u);
  EXPECT_EQ(std::get<uint64_t>(file->metadata().at("a.uint")), 7u);
  EXPECT_EQ(std::get<double>(file->metadata().at("a.float")), 0.5);
  EXPECT_EQ(std::get<bool>(file->metadata().at("a.bool")), true);
  EXPECT_EQ(*file->Strings("a.strings"), (std::vector<std::string>{"", "b"}));
  EXPECT_EQ(*file->Floats("a.floats"), (std::vector<float>{1, -2}));
  EXPECT_EQ(*file->Ints("a.ints"), std::vector<int32_t>{-3});
  EXPECT_EQ(*file->Bools("a.bools"), (std::vector<bool>{true, false}));
  const FileTensor* q = file->FindTensor("q");
  ASSERT_NE(q, nullptr);
  EXPECT_EQ(q->shape, (std::vector<uint64_t>{2, 256}));
  EXPECT_EQ(q->bytes.front(), std::byte{1});
  EXPECT_EQ(q->bytes.back(), std::byte{2});
  EXPECT_EQ(file->FindTensor("v")->bytes.back(), std::byte{3});

  // Copied entry by entry, the metadata are the same bytes.
  GgufMetadata copy;
  for (const GgufEntry& entry : file->entries()) copy.Copy(entry);
  EXPECT_EQ(copy.bytes(), metadata.bytes());
  EXPECT_EQ(copy.count(), metadata.count());
}

TEST(GgufWriterTest, AnUnfinishedFileVanishes) {
  testing::TempDir directory;
  {
    auto writer = GgufWriter::Create(directory / "a.gguf", {}, {{"v", DType::kF32, {3}}}, false);
    ASSERT_TRUE(writer.ok());
    EXPECT_FALSE(std::filesystem::is_empty(directory.path()));
  }
  EXPECT_TRUE(std::filesystem::is_empty(directory.path()));
}

TEST(GgufWriterTest, WhatTheDiskCannotHoldIsNotBegun) {
  testing::TempDir directory;
  const auto writer = GgufWriter::Create(directory / "a.gguf", {},
                                         {{"v", DType::kF32, {uint64_t{1} << 50}}}, false);
  ASSERT_FALSE(writer.ok());
  EXPECT_EQ(writer.status().code(), StatusCode::kResourceExhausted);
  EXPECT_NE(writer.status().message().find("left"), std::string::npos);
  EXPECT_TRUE(std::filesystem::is_empty(directory.path()));
}

}  // namespace
}  // namespace kvasir
