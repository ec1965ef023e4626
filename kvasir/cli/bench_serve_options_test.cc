#include "kvasir/cli/bench_serve_options.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>

namespace kvasir {
namespace {

const char* NoVariable(const char*) { return nullptr; }

std::string Refusal(const BenchServeFlags& flags) {
  const Result<BenchServeOptions> options = ReadBenchServeFlags(flags, NoVariable);
  if (options.ok()) return "(accepted)";
  EXPECT_FALSE(options.status().message().ends_with('.'));
  return options.status().message();
}

// A text that is already a string: GCC 12 takes one that replaces nothing for uninitialised.
BenchServeFlags FlagsFor(std::string url) {
  BenchServeFlags flags;
  flags.url = std::move(url);
  return flags;
}

TEST(BenchServeOptionsTest, Defaults) {
  const Result<BenchServeOptions> options = ReadBenchServeFlags({}, NoVariable);
  ASSERT_TRUE(options.ok()) << options.status().message();
  ASSERT_EQ(options->targets.size(), 1u);
  EXPECT_EQ(options->targets[0].url.Text(), "http://127.0.0.1:8080");
  EXPECT_EQ(options->targets[0].name, "127.0.0.1:8080");
  EXPECT_EQ(options->targets[0].style.endpoint, ApiEndpoint::kChat);
  EXPECT_TRUE(options->targets[0].style.ignore_eos);
  EXPECT_EQ(options->workload.request_count, 16u);
  EXPECT_EQ(options->workload.turn_count, 1u);
  EXPECT_NE(options->workload.seed, 0u);
}

TEST(BenchServeOptionsTest, TwoServersWithKeysOfTheirOwn) {
  BenchServeFlags flags = FlagsFor("http://a:1");
  flags.api_key = "ours";
  flags.compare_url = "http://b:2/v1";
  flags.compare_name = "theirs";
  flags.users = 8;
  flags.extra = R"({"cache_prompt": true})";
  const auto key = [](const char* name) {
    return std::string_view(name) == "KVASIR_API_KEY" ? "otherwise" : nullptr;
  };
  const Result<BenchServeOptions> options = ReadBenchServeFlags(flags, key);
  ASSERT_TRUE(options.ok()) << options.status().message();
  ASSERT_EQ(options->targets.size(), 2u);
  EXPECT_EQ(options->targets[0].api_key, "ours");
  EXPECT_EQ(options->targets[1].api_key, "otherwise");
  EXPECT_EQ(options->targets[1].url.Text(), "http://b:2");
  EXPECT_EQ(options->targets[1].name, "theirs");
  EXPECT_EQ(options->targets[1].style.extra["cache_prompt"], true);
  EXPECT_EQ(options->workload.request_count, 8u);
  EXPECT_EQ(options->workload.turn_count, 6u);
}

TEST(BenchServeOptionsTest, RefusalsNameTheFlags) {
  BenchServeFlags flags;
  flags.concurrency = 2;
  flags.rate = 1;
  EXPECT_EQ(Refusal(flags), "--concurrency and --rate do not go together");
  flags = {};
  flags.trace_path = "x";
  flags.requests = 3;
  EXPECT_EQ(Refusal(flags), "--trace and --requests do not go together");
  flags = {};
  flags.turns = 3;
  EXPECT_EQ(Refusal(flags), "--turns needs --users");
  flags = {};
  flags.trace_scale = 0.1f;
  EXPECT_EQ(Refusal(flags), "--trace-... flags need --trace");
  flags = {};
  flags.warm_prefix = true;
  EXPECT_EQ(Refusal(flags), "--warm-prefix needs --shared-prefix");
  flags = {};
  flags.compare_name = "x";
  EXPECT_EQ(Refusal(flags), "--compare-... flags need --compare");
  flags = {};
  flags.extra = "[]";
  EXPECT_EQ(Refusal(flags), "--extra: it is no JSON object");
  flags.extra = R"({"stream": false})";
  EXPECT_EQ(Refusal(flags), "--extra: stream must stay true, only streams are measured");
  flags = {};
  flags.compare_url = "localhost";
  EXPECT_EQ(Refusal(flags), "--compare: 'localhost' is not a URL such as http://127.0.0.1:8080");
  flags = {};
  flags.api_key = "a\nb";
  EXPECT_EQ(Refusal(flags), "the key for --url has a character that no header can carry");
  flags = {};
  flags.trace_path = "/nonexistent/trace";
  EXPECT_NE(Refusal(flags).find("/nonexistent/trace"), std::string::npos);
}

}  // namespace
}  // namespace kvasir
