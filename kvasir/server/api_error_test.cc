// The rows of the error table that clients act upon: status, headers, body; and lines of the log.

#include "kvasir/server/api_error.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "kvasir/server/request_log.h"
#include "kvasir/server/routes.h"

namespace kvasir {
namespace {

std::string HeaderOf(const HttpResponse& response, const std::string& name) {
  for (const HttpHeader& header : response.headers) {
    if (header.name == name) return header.value;
  }
  return "";
}

TEST(ApiErrorTest, BodiesHaveTheFourMembers) {
  const HttpResponse response = ErrorResponse(InvalidValueError("n", "too large"), "req-1");
  EXPECT_EQ(response.status, 400);
  const Json error = (*ParseJson(response.body))["error"];
  EXPECT_EQ(error["message"], "too large");
  EXPECT_EQ(error["type"], "invalid_request_error");
  EXPECT_EQ(error["param"], "n");
  EXPECT_EQ(error["code"], "invalid_value");
  EXPECT_EQ(error["request_id"], "req-1");
  EXPECT_TRUE((*ParseJson(ErrorResponse(DrainingError(), "").body))["error"]["param"].is_null());
}

TEST(ApiErrorTest, OverloadSaysWhenToComeBack) {
  EXPECT_EQ(HeaderOf(ErrorResponse(OverloadedError("full", 2.5), ""), "Retry-After"), "3");
  // The openai client gives up above two minutes.
  EXPECT_EQ(HeaderOf(ErrorResponse(OverloadedError("full", 1e9), ""), "Retry-After"), "120");
  EXPECT_EQ(HeaderOf(ErrorResponse(RateLimitError("", 0.1), ""), "Retry-After"), "1");
  EXPECT_EQ(ErrorResponse(RateLimitError("", 1), "").status, 429);
  EXPECT_EQ(HeaderOf(ErrorResponse(TimeoutError(), ""), "x-should-retry"), "false");
  EXPECT_EQ(HeaderOf(ErrorResponse(MethodNotAllowedError("GET", "POST"), ""), "Allow"), "POST");
}

TEST(ApiErrorTest, ContextLengthHasTheKnownWords) {
  const ApiError error = ContextLengthError("messages", 100, 20, 64);
  EXPECT_TRUE(
      error.message.starts_with("This model's maximum context length is 64 tokens. However,"));
  EXPECT_EQ(ErrorBody(error, "")["error"]["n_prompt_tokens"], 100);
}

TEST(RequestLogTest, LinesCannotBeForged) {
  const Json fields = {{"path", "/a\n2026 request"}, {"status", 200}, {"code", nullptr}};
  EXPECT_EQ(FormatLogLine(LogFormat::kText, "T", "request", fields),
            "T request path=\"/a\\n2026 request\" status=200");
  EXPECT_EQ(FormatLogLine(LogFormat::kJson, "T", "request", fields),
            R"({"time":"T","event":"request","path":"/a\n2026 request","status":200})");
}

TEST(RoutesTest, PathsAndMethods) {
  std::string allowed;
  ASSERT_NE(FindRoute("POST", "/v1/chat/completions", &allowed), nullptr);
  EXPECT_EQ(FindRoute("GET", "/v1/chat/completions", &allowed), nullptr);
  EXPECT_EQ(allowed, "POST");
  EXPECT_EQ(FindRoute("GET", "/v1/chat", &allowed), nullptr);
  EXPECT_EQ(allowed, "");
  ASSERT_NE(FindRoute("GET", "/v1/models/org/name", &allowed), nullptr);
  EXPECT_EQ(FindRoute("GET", "/v1/models/", &allowed), nullptr);
  EXPECT_EQ(HostName("[::1]:8080"), "::1");
  EXPECT_EQ(HostName("localhost:8080"), "localhost");
}

}  // namespace
}  // namespace kvasir
