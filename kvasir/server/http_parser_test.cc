// The framing of requests: what is taken, in pieces of any size, and what is refused (RFC 9112).

#include "kvasir/server/http_parser.h"

#include <gtest/gtest.h>

namespace kvasir {
namespace {

constexpr char kPost[] =
    "POST /v1/chat%20x?a=b HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    "Content-Length: 5\r\n\r\nhello";

// Feeds `text` in pieces of `piece_bytes`.
RequestParser::State FeedAll(RequestParser* parser, const std::string& text, size_t piece_bytes) {
  std::string input;
  for (size_t i = 0; i < text.size(); i += piece_bytes) {
    input += text.substr(i, piece_bytes);
    parser->Feed(&input);
  }
  return parser->state();
}

int RefusalOf(const std::string& text, const HttpLimits& limits = {}) {
  RequestParser parser(limits);
  std::string input = text;
  return parser.Feed(&input) == RequestParser::State::kFailed ? parser.failure().status : 0;
}

TEST(RequestParserTest, PiecesOfAnySizeMakeTheSameRequest) {
  for (size_t piece_bytes = 1; piece_bytes < sizeof(kPost); piece_bytes += 7) {
    RequestParser parser(HttpLimits{});
    ASSERT_EQ(FeedAll(&parser, kPost, piece_bytes), RequestParser::State::kDone) << piece_bytes;
    const HttpRequest request = parser.TakeRequest();
    EXPECT_EQ(request.method, "POST");
    EXPECT_EQ(request.path, "/v1/chat x");
    EXPECT_EQ(request.query, "a=b");
    EXPECT_EQ(request.body, "hello");
    EXPECT_EQ(request.Header("content-type"), "application/json");
    EXPECT_TRUE(request.keep_alive);
  }
}

TEST(RequestParserTest, LeavesTheNextRequestAlone) {
  RequestParser parser(HttpLimits{});
  std::string input = std::string(kPost) + "GET /next";
  EXPECT_EQ(parser.Feed(&input), RequestParser::State::kDone);
  EXPECT_EQ(input, "GET /next");
}

TEST(RequestParserTest, ChunksAreJoined) {
  RequestParser parser(HttpLimits{});
  const std::string text =
      "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n"
      "0\r\n\r\n";
  ASSERT_EQ(FeedAll(&parser, text, 1), RequestParser::State::kDone);
  EXPECT_EQ(parser.TakeRequest().body, "abcde");
}

TEST(RequestParserTest, RefusesWhatTwoServersCouldReadDifferently) {
  const std::string start = "POST / HTTP/1.1\r\nHost: x\r\n";
  EXPECT_EQ(RefusalOf(start + "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"), 400);
  EXPECT_EQ(RefusalOf(start + "Transfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n"), 400);
  EXPECT_EQ(RefusalOf(start + "Content-Length: 1\r\nContent-Length: 1\r\n\r\na"), 400);
  EXPECT_EQ(RefusalOf(start + "Content-Length: 1, 1\r\n\r\na"), 400);
  EXPECT_EQ(RefusalOf(start + "Content-Length: +1\r\n\r\na"), 400);
  EXPECT_EQ(RefusalOf(start + "Transfer-Encoding: gzip, chunked\r\n\r\n"), 400);
  EXPECT_EQ(RefusalOf(start + "Transfer-Encoding: identity\r\n\r\n"), 400);
  EXPECT_EQ(RefusalOf("GET / HTTP/1.1\r\n\r\n"), 400);
  EXPECT_EQ(RefusalOf("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"), 400);
  EXPECT_EQ(RefusalOf("GET / HTTP/3.0\r\nHost: a\r\n\r\n"), 400);
}

TEST(RequestParserTest, SizesAreBounded) {
  const HttpLimits limits{.head_bytes_max = 200, .body_bytes_max = 10};
  EXPECT_EQ(RefusalOf("GET /" + std::string(300, 'a'), limits), 431);
  EXPECT_EQ(RefusalOf("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 11\r\n\r\n", limits), 413);
  EXPECT_EQ(RefusalOf("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
                      "b\r\naaaaaaaaaaa\r\n",
                      limits),
            413);
}

TEST(RequestParserTest, TargetsAreSplit) {
  std::string path, query;
  ASSERT_TRUE(SplitTarget("http://host:80/a/b?c", &path, &query));
  EXPECT_EQ(path, "/a/b");
  EXPECT_EQ(query, "c");
  ASSERT_TRUE(SplitTarget("http://host", &path, &query));
  EXPECT_EQ(path, "/");
  EXPECT_FALSE(SplitTarget("host:80", &path, &query));
}

TEST(HttpTypesTest, HeadsHoldNoForgedLines) {
  HttpResponse response;
  response.headers.push_back({"X-Request-Id", "a\r\nSet-Cookie: b"});
  response.body = "{}";
  const std::string head = SerializeHead(response, 1, true, false);
  EXPECT_EQ(head.find("\r\nSet-Cookie"), std::string::npos) << head;
  EXPECT_NE(head.find("Content-Length: 2\r\n"), std::string::npos) << head;
  EXPECT_TRUE(head.ends_with("\r\n\r\n"));
  EXPECT_EQ(SerializeChunk("hello world, hello"), "12\r\nhello world, hello\r\n");
  EXPECT_EQ(SerializeChunk(""), "");
  EXPECT_EQ(PercentDecode("a%2Fb%zz%4"), "a/b%zz%4");
}

}  // namespace
}  // namespace kvasir
