// What touches the process: Ctrl-C, pipes, the environment, the progress line.

#include <gtest/gtest.h>
#include <poll.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>

#include "kvasir/cli/interrupt.h"
#include "kvasir/cli/model_options.h"
#include "kvasir/cli/output.h"
#include "kvasir/cli/progress.h"

namespace kvasir {
namespace {

bool Readable(int fd) {
  pollfd ready{fd, POLLIN, 0};
  return poll(&ready, 1, 0) == 1;
}

TEST(InterruptScopeTest, RemembersCtrlCUntilCleared) {
  InterruptScope interrupt;
  EXPECT_FALSE(interrupt.pressed());
  EXPECT_FALSE(Readable(interrupt.fd()));
  std::raise(SIGINT);
  EXPECT_TRUE(interrupt.pressed());
  EXPECT_TRUE(Readable(interrupt.fd()));
  interrupt.Clear();
  EXPECT_FALSE(interrupt.pressed());
  EXPECT_FALSE(Readable(interrupt.fd()));
}

TEST(InterruptScopeTest, PutsBackWhatWasThere) {
  struct sigaction before, after;
  sigaction(SIGINT, nullptr, &before);
  { InterruptScope interrupt; }
  sigaction(SIGINT, nullptr, &after);
  EXPECT_EQ(before.sa_handler, after.sa_handler);
}

TEST(OutputTest, AReaderThatLeavesIsNoError) {
  std::signal(SIGPIPE, SIG_IGN);
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  Output output(ends[1]);
  EXPECT_TRUE(output.Write("abc"));
  close(ends[0]);
  EXPECT_FALSE(output.Write("def"));
  EXPECT_FALSE(output.open());
  EXPECT_TRUE(output.status().ok());
  close(ends[1]);
}

TEST(OutputTest, AFullDiskIsAnError) {
  FILE* full = std::fopen("/dev/full", "w");
  if (full == nullptr) GTEST_SKIP() << "there is no /dev/full";
  Output output(fileno(full));
  EXPECT_FALSE(output.Write("abc"));
  EXPECT_EQ(output.status().code(), StatusCode::kIoError);
  std::fclose(full);
}

TEST(ProgressBarTest, DrawsALine) {
  EXPECT_EQ(ProgressBar::Line("loading", 0), "loading  [                              ]    0 %");
  EXPECT_EQ(ProgressBar::Line("loading", 0.5), "loading  [===============               ]   50 %");
  EXPECT_EQ(ProgressBar::Line("loading", 2), "loading  [==============================]  100 %");
}

TEST(ResolveModelPathTest, NamesWhereThePathCameFrom) {
  ModelOptions options;
  options.model_path = "/nonexistent/model.gguf";
  const Status flag = ResolveModelPath(options).status();
  EXPECT_EQ(flag.code(), StatusCode::kNotFound);
  EXPECT_EQ(flag.message(),
            "there is no file or directory '/nonexistent/model.gguf', which --model names");

  options.model_path.reset();
  setenv("KVASIR_MODEL", "/nonexistent/other.gguf", 1);
  EXPECT_EQ(ResolveModelPath(options).status().message(),
            "there is no file or directory '/nonexistent/other.gguf', which KVASIR_MODEL names");
  setenv("KVASIR_MODEL", KVASIR_SOURCE_DIR, 1);
  EXPECT_EQ(*ResolveModelPath(options), KVASIR_SOURCE_DIR);

  unsetenv("KVASIR_MODEL");
  setenv("XDG_CACHE_HOME", "/nonexistent/cache", 1);
  const Status missing = ResolveModelPath(options).status();
  EXPECT_EQ(missing.message(),
            "there is no model at "
            "/nonexistent/cache/kvasir/models/SmolLM2-135M-Instruct.Q4_1.gguf: run "
            "scripts/quickstart, which gets the default model, or name one with --model");
}

}  // namespace
}  // namespace kvasir
