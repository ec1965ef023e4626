#include "kvasir/base/json.h"

#include <gtest/gtest.h>

namespace kvasir {
namespace {

TEST(JsonTest, KeepsTheOrderOfMembers) {
  const auto value = ParseJson(R"({"b": 1, "a": [true, null, "x"]})");
  ASSERT_TRUE(value.ok());
  EXPECT_EQ(DumpJson(*value), R"({"b":1,"a":[true,null,"x"]})");
}

TEST(JsonTest, RefusesWhatIsNotStrictJson) {
  for (const char* text : {"", "{", "[1,]", "{\"a\":1} x", "// no\n1", "'a'", "nul", "\"\xff\""}) {
    const auto value = ParseJson(text);
    EXPECT_EQ(value.status().code(), StatusCode::kInvalidArgument) << text;
    EXPECT_FALSE(value.status().message().empty()) << text;
  }
}

TEST(JsonTest, DepthIsBoundedBeforeParsingAndBracketsInStringsDoNotCount) {
  EXPECT_FALSE(ParseJson(std::string(100'000, '[')).ok());
  EXPECT_FALSE(ParseJson(std::string(65, '[') + std::string(65, ']')).ok());
  EXPECT_TRUE(ParseJson(std::string(64, '[') + std::string(64, ']')).ok());
  EXPECT_TRUE(ParseJson("\"" + std::string(1000, '[') + "\\\"[\"").ok());
  EXPECT_FALSE(ParseJson("[[1]]", {.depth_max = 1}).ok());
}

TEST(JsonTest, SizeIsBounded) {
  EXPECT_FALSE(ParseJson("[1, 2, 3]", {.byte_count_max = 8}).ok());
  EXPECT_TRUE(ParseJson("[1, 2, 3]", {.byte_count_max = 9}).ok());
}

TEST(JsonTest, DumpReplacesInvalidUtf8) { EXPECT_EQ(DumpJson(Json("a\xff")), "\"a\xEF\xBF\xBD\""); }

}  // namespace
}  // namespace kvasir
