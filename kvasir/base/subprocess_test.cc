#include "kvasir/base/subprocess.h"

#include <gtest/gtest.h>

namespace kvasir {
namespace {

TEST(SubprocessTest, ReturnsWhatTheProgramSaysAndItsExitCode) {
  const Result<ProcessResult> result = RunProcess({"sh", "-c", "echo out; echo err >&2; exit 3"});
  ASSERT_TRUE(result.ok()) << result.status().message();
  EXPECT_EQ(result->exit_code, 3);
  EXPECT_EQ(result->output, "out\nerr\n");
}

TEST(SubprocessTest, ArgumentsReachTheProgramAsTheyAre) {
  const Result<ProcessResult> result = RunProcess({"printf", "%s|", "a b", "$HOME", "'\"", ""});
  ASSERT_TRUE(result.ok());
  EXPECT_EQ(result->output, "a b|$HOME|'\"||");
}

TEST(SubprocessTest, StandardInputIsEmpty) {
  const Result<ProcessResult> result = RunProcess({"cat"});
  ASSERT_TRUE(result.ok());
  EXPECT_EQ(result->exit_code, 0);
  EXPECT_EQ(result->output, "");
}

TEST(SubprocessTest, ASignalIsAnExitCodeToo) {
  const Result<ProcessResult> result = RunProcess({"sh", "-c", "kill -9 $$"});
  ASSERT_TRUE(result.ok());
  EXPECT_EQ(result->exit_code, 128 + 9);
}

TEST(SubprocessTest, LongOutputIsReadAndCut) {
  const Result<ProcessResult> result =
      RunProcess({"head", "-c", std::to_string(kProcessOutputBytesMax + 5000), "/dev/zero"});
  ASSERT_TRUE(result.ok());
  EXPECT_EQ(result->exit_code, 0);
  EXPECT_EQ(result->output.size(), kProcessOutputBytesMax);
}

TEST(SubprocessTest, AProgramThatDoesNotExistIsNamed) {
  const Result<ProcessResult> result = RunProcess({"kvasir-no-such-program"});
  ASSERT_FALSE(result.ok());
  EXPECT_EQ(result.status().code(), StatusCode::kNotFound);
  EXPECT_EQ(result.status().message(),
            "'kvasir-no-such-program' cannot be started: No such file or directory");
}

}  // namespace
}  // namespace kvasir
