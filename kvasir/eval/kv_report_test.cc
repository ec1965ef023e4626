#include "kvasir/eval/kv_report.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace kvasir {
namespace {

KvReportRow Row(const std::string& kv, size_t context, double bits, double kl) {
  KvReportRow row;
  row.kv = kv;
  row.context_tokens = context;
  row.window_count = 2;
  row.measured.bits_per_element = bits;
  row.measured.quality.token_count = 1000;
  row.measured.quality.perplexity = 11;
  row.measured.quality.mean_kl = kl;
  row.measured.quality.p999_kl = 10 * kl;
  row.measured.quality.top1 = 0.985;
  row.reference.perplexity = 10;
  return row;
}

const KvReportSource kSource = {"tiny & <small>", "Q4_1", "int8", "avx2", "book.txt", "ab12"};

// Tags in the order of the text; fails where one is closed that is not open, or none is.
void ExpectBalancedXml(const std::string& xml) {
  std::vector<std::string> open;
  for (size_t at = xml.find('<'); at != std::string::npos; at = xml.find('<', at + 1)) {
    const size_t end = xml.find('>', at);
    ASSERT_NE(end, std::string::npos);
    const std::string tag = xml.substr(at + 1, end - at - 1);
    const std::string name = tag.substr(0, tag.find_first_of(" \n/", 1));
    if (tag[0] == '/') {
      ASSERT_FALSE(open.empty());
      EXPECT_EQ(tag.substr(1), open.back());
      open.pop_back();
    } else if (tag.back() != '/') {
      open.push_back(name);
    }
  }
  EXPECT_TRUE(open.empty());
}

TEST(KvReportTest, JsonHasRowsAndNothingElse) {
  KvReportRow row = Row("int4", 2048, 4.5, 0.01);
  row.measured.decode = row.measured.quality;
  row.measured.decode_same_count = 999;
  row.measured.rotated = true;
  row.measured.open_blocks = 4;
  ProbeTally all{10, 10, 50, 50, 1.0}, some{10, 5, 50, 40, 20.0};
  row.probes = {{ProbeKind::kPasskey, all, some, true}, {ProbeKind::kCopy, some, some, false}};
  const std::vector<KvReportRow> rows = {Row("bf16", 2048, 16, 0), row};
  const Json json = KvReportJson(kSource, rows);
  EXPECT_EQ(json.size(), 1u);
  ASSERT_EQ(json["rows"].size(), 2u);
  const Json& second = json["rows"][1];
  EXPECT_EQ(second["kv"], "int4");
  EXPECT_EQ(second["context"], 2048);
  EXPECT_EQ(second["bits_per_element"], 4.5);
  EXPECT_EQ(second["rotation"], "hadamard");
  EXPECT_EQ(second["open_blocks"], 4);
  EXPECT_EQ(json["rows"][0]["rotation"], "none");
  EXPECT_EQ(second["perplexity"], 11);
  EXPECT_EQ(second["mean_kl"], 0.01);
  EXPECT_EQ(second["p999_kl"], 0.1);
  EXPECT_EQ(second["top1"], 0.985);
  EXPECT_EQ(second["decode"]["same_as_prefill"], 999);
  EXPECT_EQ(second["probes"]["passkey"]["score"], 0.5);
  EXPECT_TRUE(second["probes"]["copy"]["score"].is_null());
  EXPECT_EQ(second["probes"]["copy"]["bf16_score"], 0.8);
  EXPECT_FALSE(json["rows"][0].contains("probes"));
}

TEST(KvReportTest, MarkdownHasALineForEachRow) {
  std::vector<KvReportRow> rows = {Row("bf16", 512, 16, 0), Row("int8", 512, 8.25, 0.001)};
  rows[1].measured.rotated = true;
  const std::string text = KvReportMarkdown(kSource, rows);
  EXPECT_NE(text.find("| 512 | bf16 | none | 16.00 |"), std::string::npos) << text;
  EXPECT_NE(text.find("| 512 | int8 | hadamard | 8.25 | 11.0000 | +10.00 % | 0.001 | 0.01 | "
                      "98.50 % | 1000 |\n"),
            std::string::npos)
      << text;
  EXPECT_NE(text.find("SHA-256 ab12"), std::string::npos);
  EXPECT_EQ(text.find("Probes"), std::string::npos);
}

TEST(KvReportTest, SvgIsXmlWithALabelForEachPoint) {
  const std::vector<KvReportRow> rows = {Row("bf16", 512, 16, 0), Row("int8", 512, 8.25, 0.001),
                                         Row("int4", 512, 4.5, 0.05), Row("a<b", 2048, 5, 0.02)};
  const std::string svg = KvReportSvg(kSource, rows);
  ExpectBalancedXml(svg);
  EXPECT_NE(svg.find(">int8</text>"), std::string::npos);
  EXPECT_NE(svg.find(">a&lt;b</text>"), std::string::npos);
  EXPECT_NE(svg.find("tiny &amp; &lt;small&gt;"), std::string::npos);
  EXPECT_EQ(svg.find(">bf16</text>"), std::string::npos);  // has no place on a logarithmic axis
  ExpectBalancedXml(KvReportSvg(kSource, {}));
}

}  // namespace
}  // namespace kvasir
