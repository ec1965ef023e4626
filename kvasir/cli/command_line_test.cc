#include "kvasir/cli/command_line.h"

#include <gtest/gtest.h>

#include "kvasir/base/mapped_file.h"

namespace kvasir {
namespace {

// The message of a command line that is refused.
std::string Refusal(std::vector<std::string> arguments) {
  const Result<ParsedCommandLine> parsed = ParseCommandLine(std::move(arguments));
  if (parsed.ok()) return "(accepted)";
  EXPECT_EQ(parsed.status().code(), StatusCode::kInvalidArgument);
  EXPECT_FALSE(parsed.status().message().ends_with('.'));
  return parsed.status().message();
}

bool Accepted(std::vector<std::string> arguments) {
  const Result<ParsedCommandLine> parsed = ParseCommandLine(std::move(arguments));
  return parsed.ok() && parsed->run != nullptr;
}

std::string Text(std::vector<std::string> arguments) {
  const Result<ParsedCommandLine> parsed = ParseCommandLine(std::move(arguments));
  return parsed.ok() ? parsed->text : parsed.status().message();
}

TEST(CommandLineTest, AcceptsTheDocumentedInterface) {
  EXPECT_TRUE(Accepted({"chat", "-p", "What is the capital of France?"}));
  EXPECT_TRUE(Accepted({"chat", "-p", "-starts with a dash"}));
  EXPECT_TRUE(Accepted({"chat", "--stop", "a", "--stop", "[b]", "--seed", "18446744073709551615"}));
  EXPECT_TRUE(Accepted({"generate", "--count", "3", "--json", "--temperature=0.8"}));
  EXPECT_TRUE(Accepted({"info", "--json", "--target", "avx2"}));
  EXPECT_TRUE(Accepted({"bench", "--tests", "pp512,tg64", "--depth", "2048", "--sequences", "16",
                        "--prompt", "128", "--repetitions", "3", "--json"}));
  EXPECT_TRUE(Accepted({"perplexity", "--text", "f", "--context", "512", "--windows", "4", "--json",
                        "--kv", "f32", "--activations", "f32"}));
  EXPECT_TRUE(Accepted({"chat", "--block-select", "1024"}));
  EXPECT_TRUE(Accepted({"eval-select", "--text", "f", "--depths", "2048,4096", "--budgets", "256",
                        "--decode", "64", "--windows", "2", "--passkeys", "0", "--json"}));
  EXPECT_TRUE(Accepted({"eval", "--text", "f", "--context", "512,2048", "--kv", "bf16,int8/int4",
                        "--windows", "2", "--decode", "8", "--probes", "20", "--json"}));
  EXPECT_TRUE(Accepted({"eval", "--json", "out.json", "--svg", "out.svg", "--markdown", "out.md",
                        "--kv", "auto", "--kv-calibration", "map.json"}));
  EXPECT_TRUE(Accepted({"kv-calibrate", "m.gguf", "--text", "f", "--budget", "5.0", "--out", "o"}));
  EXPECT_TRUE(Accepted({"chat", "--kv", "auto", "--kv-calibration", "map.json"}));
  for (const char* command :
       {"chat", "generate", "serve", "info", "bench", "perplexity", "eval", "eval-select"}) {
    EXPECT_TRUE(
        Accepted({command, "--kv", "int8", "--kv-rotation", "off", "--kv-open-blocks", "4"}))
        << command;
  }
  EXPECT_TRUE(Accepted({"tokenize", "--ids", "1 2", "--no-special"}));
}

TEST(CommandLineTest, BenchRunsByItselfAndHasServeBelowIt) {
  EXPECT_TRUE(Accepted({"bench"}));
  EXPECT_TRUE(Accepted({"bench", "serve", "--url", "http://a:1", "--users", "8", "--json", "-"}));
  EXPECT_NE(Text({"bench", "serve", "--help"}).find("kvasir bench serve"), std::string::npos);
  EXPECT_EQ(Refusal({"bench", "--json", "serve"}),
            "--json stands in front of serve: give the flags of bench serve behind its name");
  EXPECT_EQ(Refusal({"bench", "serve", "--tests", "pp8"}),
            "unknown flag --tests for bench serve; did you mean --turns?");
  EXPECT_EQ(Refusal({"bench", "serve", "--rate", "-1"}),
            "--rate: '-1' is not a number from 0.001 to 100000");
}

TEST(CommandLineTest, ALaterFlagReplacesAnEarlierOne) {
  EXPECT_TRUE(Accepted({"chat", "--threads", "1", "--threads", "2"}));
}

TEST(CommandLineTest, SuggestsTheNearestCommandAndFlag) {
  EXPECT_EQ(Refusal({"chta"}), "unknown command 'chta'; did you mean chat?");
  EXPECT_EQ(Refusal({"unheard-of"}),
            "unknown command 'unheard-of'; the commands are chat, generate, serve, info, bench, "
            "perplexity, eval, eval-select, kv-calibrate, replay, quantize, tokenize, cache, "
            "attention");
  EXPECT_EQ(Refusal({"serve", "--prot=1"}), "unknown flag --prot for serve; did you mean --port?");
  EXPECT_EQ(Refusal({"chat", "--thread", "2"}),
            "unknown flag --thread for chat; did you mean --threads?");
  EXPECT_EQ(Refusal({"bench", "--test=pp8"}),
            "unknown flag --test for bench; did you mean --tests?");
  EXPECT_EQ(Refusal({"info", "--frobnicate"}),
            "unknown flag --frobnicate for info; see kvasir info --help");
  EXPECT_EQ(Refusal({"chat", "What", "now"}),
            "unexpected argument 'What' for chat; flags begin with --, texts with spaces need "
            "quotes");
}

TEST(CommandLineTest, BadValuesNameTheFlagAndTheRange) {
  EXPECT_EQ(Refusal({"chat", "--threads", "0"}),
            "--threads: '0' is not a whole number from 1 to 1024");
  EXPECT_EQ(Refusal({"chat", "-t", "two"}),
            "--threads: 'two' is not a whole number from 1 to 1024");
  EXPECT_EQ(Refusal({"chat", "--temperature", "11"}),
            "--temperature: '11' is not a number from 0 to 10");
  EXPECT_EQ(Refusal({"chat", "--top-p", "nan"}), "--top-p: 'nan' is not a number from 0 to 1");
  EXPECT_EQ(Refusal({"chat", "--kv", "int3"}),
            "--kv: 'int3' is not one of f32|bf16|int8|int4|fp8_e4m3|fp8_e5m2|k8v4|K/V");
  EXPECT_EQ(Refusal({"chat", "--kv-rotation", "no"}), "--kv-rotation: 'no' is not one of on|off");
  EXPECT_EQ(Refusal({"chat", "--target", "sse"}),
            "--target: 'sse' is not one of auto|portable|avx2|avx512");
  EXPECT_EQ(Refusal({"kv-calibrate", "--budget", "17"}),
            "--budget: '17' is not a number from 1 to 16");
  EXPECT_EQ(Refusal({"chat", "--kv-bytes", "lots"}),
            "--kv-bytes: 'lots' is not a size such as 512M or 2G, at least 1.0 MiB");
  EXPECT_EQ(Refusal({"chat", "--seed", "-1"}), "--seed: '-1' is not a whole number from 0 up");
  EXPECT_EQ(Refusal({"chat", "--block-select", "all"}),
            "--block-select: 'all' is not a whole number from 0 to 16777216");
  EXPECT_EQ(Refusal({"eval-select", "--depths", "2048,,1"}),
            "--depths: '' is not a whole number from 1 to 16777216, several with commas");
  EXPECT_NE(Refusal({"chat", "-p"}).find("--prompt"), std::string::npos);
}

TEST(CommandLineTest, HelpTeaches) {
  const std::string all = Text({"--help"});
  for (const char* command :
       {"chat", "generate", "serve", "info", "bench", "perplexity", "tokenize", "KVASIR_MODEL"}) {
    EXPECT_NE(all.find(command), std::string::npos) << command;
  }
  EXPECT_EQ(Text({}), all);
  for (const char* command :
       {"chat", "generate", "serve", "info", "bench", "perplexity", "tokenize"}) {
    const std::string help = Text({command, "--help"});
    EXPECT_NE(help.find("Examples:\n  kvasir " + std::string(command)), std::string::npos) << help;
    EXPECT_NE(help.find("--model"), std::string::npos);
    EXPECT_NE(help.find("Usage: kvasir " + std::string(command)), std::string::npos) << help;
  }
}

TEST(CommandLineTest, AGroupHasCommandsOfItsOwn) {
  EXPECT_TRUE(Accepted({"attention", "build", "v.h", "--output", "v.so", "--cache", "c"}));
  EXPECT_TRUE(Accepted({"attention", "info", "v.so", "--json"}));
  EXPECT_EQ(Refusal({"attention"}),
            "attention needs one of its commands build, info; see kvasir attention --help");
  EXPECT_EQ(Refusal({"attention", "biuld"}),
            "unknown command 'attention biuld'; did you mean build?");
  EXPECT_EQ(Refusal({"attention", "compile"}),
            "unknown command 'attention compile'; the commands of attention are build, info");
  EXPECT_EQ(Refusal({"attention", "build"}), "HEADER is required");
  EXPECT_EQ(Refusal({"attention", "build", "v.h", "--outptu", "x"}),
            "unknown flag --outptu for attention build; did you mean --output?");
  EXPECT_EQ(Refusal({"attention", "build", "v.h", "w.h"}),
            "unexpected argument 'w.h' for attention build; flags begin with --, texts with spaces "
            "need quotes");
  EXPECT_NE(Text({"attention", "--help"}).find("Usage: kvasir attention"), std::string::npos);
  const std::string help = Text({"attention", "build", "--help"});
  EXPECT_NE(help.find("Usage: kvasir attention build"), std::string::npos) << help;
  EXPECT_NE(help.find("KVASIR_ATTENTION_VARIANT"), std::string::npos) << help;
}

TEST(CommandLineTest, VersionIsThatOfTheBuild) {
  EXPECT_EQ(Text({"--version"}), "kvasir " + std::string(kKvasirVersion) + "\n");
  const Result<std::string> build = ReadFile(KVASIR_SOURCE_DIR "/CMakeLists.txt", 1 << 20);
  ASSERT_TRUE(build.ok());
  EXPECT_NE(build->find("project(kvasir VERSION " + std::string(kKvasirVersion) + " "),
            std::string::npos);
}

TEST(CommandLineTest, ExitCodesTellInputFromMachine) {
  EXPECT_EQ(ExitCodeFor(OkStatus()), 0);
  EXPECT_EQ(ExitCodeFor(IoError("")), 1);
  EXPECT_EQ(ExitCodeFor(InvalidArgument("")), 2);
  EXPECT_EQ(ExitCodeFor(NotFound("")), 2);
  EXPECT_EQ(ExitCodeFor(DataLoss("")), 2);
  EXPECT_EQ(ExitCodeFor(ResourceExhausted("")), 2);
  EXPECT_EQ(ExitCodeFor(Cancelled("")), 130);
}

}  // namespace
}  // namespace kvasir
