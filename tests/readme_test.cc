// Runs the README: in its ```console blocks every line after "$ " is a command, and the lines below
// it are what it prints. A line "..." stands for any lines, "..." inside a line for any text. A
// reader's first commands are thus as true as the code.

#include <gtest/gtest.h>
#include <stdio.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>
#include <vector>

namespace kvasir {
namespace {

constexpr char kProgram[] = KVASIR_BINARY_DIR "/bin/kvasir";

struct Example {
  std::string command;
  std::vector<std::string> expected;
};

std::vector<std::string> SplitLines(std::string_view text) {
  std::vector<std::string> lines;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    lines.emplace_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return lines;
}

std::vector<Example> ParseExamples(std::string_view markdown) {
  std::vector<Example> examples;
  bool inside = false;
  for (const std::string& line : SplitLines(markdown)) {
    if (line.starts_with("```")) {
      inside = line == "```console";
    } else if (inside && line.starts_with("$ ")) {
      examples.push_back({line.substr(2), {}});
    } else if (inside && !examples.empty()) {
      examples.back().expected.push_back(line);
    }
  }
  return examples;
}

// True when `line` is `pattern`, in which "..." stands for any text.
bool LineMatches(std::string_view line, std::string_view pattern) {
  const size_t dots = pattern.find("...");
  if (dots == std::string_view::npos) return line == pattern;
  const std::string_view head = pattern.substr(0, dots), tail = pattern.substr(dots + 3);
  if (!line.starts_with(head)) return false;
  for (size_t begin = head.size(); begin <= line.size(); ++begin) {
    if (LineMatches(line.substr(begin), tail)) return true;
  }
  return false;
}

// True when the lines from `line` on are those of the pattern from `expected` on.
bool LinesMatch(const std::vector<std::string>& lines, size_t line,
                const std::vector<std::string>& pattern, size_t expected = 0) {
  if (expected == pattern.size()) return line == lines.size();
  if (pattern[expected] == "...") {
    for (size_t next = line; next <= lines.size(); ++next) {
      if (LinesMatch(lines, next, pattern, expected + 1)) return true;
    }
    return false;
  }
  return line < lines.size() && LineMatches(lines[line], pattern[expected]) &&
         LinesMatch(lines, line + 1, pattern, expected + 1);
}

// Runs `command` in the root of the repository with `kvasir` and scripts/quickstart meaning the
// program of this build. Standard error is not part of what a command prints.
std::string RunExample(std::string command, int* status) {
  const std::string quickstart = "scripts/quickstart";
  if (command.starts_with(quickstart)) command.replace(0, quickstart.size(), "kvasir");
  setenv("KVASIR_README_PROGRAM", kProgram, 1);
  setenv("KVASIR_README_COMMAND", command.c_str(), 1);
  FILE* pipe = popen("cd '" KVASIR_SOURCE_DIR
                     "' && exec 2>/dev/null </dev/null && "
                     "bash -euo pipefail -c 'kvasir() { \"$KVASIR_README_PROGRAM\" \"$@\"; }; "
                     "eval \"$KVASIR_README_COMMAND\"'",
                     "r");
  if (pipe == nullptr) {
    *status = -1;
    return "";
  }
  std::string output;
  char buffer[4096];
  for (size_t count; (count = fread(buffer, 1, sizeof(buffer), pipe)) > 0;) {
    output.append(buffer, count);
  }
  *status = pclose(pipe);
  return output;
}

bool DefaultModelExists() {
  const auto environment = [](const char* name) {
    const char* value = std::getenv(name);
    return std::string(value == nullptr ? "" : value);
  };
  std::string path = environment("KVASIR_MODEL");
  if (path.empty()) {
    std::string cache = environment("XDG_CACHE_HOME");
    if (cache.empty()) cache = environment("HOME") + "/.cache";
    path = cache + "/kvasir/models/SmolLM2-135M-Instruct.Q4_1.gguf";
  }
  return std::filesystem::exists(path);
}

TEST(Readme, ExamplesAreRead) {
  const std::vector<Example> examples = ParseExamples(
      "```sh\n$ not this\n```\n```console\n$ one --x\na\nb\n$ two\n```\ntext\n```console\n$ three\n"
      "```\n");
  ASSERT_EQ(examples.size(), 3u);
  EXPECT_EQ(examples[0].command, "one --x");
  EXPECT_EQ(examples[0].expected, (std::vector<std::string>{"a", "b"}));
  EXPECT_TRUE(examples[1].expected.empty());
}

TEST(Readme, OutputIsCompared) {
  EXPECT_TRUE(LineMatches("pp512 145 tokens", "pp512 ... tokens"));
  EXPECT_FALSE(LineMatches("pp512 145 words", "pp512 ... tokens"));
  EXPECT_TRUE(LinesMatch({"a", "b", "c"}, 0, {"a", "...", "c"}));
  EXPECT_TRUE(LinesMatch({"a", "b"}, 0, {"a", "..."}));
  EXPECT_FALSE(LinesMatch({"a", "b", "c"}, 0, {"a", "c"}));
  EXPECT_FALSE(LinesMatch({"a", "b"}, 0, {"a"}));
}

TEST(Readme, ExamplesDoWhatTheySay) {
  if (!std::filesystem::exists(kProgram)) GTEST_SKIP() << kProgram << " is not built";
  if (!DefaultModelExists()) GTEST_SKIP() << "the default model is absent: run scripts/quickstart";
  std::ifstream file(KVASIR_SOURCE_DIR "/README.md");
  const std::string readme{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  const std::vector<Example> examples = ParseExamples(readme);
  EXPECT_GE(examples.size(), 3u);
  for (const Example& example : examples) {
    int status = 0;
    const std::string output = RunExample(example.command, &status);
    EXPECT_EQ(status, 0) << example.command;
    EXPECT_FALSE(output.empty()) << example.command;
    EXPECT_TRUE(LinesMatch(SplitLines(output), 0, example.expected))
        << "$ " << example.command << "\n"
        << output;
  }
}

}  // namespace
}  // namespace kvasir
