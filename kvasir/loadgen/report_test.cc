#include "kvasir/loadgen/report.h"

#include <gtest/gtest.h>

#include <limits>
#include <string>
#include <vector>

#include "kvasir/loadgen/cdf_chart.h"

namespace kvasir {
namespace {

ServerReport Server(const std::string& name, double end_ms) {
  RequestRecord record;
  record.chunk_ms = {100, 110, 130};
  record.end_ms = end_ms;
  record.completion_tokens = 3;
  LoadResult result;
  result.records.push_back(record);
  ServerReport server = {name, "http://h:1", "m", {}, ComputeFigures({&result, 1}, {})};
  server.rounds.push_back(server.all);
  return server;
}

LoadReport TwoServers() {
  LoadReport report;
  report.servers = {Server("ours", 500), Server("theirs", 1000)};
  report.endpoint = "/v1/chat/completions";
  report.exact_lengths = true;
  return report;
}

TEST(ReportTest, TheTableHasFiguresAndRatios) {
  const std::string table = ReportTable(TwoServers());
  EXPECT_NE(table.find("16 requests, all at once, 256 tokens in, 64 out\n"), std::string::npos);
  EXPECT_NE(table.find("requests/s                              2.00            1.00\n"),
            std::string::npos)
      << table;
  EXPECT_NE(table.find("TTFT p50, ms                             100             100\n"),
            std::string::npos);
  EXPECT_NE(table.find("prompt tokens cached                not told        not told\n"),
            std::string::npos);
  EXPECT_NE(table.find("requests_per_s                          2.00            2.00"),
            std::string::npos);
  EXPECT_EQ(table.find("goodput"), std::string::npos);
  EXPECT_EQ(table.find("stopped"), std::string::npos);
}

TEST(ReportTest, TheTableNamesErrorsAndWhatWasCutOff) {
  LoadReport report = TwoServers();
  report.servers.pop_back();
  report.stopped = true;
  report.servers[0].all.errors = {{"http_503", 3}};
  report.servers[0].all.first_error = "http_503: full";
  report.servers[0].all.unfinished_count = 2;
  const std::string table = ReportTable(report);
  EXPECT_NE(table.find("stopped early"), std::string::npos);
  EXPECT_NE(table.find("ours: 3 times http_503\nours: the first was http_503: full\n"
                       "ours: 2 requests were cut off, 0 were not sent\n"),
            std::string::npos)
      << table;
  EXPECT_EQ(table.find("requests_per_s"), std::string::npos);
}

TEST(ReportTest, JsonHasTheSame) {
  const Json json = ReportJson(TwoServers());
  EXPECT_EQ(json["servers"][0]["name"], "ours");
  EXPECT_EQ(json["servers"][1]["all"]["requests_per_s"], 1.0);
  EXPECT_EQ(json["servers"][0]["rounds"].size(), 1u);
  EXPECT_TRUE(json["servers"][0]["all"]["cached_share"].is_null());
  EXPECT_EQ(json["ratios"]["requests_per_s"]["median"], 2.0);
  EXPECT_EQ(json["workload"]["requests"], 16);
  LoadReport alone = TwoServers();
  alone.servers.pop_back();
  EXPECT_FALSE(ReportJson(alone).contains("ratios"));
}

// Tags are closed, and nothing that XML reserves is left.
void ExpectWellFormed(const std::string& svg) {
  std::vector<std::string> open;
  for (size_t at = svg.find('<'); at != std::string::npos; at = svg.find('<', at + 1)) {
    const size_t end = svg.find('>', at);
    ASSERT_NE(end, std::string::npos);
    const std::string tag = svg.substr(at + 1, end - at - 1);
    EXPECT_EQ(tag.find('<'), std::string::npos) << tag;
    if (tag.ends_with('/')) continue;
    if (tag.starts_with('/')) {
      ASSERT_FALSE(open.empty());
      EXPECT_EQ(open.back(), tag.substr(1));
      open.pop_back();
    } else {
      open.push_back(tag.substr(0, tag.find(' ')));
    }
  }
  EXPECT_TRUE(open.empty());
  EXPECT_TRUE(svg.starts_with("<svg xmlns=\"http://www.w3.org/2000/svg\""));
  EXPECT_EQ(svg.find("nan"), std::string::npos);
  EXPECT_EQ(svg.find("inf"), std::string::npos);
}

TEST(CdfChartTest, IsWellFormedWhateverItGets) {
  ExpectWellFormed(ReportSvg(TwoServers()));
  ExpectWellFormed(CdfChart("", {}));
  ExpectWellFormed(CdfChart("<&\"\x01\xFF", {{"a<b", {{"</svg>", {1, 2}}, {"&", {}}}}}));
  const double infinity = std::numeric_limits<double>::infinity();
  ExpectWellFormed(CdfChart("t", {{"odd", {{"x", {0, 0, infinity, -1, 1e300, 1e-300}}}}}));
  ExpectWellFormed(CdfChart("t", {{"zeros", {{"x", {0, 0}}}}}));
}

TEST(CdfChartTest, CurvesGoFromNothingToAll) {
  const std::string svg = CdfChart("t", {{"p", {{"x", {1, 10, 100}}}}});
  // The axis goes from 1 to 100 over 400 pixels from x = 56; 100 % is at y = 64, nothing at 324.
  EXPECT_NE(svg.find("points=\"56.0,324.0 56.0,237.3 256.0,150.7 456.0,64.0 456.0,64.0\""),
            std::string::npos)
      << svg;
  std::vector<double> many(100'000);
  for (size_t i = 0; i < many.size(); ++i) many[i] = 1 + static_cast<double>(i);
  EXPECT_LT(CdfChart("t", {{"p", {{"x", many}}}}).size(), 20'000u);
}

}  // namespace
}  // namespace kvasir
