#include "kvasir/base/mapped_file.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <fstream>
#include <string>

#include "kvasir/base/aligned_buffer.h"

namespace kvasir {
namespace {

class MappedFileTest : public ::testing::Test {
 protected:
  std::string Path(const char* name) const {
    return testing::TempDir() + "kvasir_mapped_file_" + std::to_string(getpid()) + "_" + name;
  }
  std::string Write(const char* name, const std::string& content) const {
    std::ofstream(Path(name), std::ios::binary) << content;
    return Path(name);
  }
};

TEST_F(MappedFileTest, GivesTheBytesOfTheFile) {
  const std::string content(10'000, 'k');
  const std::string path = Write("bytes", content);
  auto file = MappedFile::Open(path);
  ASSERT_TRUE(file.ok()) << file.status().message();
  MappedFile moved = std::move(*file);
  ASSERT_EQ(moved.bytes().size(), content.size());
  EXPECT_EQ(std::memcmp(moved.bytes().data(), content.data(), content.size()), 0);
  MappedFile::DropPages(moved.bytes());
  EXPECT_EQ(moved.bytes()[9999], std::byte('k'));  // dropped pages come back from the file
  auto read = ReadFile(path, content.size());
  ASSERT_TRUE(read.ok());
  EXPECT_EQ(*read, content);
  unlink(path.c_str());
}

TEST_F(MappedFileTest, AnEmptyFileIsEmptyBytes) {
  const std::string path = Write("empty", "");
  auto file = MappedFile::Open(path);
  ASSERT_TRUE(file.ok());
  EXPECT_TRUE(file->bytes().empty());
  unlink(path.c_str());
}

TEST_F(MappedFileTest, RefusesWhatIsNoRegularFile) {
  EXPECT_EQ(MappedFile::Open(Path("absent")).status().code(), StatusCode::kNotFound);
  EXPECT_EQ(MappedFile::Open(testing::TempDir()).status().code(), StatusCode::kInvalidArgument);
  const std::string pipe = Path("pipe");
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  EXPECT_EQ(ReadFile(pipe, 100).status().code(), StatusCode::kInvalidArgument);
  unlink(pipe.c_str());
}

TEST_F(MappedFileTest, ReadFileIsBounded) {
  const std::string path = Write("long", "four");
  EXPECT_EQ(ReadFile(path, 3).status().code(), StatusCode::kResourceExhausted);
  EXPECT_TRUE(ReadFile(path, 4).ok());
  unlink(path.c_str());
}

TEST(AlignedBufferTest, IsZeroedAlignedAndRefusedWhenTooLarge) {
  auto buffer = AlignedBuffer::Allocate(10'001);
  ASSERT_TRUE(buffer.ok());
  EXPECT_EQ(reinterpret_cast<uintptr_t>(buffer->data()) % 4096, 0u);
  for (size_t i = 0; i < buffer->size(); ++i) ASSERT_EQ(buffer->data()[i], std::byte(0));
  EXPECT_TRUE(AlignedBuffer::Allocate(0).ok());
  EXPECT_EQ(AlignedBuffer::Allocate(size_t{1} << 62).status().code(),
            StatusCode::kResourceExhausted);
}

}  // namespace
}  // namespace kvasir
