// The checks that look at one file at a time: columns, include guards, the opening paragraph of a
// header, leftover markers, tests that assert nothing, script permissions, dead links. Pure
// functions over text; each is shown to fail in tests/tidy_test.cc.

#ifndef KVASIR_TESTS_TIDY_FILE_CHECKS_H_
#define KVASIR_TESTS_TIDY_FILE_CHECKS_H_

#include <algorithm>
#include <filesystem>
#include <regex>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "tests/tidy/source_tree.h"

namespace kvasir {

inline constexpr size_t kColumnsMax = 100;

// C++ lines of at most kColumnsMax characters (not bytes). An include or a URL cannot be broken.
inline Violations CheckColumns(const SourceFile& file) {
  Violations violations;
  if (!IsCpp(file)) return violations;
  const std::vector<std::string> lines = SplitLines(file.text);
  for (size_t i = 0; i < lines.size(); ++i) {
    const size_t columns = size_t(std::count_if(lines[i].begin(), lines[i].end(), [](char c) {
      return (static_cast<unsigned char>(c) & 0xC0) != 0x80;  // not a UTF-8 continuation
    }));
    const bool unbreakable =
        lines[i].starts_with("#include") || lines[i].find("://") != std::string::npos;
    if (columns > kColumnsMax && !unbreakable) {
      violations.push_back(At(file, i, std::to_string(columns) + " columns, at most 100"));
    }
    if (!lines[i].empty() && (lines[i].back() == ' ' || lines[i].back() == '\r')) {
      violations.push_back(At(file, i, "ends in a blank"));
    }
  }
  return violations;
}

// "kvasir/base/status.h" -> "KVASIR_BASE_STATUS_H_", "tests/x.h" -> "KVASIR_TESTS_X_H_".
inline std::string GuardName(std::string path) {
  if (!path.starts_with("kvasir/")) path = "kvasir/" + path;
  for (char& c : path) c = isalnum(c) ? char(toupper(c)) : '_';
  return path + "_";
}

// Headers have the guard that their path says. An -inl.h is compiled once per vector target and
// has Highway's toggle in place of a guard.
inline Violations CheckGuard(const SourceFile& file) {
  if (!file.path.ends_with(".h")) return {};
  const std::string guard = GuardName(file.path);
  if (file.path.ends_with("-inl.h") && file.text.find("HWY_TARGET_TOGGLE") != std::string::npos) {
    const bool named = file.text.find(guard) != std::string::npos;
    return named ? Violations{} : Violations{At(file, 0, "expected the toggle guard " + guard)};
  }
  const bool opens =
      file.text.find("#ifndef " + guard + "\n#define " + guard + "\n") != std::string::npos;
  const bool closes = file.text.ends_with("#endif  // " + guard + "\n");
  if (opens && closes) return {};
  return {At(file, 0, "expected the include guard " + guard)};
}

// The first line begins a comment that says what the file is, in at least a sentence.
inline Violations CheckOpeningParagraph(const SourceFile& file) {
  if (!file.path.ends_with(".h")) return {};
  constexpr size_t kSentenceMin = 40;  // characters; "Utilities." says nothing
  size_t length = 0;
  for (const std::string& line : SplitLines(file.text)) {
    if (!line.starts_with("// ")) break;
    length += line.size() - 3;
  }
  if (length >= kSentenceMin) return {};
  return {At(file, 0, "a header opens with a paragraph that says what it is")};
}

// Work that is left for later lives in issues, not in the code.
inline Violations CheckLeftovers(const SourceFile& file) {
  Violations violations;
  if (!IsCode(file)) return violations;
  static const std::regex marker(
      "\\b(TO"
      "DO|FIX"
      "ME|XX"
      "X)\\b");
  const std::vector<std::string> lines = SplitLines(file.text);
  for (size_t i = 0; i < lines.size(); ++i) {
    if (std::regex_search(lines[i], marker)) {
      violations.push_back(At(file, i, "a leftover marker; do it or file it"));
    }
  }
  return violations;
}

// A definition at the left margin of a file, up to the line that closes it.
struct TopLevelBlock {
  size_t line_index = 0;
  std::string text;
};

// Relies on the formatting that clang-format gives: what is inside a definition is indented.
inline std::vector<TopLevelBlock> SplitTopLevel(std::string_view text) {
  std::vector<TopLevelBlock> blocks;
  const std::vector<std::string> lines = SplitLines(text);
  bool inside = false;
  for (size_t i = 0; i < lines.size(); ++i) {
    const std::string& line = lines[i];
    const bool at_margin = !line.empty() && line[0] != ' ';
    if (!inside) {
      if (!at_margin || line[0] == '#' || line[0] == '/' || line[0] == '}') continue;
      if (line.starts_with("namespace") || line.starts_with("extern \"C\" {")) continue;
      blocks.push_back({i, ""});
      inside = true;
    }
    blocks.back().text += line + "\n";
    const bool closes = at_margin && (line[0] == '}' || line.ends_with('}') || line.ends_with(';'));
    if (closes) inside = false;
  }
  return blocks;
}

// Every TEST holds an assertion, or calls a function of the same file that does, or one that is
// named Expect... or Assert...: a test that only runs code passes whatever the code does.
inline Violations CheckTestsAssert(const SourceFile& file) {
  if (!file.path.ends_with("_test.cc")) return {};
  static const std::regex asserts(
      R"(\b(EXPECT|ASSERT)_\w+\(|\bADD_FAILURE\w*\(|\bFAIL\(|\b(Expect|Assert)\w*[<(])");
  static const std::regex is_test(R"(^(TEST|TEST_F|TEST_P|TYPED_TEST|TYPED_TEST_P)\()");
  static const std::regex definition(R"(^ {0,2}[\w:<>&*, ]*?\b(\w+)\()");
  const std::vector<TopLevelBlock> blocks = SplitTopLevel(file.text);

  std::set<std::string> helpers;  // functions of this file that assert, directly or through others
  const auto block_asserts = [&](const std::string& text) {
    if (std::regex_search(text, asserts)) return true;
    static const std::regex call(R"((\w+)\s*[<(])");
    for (std::sregex_iterator it(text.begin(), text.end(), call), end; it != end; ++it) {
      if (helpers.contains((*it)[1].str())) return true;
    }
    return false;
  };
  for (size_t known = helpers.size() + 1; known != helpers.size();) {
    known = helpers.size();
    for (const TopLevelBlock& block : blocks) {
      if (std::regex_search(block.text, is_test) || !block_asserts(block.text)) continue;
      for (const std::string& line : SplitLines(block.text)) {
        std::smatch match;
        if (std::regex_search(line, match, definition)) helpers.insert(match[1].str());
      }
    }
  }

  Violations violations;
  for (const TopLevelBlock& block : blocks) {
    if (std::regex_search(block.text, is_test) && !block_asserts(block.text)) {
      violations.push_back(At(file, block.line_index, "a test without an assertion"));
    }
  }
  return violations;
}

// What starts with #! can be run, and a shell script stops at its first error
// (sh has no pipefail).
inline Violations CheckScript(const SourceFile& file) {
  if (!file.text.starts_with("#!")) return {};
  Violations violations;
  if (!file.executable) violations.push_back(At(file, 0, "a script that is not executable"));
  const std::string first = file.text.substr(0, file.text.find('\n'));
  const std::string strict = first.ends_with("bash") ? "set -euo pipefail" : "set -eu";
  if (first.ends_with("sh") && file.text.find("\n" + strict + "\n") == std::string::npos) {
    violations.push_back(At(file, 0, "a shell script without `" + strict + "`"));
  }
  return violations;
}

// Links of Markdown files to files of the repository lead somewhere. `exists` takes a path from the
// root.
template <typename Exists>
Violations CheckLinks(const SourceFile& file, const Exists& exists) {
  Violations violations;
  if (!IsMarkdown(file)) return violations;
  static const std::regex link(R"(\]\(([^)\s]+)\))");
  const std::filesystem::path folder = std::filesystem::path(file.path).parent_path();
  const std::vector<std::string> lines = SplitLines(file.text);
  for (size_t i = 0; i < lines.size(); ++i) {
    for (std::sregex_iterator it(lines[i].begin(), lines[i].end(), link), end; it != end; ++it) {
      std::string target = (*it)[1].str();
      if (target.find("://") != std::string::npos || target.starts_with("mailto:")) continue;
      target = target.substr(0, target.find('#'));
      if (target.empty()) continue;
      if (!exists((folder / target).lexically_normal().string())) {
        violations.push_back(At(file, i, "the link to " + target + " leads nowhere"));
      }
    }
  }
  return violations;
}

}  // namespace kvasir

#endif  // KVASIR_TESTS_TIDY_FILE_CHECKS_H_
