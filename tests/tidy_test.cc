// The laws of the house as tests: the module table of ARCHITECTURE.md, formatting, names, comments,
// links. Each check is shown to fail on a small bad input first, then run on the repository.

#include <gtest/gtest.h>
#include <stdio.h>

#include <filesystem>
#include <string>
#include <vector>

#include "tests/tidy/file_checks.h"
#include "tests/tidy/module_table.h"
#include "tests/tidy/source_tree.h"

namespace kvasir {
namespace {

const std::vector<SourceFile>& Tree() {
  static const std::vector<SourceFile> files = ReadSourceTree(KVASIR_SOURCE_DIR);
  return files;
}

std::string Join(const Violations& violations) {
  std::string text;
  for (const std::string& violation : violations) text += "\n  " + violation;
  return text;
}

void ExpectNone(const Violations& violations) {
  EXPECT_TRUE(violations.empty()) << Join(violations);
}

void ExpectOne(const Violations& violations, const std::string& part) {
  ASSERT_EQ(violations.size(), 1u) << Join(violations);
  EXPECT_NE(violations[0].find(part), std::string::npos) << violations[0];
}

// What a command printed and its exit status; status -1 when it could not be started.
struct CommandResult {
  int status = -1;
  std::string output;
};

CommandResult RunCommand(const std::string& command) {
  CommandResult result;
  FILE* pipe = popen((command + " 2>&1").c_str(), "r");
  if (pipe == nullptr) return result;
  char buffer[4096];
  for (size_t count; (count = fread(buffer, 1, sizeof(buffer), pipe)) > 0;) {
    result.output.append(buffer, count);
  }
  result.status = pclose(pipe);
  return result;
}

// A table that holds together, for the checks below to break.
constexpr char kArchitecture[] =
    "L1  kernels  text | words\n"
    "L0  base  formats\n"
    "\n"
    "| module | what it is | may include |\n"
    "|---|---|---|\n"
    "| base | things | - |\n"
    "| formats | bytes | - |\n"
    "| kernels | maths | formats |\n"
    "| *text* | words | formats |\n"
    "\n"
    "| other | table |\n";
constexpr char kCMake[] =
    "\nkvasir_module(base LIBS x)\nkvasir_module(formats)\n"
    "kvasir_module(kernels DEPS formats LIBS y\n  TEST_LIBS kvasir_text)\n";

TEST(ModuleTable, IsRead) {
  const std::vector<Module> modules = ParseModuleTable(kArchitecture);
  ASSERT_EQ(modules.size(), 4u);
  EXPECT_EQ(modules[2].name, "kernels");
  EXPECT_EQ(modules[2].may_include, std::set<std::string>{"formats"});
  EXPECT_FALSE(modules[2].planned);
  EXPECT_EQ(modules[3].name, "text");
  EXPECT_TRUE(modules[3].planned);
  EXPECT_EQ(ParseLevels(kArchitecture),
            (std::map<std::string, int>{{"kernels", 1}, {"text", 1}, {"base", 0}, {"formats", 0}}));
  ExpectNone(CheckTable(modules, ParseLevels(kArchitecture)));
}

TEST(ModuleTable, CycleHigherLevelAndMissingLevelAreFound) {
  const auto levels = ParseLevels(kArchitecture);
  std::vector<Module> modules = ParseModuleTable(kArchitecture);
  modules[1].may_include = {"kernels"};
  ExpectOne(CheckTable(modules, levels), "formats may include kernels, which has no row above it");

  modules = ParseModuleTable(kArchitecture);
  std::swap(modules[1], modules[2]);
  modules[1].may_include = {};
  modules[2].may_include = {"kernels"};
  ExpectOne(CheckTable(modules, levels), "of a higher level");

  modules = ParseModuleTable(kArchitecture);
  modules.push_back({"cli", {}, false});
  ExpectOne(CheckTable(modules, levels), "cli is on no level");
  ExpectOne(CheckTable({}, levels), "no module table");
}

TEST(ModuleTable, CMakeMustAgree) {
  const std::vector<Module> modules = ParseModuleTable(kArchitecture);
  ExpectNone(CheckCMakeModules(modules, ParseCMakeModules(kCMake)));
  const std::string cmake = kCMake;
  ExpectOne(CheckCMakeModules(modules, ParseCMakeModules(cmake + "kvasir_module(text)\n")),
            "planned");
  ExpectOne(CheckCMakeModules(modules, ParseCMakeModules(cmake + "kvasir_module(new)\n")),
            "new is not in the table");
  ExpectOne(CheckCMakeModules(modules, ParseCMakeModules("\nkvasir_module(base)\n"
                                                         "kvasir_module(formats DEPS base)\n"
                                                         "kvasir_module(kernels DEPS formats)\n")),
            "formats links {base}");
  ExpectOne(CheckCMakeModules(modules, ParseCMakeModules("\nkvasir_module(base)\n"
                                                         "kvasir_module(kernels DEPS formats)\n")),
            "no module formats");
}

TEST(ModuleTable, ForbiddenIncludesAreFound) {
  const std::vector<Module> modules = ParseModuleTable(kArchitecture);
  const auto cmake = ParseCMakeModules(kCMake);
  const SourceFile header{"kvasir/formats/a.h", "#include <vector>\n"};
  const SourceFile text{"tests/b.h", ""};
  const auto check = [&](const std::string& path, const std::string& line) {
    return CheckIncludes(modules, cmake, {header, text, {path, line}});
  };
  ExpectNone(check("kvasir/kernels/x.cc", "#include \"kvasir/formats/a.h\"\n"));
  ExpectOne(check("kvasir/base/x.cc", "\n#include \"kvasir/formats/a.h\"\n"),
            "kvasir/base/x.cc:2: base may not include kvasir/formats/a.h");
  ExpectOne(check("kvasir/base/x.cc", "#include \"tests/b.h\"\n"), "base may not include");
  ExpectOne(check("kvasir/kernels/x.cc", "#  include <kvasir/formats/a.h>\n"), "quotes");
  ExpectOne(check("kvasir/kernels/x.cc", "#include \"kvasir/formats/z.h\"\n"), "does not exist");
  ExpectOne(check("kvasir/formats/x.cc", "#include \"a.h\"\n"), "by its path from the root");
  ExpectOne(check("kvasir/text/x.cc", "\n"), "module text is not in the table, or only planned");
  ExpectOne(check("kvasir/odd/x.cc", "\n"), "module odd");
}

TEST(ModuleTable, TestsMayIncludeWhatCMakeLinksForThem) {
  std::vector<Module> modules = ParseModuleTable(kArchitecture);
  modules[3].planned = false;
  const SourceFile text{"kvasir/text/a.h", ""};
  const std::string line = "#include \"kvasir/text/a.h\"\n";
  const auto cmake = ParseCMakeModules(kCMake);
  ExpectNone(CheckIncludes(modules, cmake, {text, {"kvasir/kernels/x_test.cc", line}}));
  ExpectOne(CheckIncludes(modules, cmake, {text, {"kvasir/kernels/x.cc", line}}), "may not");
  ExpectOne(CheckIncludes(modules, cmake, {text, {"kvasir/formats/x_test.cc", line}}), "may not");
}

TEST(ModuleTable, HoldsForTheRepository) {
  const std::string architecture = FindFile(Tree(), "ARCHITECTURE.md").text;
  const auto modules = ParseModuleTable(architecture);
  const auto cmake = ParseCMakeModules(FindFile(Tree(), "CMakeLists.txt").text);
  ExpectNone(CheckTable(modules, ParseLevels(architecture)));
  ExpectNone(CheckCMakeModules(modules, cmake));
  ExpectNone(CheckIncludes(modules, cmake, Tree()));
}

TEST(Columns, LongLinesAndTrailingBlanksAreFound) {
  ExpectNone(CheckColumns({"a.cc", std::string(100, 'x') + "\n"}));
  ExpectOne(CheckColumns({"a.cc", "\n" + std::string(101, 'x') + "\n"}), "a.cc:2: 101 columns");
  std::string accents;
  for (int i = 0; i < 100; ++i) accents += "\u00e9";
  ExpectNone(CheckColumns({"a.cc", accents + "\n"}));
  ExpectNone(CheckColumns({"a.cc", "// https://" + std::string(120, 'x') + "\n"}));
  ExpectOne(CheckColumns({"a.cc", "int x; \n"}), "blank");
}

TEST(Columns, HoldForTheRepository) {
  for (const SourceFile& file : Tree()) ExpectNone(CheckColumns(file));
}

TEST(Guard, WrongAndMissingGuardsAreFound) {
  const std::string good = "#ifndef KVASIR_BASE_A_H_\n#define KVASIR_BASE_A_H_\n";
  const std::string end = "#endif  // KVASIR_BASE_A_H_\n";
  ExpectNone(CheckGuard({"kvasir/base/a.h", good + end}));
  ExpectOne(CheckGuard({"kvasir/base/a.h", good + "#endif\n"}), "KVASIR_BASE_A_H_");
  ExpectOne(CheckGuard({"kvasir/base/b.h", good + end}), "KVASIR_BASE_B_H_");
  ExpectOne(CheckGuard({"kvasir/base/a.h", "#pragma once\n"}), "KVASIR_BASE_A_H_");
  EXPECT_EQ(GuardName("tests/x-inl.h"), "KVASIR_TESTS_X_INL_H_");
  ExpectOne(CheckGuard({"kvasir/base/a-inl.h", "HWY_TARGET_TOGGLE"}), "KVASIR_BASE_A_INL_H_");
}

TEST(Guard, MatchesThePathInTheRepository) {
  for (const SourceFile& file : Tree()) ExpectNone(CheckGuard(file));
}

TEST(OpeningParagraph, ItsAbsenceIsFound) {
  ExpectNone(CheckOpeningParagraph(
      {"a.h", "// A: what this is and who owns it, in a whole sentence.\n\n#ifndef A\n"}));
  ExpectOne(CheckOpeningParagraph({"a.h", "// Utilities.\n#ifndef A\n"}), "paragraph");
  ExpectOne(CheckOpeningParagraph({"a.h", "#ifndef A_LONG_GUARD_IS_NOT_A_SENTENCE_OF_40\n"}), "");
}

TEST(OpeningParagraph, EveryHeaderHasOne) {
  for (const SourceFile& file : Tree()) ExpectNone(CheckOpeningParagraph(file));
}

TEST(Leftovers, MarkersAreFound) {
  ExpectOne(CheckLeftovers({"a.cc",
                            "int x;\n// TO"
                            "DO: all\n"}),
            "a.cc:2:");
  ExpectOne(CheckLeftovers({"scripts/a",
                            "#!/bin/sh\n# FIX"
                            "ME\n"}),
            "marker");
  ExpectOne(CheckLeftovers({"CMakeLists.txt",
                            "# XX"
                            "X\n"}),
            "marker");
  ExpectNone(CheckLeftovers({"scripts/a", "#!/bin/sh\nmktemp /x.XXXXXX\n"}));
  ExpectNone(CheckLeftovers({"a.md",
                             "TO"
                             "DO\n"}));
}

TEST(Leftovers, NoneInTheRepository) {
  for (const SourceFile& file : Tree()) ExpectNone(CheckLeftovers(file));
}

TEST(TestsAssert, ATestWithoutAssertionIsFound) {
  const auto check = [](const std::string& text) { return CheckTestsAssert({"a_test.cc", text}); };
  ExpectNone(check("TEST(A, B) {\n  EXPECT_TRUE(f());\n}\n"));
  ExpectOne(check("int x;\nTEST(A, B) {\n  f();\n}\n"), "a_test.cc:2: a test without");
  ExpectOne(check("TEST(A, B) { f(); }\nTEST(A, C) { EXPECT_TRUE(f()); }\n"), "a_test.cc:1");
  // Through a helper, and through a helper's helper.
  const std::string helper = "void Inner(int x) {\n  ASSERT_EQ(x, 1);\n}\n";
  ExpectNone(check(helper + "TEST(A, B) {\n  Inner(2);\n}\n"));
  ExpectNone(check(helper + "void Outer() {\n  Inner(3);\n}\nTEST(A, B) {\n  Outer();\n}\n"));
  ExpectOne(check(helper + "void Outer() {\n  Other(3);\n}\nTEST(A, B) {\n  Outer();\n}\n"), "");
  ExpectNone(CheckTestsAssert({"a.cc", "TEST(A, B) {\n  f();\n}\n"}));
}

TEST(TestsAssert, EveryTestOfTheRepositoryDoes) {
  for (const SourceFile& file : Tree()) ExpectNone(CheckTestsAssert(file));
}

TEST(Scripts, PermissionsAndStrictModeAreChecked) {
  const std::string strict = "#!/usr/bin/env bash\nset -euo pipefail\n";
  ExpectNone(CheckScript({"scripts/a", strict, true}));
  ExpectOne(CheckScript({"scripts/a", strict, false}), "not executable");
  ExpectOne(CheckScript({"scripts/a", "#!/bin/bash\necho\n", true}), "pipefail");
  ExpectNone(CheckScript({"scripts/a", "#!/bin/sh\nset -eu\n", true}));
  ExpectOne(CheckScript({"scripts/a", "#!/bin/sh\necho\n", true}), "set -eu");
  ExpectNone(CheckScript({"scripts/a", "#!/usr/bin/env python3\n", true}));
  ExpectNone(CheckScript({"scripts/lib/a.sh", "# sourced\n", false}));
}

TEST(Scripts, CanBeRunInTheRepository) {
  for (const SourceFile& file : Tree()) ExpectNone(CheckScript(file));
}

TEST(Links, DeadOnesAreFound) {
  const auto exists = [](const std::string& path) { return path == "docs/a.md"; };
  ExpectNone(
      CheckLinks({"README.md", "[a](docs/a.md#part) [b](https://x.y) [c](#here)\n"}, exists));
  ExpectNone(CheckLinks({"docs/b.md", "[a](a.md) [a](../docs/a.md)\n"}, exists));
  ExpectOne(CheckLinks({"README.md", "\n[a](a.md)\n"}, exists), "README.md:2: the link to a.md");
}

TEST(Links, LeadSomewhereInTheRepository) {
  const std::filesystem::path root = KVASIR_SOURCE_DIR;
  const auto exists = [&](const std::string& path) { return std::filesystem::exists(root / path); };
  for (const SourceFile& file : Tree()) ExpectNone(CheckLinks(file, exists));
}

// Versions of clang-format disagree about the same configuration; this is Debian 12's.
constexpr char kClangFormat[] = "clang-format-14";

bool HasClangFormat() { return RunCommand(std::string(kClangFormat) + " --version").status == 0; }

TEST(Format, ClangFormatFindsABadLine) {
  if (!HasClangFormat()) GTEST_SKIP() << kClangFormat << " is not installed";
  const std::string command =
      std::string(" | ") + kClangFormat + " --style=Google --dry-run -Werror";
  EXPECT_NE(RunCommand("printf 'int  x ;\\n'" + command).status, 0);
  EXPECT_EQ(RunCommand("printf 'int x;\\n'" + command).status, 0);
}

TEST(Format, EverySourceIsFormatted) {
  if (!HasClangFormat()) GTEST_SKIP() << kClangFormat << " is not installed";
  std::string command =
      "cd '" KVASIR_SOURCE_DIR "' && " + std::string(kClangFormat) + " --dry-run -Werror";
  for (const SourceFile& file : Tree()) {
    if (IsCpp(file)) command += " '" + file.path + "'";
  }
  const CommandResult result = RunCommand(command);
  EXPECT_EQ(result.status, 0) << "run scripts/format\n" << result.output.substr(0, 4000);
}

}  // namespace
}  // namespace kvasir
