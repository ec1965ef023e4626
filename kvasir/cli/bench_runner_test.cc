#include "kvasir/cli/bench_runner.h"

#include <gtest/gtest.h>

#include "kvasir/cli/testing/fakes.h"

namespace kvasir {
namespace {

TEST(ParseBenchTestsTest, ReadsLists) {
  const Result<std::vector<BenchTest>> tests = ParseBenchTests("pp512,tg64");
  ASSERT_TRUE(tests.ok());
  ASSERT_EQ(tests->size(), 2u);
  EXPECT_EQ((*tests)[0].kind, BenchTest::Kind::kPrompt);
  EXPECT_EQ((*tests)[0].token_count, 512u);
  EXPECT_EQ((*tests)[1].Name(), "tg64");
  for (const char* bad : {"", "pp", "pp0", "tg-1", "xx5", "pp8,,tg8", "pp8,", "p", "tg99999999"}) {
    EXPECT_EQ(ParseBenchTests(bad).status().code(), StatusCode::kInvalidArgument) << bad;
  }
}

class BenchRunnerTest : public testing::Test {
 protected:
  std::vector<double> Run(const BenchSettings& settings, const BenchTest& test) {
    auto runner = BenchRunner::Create(model_, settings, {&test, 1});
    EXPECT_TRUE(runner.ok()) << runner.status().message();
    Result<std::vector<double>> rates = (*runner)->Run(test);
    EXPECT_TRUE(rates.ok()) << rates.status().message();
    return rates.ok() ? *rates : std::vector<double>();
  }

  FakeModel model_;
};

using Shapes = std::vector<FakeModel::Shape>;

TEST_F(BenchRunnerTest, APromptIsReadInChunksWithLogitsAtItsEnd) {
  const std::vector<double> rates =
      Run({.repetitions = 2, .chunk_tokens = 32}, {BenchTest::Kind::kPrompt, 40});
  EXPECT_EQ(rates.size(), 2u);
  EXPECT_TRUE(std::is_sorted(rates.begin(), rates.end()));
  const Shapes one = {{1, 32, 0, 32}, {1, 8, 1, 40}};
  Shapes all;  // the warm-up and two repetitions
  for (int i = 0; i < 3; ++i) all.insert(all.end(), one.begin(), one.end());
  EXPECT_EQ(model_.shapes, all);
}

TEST_F(BenchRunnerTest, DecodingFeedsTheChosenTokenBack) {
  Run({.repetitions = 1, .chunk_tokens = 32}, {BenchTest::Kind::kDecode, 3});
  const Shapes one = {{1, 1, 1, 1}, {1, 1, 1, 2}, {1, 1, 1, 3}};
  Shapes all = one;
  all.insert(all.end(), one.begin(), one.end());
  EXPECT_EQ(model_.shapes, all);
  EXPECT_EQ(model_.last_tokens, std::vector<TokenId>{model_.favourite});
}

TEST_F(BenchRunnerTest, DepthAndPromptAreReadOnceForAllSequences) {
  Run({.depth = 10, .prompt = 20, .sequence_count = 3, .repetitions = 2, .chunk_tokens = 64},
      {BenchTest::Kind::kDecode, 1});
  const Shapes expected = {
      {3, 64, 2, 64}, {1, 26, 1, 30}, {3, 3, 3, 93}, {3, 3, 3, 93}, {3, 3, 3, 93}};
  EXPECT_EQ(model_.shapes, expected);
}

TEST_F(BenchRunnerTest, ASharedPrefixIsReadOnce) {
  const BenchTest test = {BenchTest::Kind::kPrompt, 70};
  Run({.shared_prefix = 64, .sequence_count = 3, .repetitions = 1, .chunk_tokens = 64}, test);
  // The first sequence in two chunks, then 6 tokens behind two shared blocks for each of the
  // others.
  const Shapes one = {{1, 64, 0, 64}, {1, 6, 1, 70}, {2, 12, 2, 140}};
  Shapes all = one;
  all.insert(all.end(), one.begin(), one.end());
  EXPECT_EQ(model_.shapes, all);

  model_.shapes.clear();
  Run({.shared_prefix = 64,
       .share_blocks = false,
       .sequence_count = 3,
       .repetitions = 1,
       .chunk_tokens = 64},
      test);
  size_t rows = 0;
  for (const FakeModel::Shape& shape : model_.shapes) rows += shape.rows;
  EXPECT_EQ(rows, 2 * 3 * 70);
}

// Decodes behind a shared prefix, from a position inside a block that was shared: each sequence
// writes to a copy of its own.
TEST_F(BenchRunnerTest, DecodesBehindASharedPrefix) {
  Run({.prompt = 40,
       .shared_prefix = 40,
       .sequence_count = 2,
       .repetitions = 2,
       .chunk_tokens = 64},
      {BenchTest::Kind::kDecode, 30});
  EXPECT_EQ(model_.shapes[0], (FakeModel::Shape{1, 40, 1, 40}));
  EXPECT_EQ(model_.shapes[1], (FakeModel::Shape{1, 8, 1, 40}));
  EXPECT_EQ(model_.shapes.size(), 2 + 3 * 30);
}

TEST_F(BenchRunnerTest, RefusesWhatDoesNotFitInMemory) {
  const BenchTest test = {BenchTest::Kind::kDecode, size_t{1} << 20};
  const auto runner =
      BenchRunner::Create(model_, {.depth = size_t{1} << 40, .sequence_count = 1024}, {&test, 1});
  EXPECT_EQ(runner.status().code(), StatusCode::kResourceExhausted);
}

}  // namespace
}  // namespace kvasir
