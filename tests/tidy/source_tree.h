// SourceTree: the text files of the repository as the tidy checks see them, and small helpers on
// text. Everything is a value; checks take files and return what is wrong with them, one sentence
// each, so that tests can hand them files that do not exist. Any thread.

#ifndef KVASIR_TESTS_TIDY_SOURCE_TREE_H_
#define KVASIR_TESTS_TIDY_SOURCE_TREE_H_

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>
#include <vector>

namespace kvasir {

struct SourceFile {
  std::string path;  // from the root of the repository: "kvasir/base/status.h"
  std::string text;
  bool executable = false;
};

// What a check found: "path:line: what is wrong". Empty when all is well.
using Violations = std::vector<std::string>;

inline std::vector<std::string> SplitLines(std::string_view text) {
  std::vector<std::string> lines;
  size_t begin = 0;
  while (begin < text.size()) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    lines.emplace_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return lines;
}

inline std::string Trim(std::string_view text) {
  const size_t begin = text.find_first_not_of(" \t");
  if (begin == std::string_view::npos) return "";
  return std::string(text.substr(begin, text.find_last_not_of(" \t") - begin + 1));
}

inline std::string At(const SourceFile& file, size_t line_index, const std::string& what) {
  return file.path + ":" + std::to_string(line_index + 1) + ": " + what;
}

inline bool IsCpp(const SourceFile& file) {
  return file.path.ends_with(".h") || file.path.ends_with(".cc");
}

inline bool IsMarkdown(const SourceFile& file) { return file.path.ends_with(".md"); }

// Tests, benches and fuzz targets: they may use more than their module may.
inline bool IsBesideTheModule(const SourceFile& file) {
  return file.path.ends_with("_test.cc") || file.path.ends_with("_bench.cc") ||
         file.path.ends_with("_fuzz.cc");
}

// True for the code that people here write: sources, scripts and build files, not prose or data.
inline bool IsCode(const SourceFile& file) {
  return IsCpp(file) || file.text.starts_with("#!") || file.path.ends_with(".py") ||
         file.path.ends_with(".sh") || file.path.ends_with(".cmake") ||
         file.path.ends_with("CMakeLists.txt");
}

// Reads every text file below `root` in order of path. Build directories, version control, fuzz
// corpora and files that hold a zero byte (data) are left out.
inline std::vector<SourceFile> ReadSourceTree(const std::filesystem::path& root) {
  namespace fs = std::filesystem;
  constexpr std::string_view kSkipped[] = {".git", "build", "out", ".venv", "__pycache__"};
  std::vector<SourceFile> files;
  for (auto it = fs::recursive_directory_iterator(root); it != fs::recursive_directory_iterator();
       ++it) {
    const std::string name = it->path().filename().string();
    const std::string path = fs::relative(it->path(), root).string();
    if (it->is_directory()) {
      const bool skipped = std::count(std::begin(kSkipped), std::end(kSkipped), name) > 0;
      if (skipped || path.starts_with("tests/fuzz/")) it.disable_recursion_pending();
      continue;
    }
    if (!it->is_regular_file()) continue;
    std::ifstream stream(it->path(), std::ios::binary);
    std::string text{std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>()};
    if (text.find('\0') != std::string::npos) continue;
    const bool executable = (it->status().permissions() & fs::perms::owner_exec) != fs::perms::none;
    files.push_back({path, std::move(text), executable});
  }
  std::sort(files.begin(), files.end(),
            [](const SourceFile& a, const SourceFile& b) { return a.path < b.path; });
  return files;
}

// The file at `path`; an empty one when there is none.
inline SourceFile FindFile(const std::vector<SourceFile>& files, std::string_view path) {
  for (const SourceFile& file : files) {
    if (file.path == path) return file;
  }
  return {std::string(path), "", false};
}

}  // namespace kvasir

#endif  // KVASIR_TESTS_TIDY_SOURCE_TREE_H_
