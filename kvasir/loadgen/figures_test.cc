#include "kvasir/loadgen/figures.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace kvasir {
namespace {

RequestRecord Answered(double due_ms, std::vector<double> chunk_ms, double end_ms) {
  RequestRecord record;
  record.due_ms = record.sent_ms = due_ms;
  record.chunk_ms = std::move(chunk_ms);
  record.end_ms = end_ms;
  record.prompt_tokens = 10;
  record.completion_tokens = record.chunk_ms.size();
  return record;
}

RequestRecord Failed(double due_ms, double end_ms, const std::string& kind) {
  RequestRecord record;
  record.due_ms = record.sent_ms = due_ms;
  record.end_ms = end_ms;
  record.error_kind = kind;
  record.error_detail = "why";
  return record;
}

LoadResult Round(std::vector<RequestRecord> records) {
  LoadResult result;
  result.records = std::move(records);
  return result;
}

const FigureRatio* Find(const std::vector<FigureRatio>& ratios, const std::string& name) {
  const auto found = std::find_if(ratios.begin(), ratios.end(),
                                  [&](const FigureRatio& ratio) { return ratio.name == name; });
  return found == ratios.end() ? nullptr : &*found;
}

// Worked out by hand.
TEST(ComputeFiguresTest, AddsUpARound) {
  LoadResult round =
      Round({Answered(0, {100, 110, 130}, 131), Answered(50, {250, 255}, 260),
             Failed(60, 2000, "http_503"), Failed(70, 80, "timeout"), Failed(71, 81, "timeout")});
  round.records[1].sent_ms = 53;
  round.records[0].cached_tokens = 4;
  round.unfinished_count = 2;
  round.unsent_count = 3;
  const LoadFigures figures = ComputeFigures({&round, 1}, {});
  EXPECT_EQ(figures.sent_count, 5u);
  EXPECT_EQ(figures.answered_count, 2u);
  EXPECT_EQ(figures.unfinished_count, 2u);
  EXPECT_EQ(figures.unsent_count, 3u);
  EXPECT_EQ(figures.errors, (std::map<std::string, size_t>{{"http_503", 1}, {"timeout", 2}}));
  EXPECT_EQ(figures.first_error, "http_503: why");
  EXPECT_DOUBLE_EQ(figures.duration_s, 2.0);
  EXPECT_DOUBLE_EQ(figures.requests_per_s(), 1.0);
  EXPECT_DOUBLE_EQ(figures.output_tokens_per_s(), 2.5);
  EXPECT_DOUBLE_EQ(figures.prompt_tokens_per_s(), 10.0);
  EXPECT_EQ(figures.ttft_ms.min, 100);
  EXPECT_EQ(figures.ttft_ms.max, 200);
  EXPECT_EQ(figures.itls_ms, (std::vector<double>{10, 20, 5}));
  EXPECT_EQ(figures.stall_ms.count, 2u);
  EXPECT_EQ(figures.stall_ms.min, 5);
  EXPECT_EQ(figures.stall_ms.max, 20);
  EXPECT_EQ(figures.e2e_ms.max, 210);
  EXPECT_EQ(figures.late_ms_max, 3);
  // Only the requests count for which the server told.
  EXPECT_TRUE(figures.has_cached);
  EXPECT_DOUBLE_EQ(figures.cached_share(), 0.4);
}

TEST(ComputeFiguresTest, RoundsAddTheirDurations) {
  const std::vector<LoadResult> rounds = {Round({Answered(0, {10}, 1000)}),
                                          Round({Answered(500, {600}, 1500)})};
  const LoadFigures figures = ComputeFigures(rounds, {});
  EXPECT_EQ(figures.round_count, 2u);
  EXPECT_DOUBLE_EQ(figures.duration_s, 2.0);
  EXPECT_DOUBLE_EQ(figures.requests_per_s(), 1.0);
  EXPECT_FALSE(figures.has_cached);
  EXPECT_EQ(ComputeFigures({}, {}).requests_per_s(), 0);
}

TEST(ComputeFiguresTest, GoodputHoldsEveryGoal) {
  std::vector<double> steady = {90}, stalled = {90};
  for (int i = 1; i <= 300; ++i) {
    steady.push_back(steady.back() + 10);
    // Four gaps of 300 are more than one per cent.
    stalled.push_back(stalled.back() + (i % 75 == 0 ? 200 : 10));
  }
  const LoadResult round =
      Round({Answered(0, steady, 4000), Answered(0, stalled, 4000), Answered(0, {500, 510}, 4000),
             Answered(0, {}, 4000), Answered(0, {95}, 4000)});
  const auto content = [&](LatencyGoals goals) {
    return ComputeFigures({&round, 1}, goals).content_count;
  };
  EXPECT_EQ(content({100, 0}), 3u);
  EXPECT_EQ(content({0, 50}), 3u);
  EXPECT_EQ(content({100, 50}), 2u);
  EXPECT_EQ(content({1000, 1000}), 4u);
  EXPECT_DOUBLE_EQ(ComputeFigures({&round, 1}, {100, 50}).goodput_per_s(), 0.5);
}

TEST(ComputeFiguresTest, GapsBesideAPromptAreApart) {
  RequestRecord prompt = Answered(25, {49}, 50);
  prompt.beside = true;
  const LoadResult round = Round({Answered(0, {10, 20, 30, 45, 60, 70}, 71), prompt});
  const LoadFigures figures = ComputeFigures({&round, 1}, {});
  EXPECT_EQ(figures.answered_count, 1u);
  EXPECT_EQ(figures.ttft_ms.count, 1u);
  EXPECT_EQ(figures.itl_ms.count, 5u);
  EXPECT_EQ(figures.itl_beside_ms.count, 3u);  // 20-30, 30-45, 45-60
  EXPECT_EQ(figures.itl_beside_ms.max, 15);
  EXPECT_EQ(figures.itl_alone_ms.count, 2u);
}

TEST(CompareRoundsTest, RatiosRoundByRound) {
  std::vector<LoadFigures> ours, theirs;
  for (const double end_ms : {1000.0, 2000.0, 4000.0}) {
    const LoadResult a = Round({Answered(0, {end_ms / 2, end_ms / 2}, end_ms)});
    const LoadResult b = Round({Answered(0, {100, 200}, 4000)});
    ours.push_back(ComputeFigures({&a, 1}, {}));
    theirs.push_back(ComputeFigures({&b, 1}, {}));
  }
  const std::vector<FigureRatio> ratios = CompareRounds(ours, theirs, {});
  const FigureRatio* rate = Find(ratios, "requests_per_s");
  ASSERT_NE(rate, nullptr);
  EXPECT_DOUBLE_EQ(rate->min, 1);
  EXPECT_DOUBLE_EQ(rate->median, 2);
  EXPECT_DOUBLE_EQ(rate->max, 4);
  const FigureRatio* ttft = Find(ratios, "ttft_ms_p50");
  ASSERT_NE(ttft, nullptr);
  EXPECT_DOUBLE_EQ(ttft->median, 10);
  // Gaps of nothing have no ratio.
  EXPECT_EQ(Find(ratios, "itl_ms_p50"), nullptr);
  EXPECT_EQ(Find(ratios, "goodput_per_s"), nullptr);
  EXPECT_TRUE(CompareRounds({}, {}, {}).empty());
}

}  // namespace
}  // namespace kvasir
