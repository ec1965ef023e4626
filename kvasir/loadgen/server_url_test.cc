#include "kvasir/loadgen/server_url.h"

#include <gtest/gtest.h>

namespace kvasir {
namespace {

std::string Normal(std::string_view text) {
  const Result<ServerUrl> url = ParseServerUrl(text);
  return url.ok() ? url->Text() : url.status().message();
}

TEST(ServerUrlTest, HostPortAndPath) {
  EXPECT_EQ(Normal("http://127.0.0.1:8080"), "http://127.0.0.1:8080");
  EXPECT_EQ(Normal("http://localhost:80/"), "http://localhost:80");
  EXPECT_EQ(Normal("http://example.org"), "http://example.org:80");
  EXPECT_EQ(Normal("http://h:9/v1"), "http://h:9");
  EXPECT_EQ(Normal("http://h:9/openai/v1/"), "http://h:9/openai");
  EXPECT_EQ(Normal("http://[::1]:8080/v1"), "http://[::1]:8080");
  EXPECT_EQ(ParseServerUrl("http://[::1]")->port, "80");
}

TEST(ServerUrlTest, RefusalsAreSentences) {
  EXPECT_EQ(Normal("127.0.0.1:8080"),
            "'127.0.0.1:8080' is not a URL such as http://127.0.0.1:8080");
  EXPECT_EQ(Normal(""), "'' is not a URL such as http://127.0.0.1:8080");
  EXPECT_EQ(Normal("http://a b:1"), "'http://a b:1' is not a URL such as http://127.0.0.1:8080");
  EXPECT_EQ(Normal("http://a:1/\r\nX: y").substr(0, 10), "'http://a:");
  EXPECT_EQ(Normal("https://h:443"),
            "'https://h:443' is encrypted: the load generator speaks plain http only");
  EXPECT_EQ(Normal("http://:80"), "'http://:80' names no host");
  EXPECT_EQ(Normal("http://h:"),
            "'http://h:' has the port '', which is not a number from 1 to 65535");
  EXPECT_EQ(Normal("http://h:65536"),
            "'http://h:65536' has the port '65536', which is not a number from 1 to 65535");
  EXPECT_EQ(Normal("http://[::1"), "'http://[::1' lacks a ]");
  EXPECT_EQ(Normal("http://u:p@h:1"), "'http://u:p@h:1' has more than a host, a port and a path");
  EXPECT_EQ(Normal("http://h:1/?q"), "'http://h:1/?q' has more than a host, a port and a path");
}

}  // namespace
}  // namespace kvasir
