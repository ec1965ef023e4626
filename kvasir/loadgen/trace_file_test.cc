#include "kvasir/loadgen/trace_file.h"

#include <gtest/gtest.h>

#include <string>

namespace kvasir {
namespace {

std::string Refusal(std::string_view text) {
  const Result<std::vector<TraceRequest>> trace = ParseTrace(text, 100);
  return trace.ok() ? "(accepted)" : trace.status().message();
}

TEST(ParseTraceTest, ReadsInOrderOfTimeAndCuts) {
  const std::string text =
      "{\"timestamp\": 0, \"input_length\": 600, \"output_length\": 5, \"hash_ids\": [0, 1]}\n\n"
      "{\"timestamp\": 27.5, \"input_length\": 512, \"output_length\": 7, \"hash_ids\": [0]}\r\n"
      "{\"timestamp\": 3, \"input_length\": 1, \"output_length\": 1, \"hash_ids\": [9], \"x\": 1}";
  const Result<std::vector<TraceRequest>> trace = ParseTrace(text, 100);
  ASSERT_TRUE(trace.ok()) << trace.status().message();
  ASSERT_EQ(trace->size(), 3u);
  EXPECT_EQ((*trace)[0].input_tokens, 600u);
  EXPECT_EQ((*trace)[0].hash_ids, (std::vector<uint64_t>{0, 1}));
  EXPECT_EQ((*trace)[1].timestamp_ms, 3);
  EXPECT_EQ((*trace)[2].timestamp_ms, 27.5);
  EXPECT_EQ((*trace)[2].output_tokens, 7u);
  EXPECT_EQ(ParseTrace(text, 2)->size(), 2u);
}

TEST(ParseTraceTest, RefusalsNameLineAndMember) {
  EXPECT_EQ(Refusal(""), "the trace has no requests");
  EXPECT_EQ(Refusal("\n \n"), "the trace has no requests");
  EXPECT_EQ(Refusal("[]"), "line 1: it is no JSON object");
  EXPECT_EQ(Refusal("{}"), "line 1: timestamp is not a number of milliseconds from 0 up");
  EXPECT_EQ(Refusal(R"({"timestamp": 1})"), "line 1: input_length is missing");
  EXPECT_EQ(Refusal(R"({"timestamp": 1, "input_length": -4})"),
            "line 1: input_length is -4, not a whole number from 1 to 10000000");
  EXPECT_EQ(Refusal(R"({"timestamp": 1, "input_length": 4, "output_length": 1.5})"),
            "line 1: output_length is 1.5, not a whole number from 1 to 10000000");
  const std::string head = R"({"timestamp": 1, "input_length": 513, "output_length": 1, )";
  EXPECT_EQ(Refusal("\n" + head + R"("hash_ids": 3})"), "line 2: hash_ids is not an array");
  EXPECT_EQ(Refusal(head + R"("hash_ids": ["a"]})"),
            "line 1: hash_ids holds \"a\", not a whole number from 0 up");
  EXPECT_EQ(Refusal(head + R"("hash_ids": [1]})"),
            "line 1: hash_ids has 1 ids, but 513 tokens are 2 blocks of 512");
  EXPECT_NE(Refusal("\x1f\x8b\x08").find("packed with gzip"), std::string::npos);
  EXPECT_NE(Refusal("{\"timestamp\": 1").find("line 1"), std::string::npos);
}

}  // namespace
}  // namespace kvasir
