// The module table of ARCHITECTURE.md: read once, held against three things that must say the same:
// the picture of the levels above it, the kvasir_module() lines of CMakeLists.txt, and every
// #include below kvasir/. Pure functions over text.

#ifndef KVASIR_TESTS_TIDY_MODULE_TABLE_H_
#define KVASIR_TESTS_TIDY_MODULE_TABLE_H_

#include <algorithm>
#include <map>
#include <regex>
#include <set>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include "tests/tidy/source_tree.h"

namespace kvasir {

struct Module {
  std::string name;
  std::set<std::string> may_include;  // besides base and itself
  bool planned = false;               // *name* in the table: nothing in the tree yet
};

// What one kvasir_module() line declares.
struct CMakeModule {
  std::set<std::string> deps;
  std::set<std::string> test_deps;  // modules that its tests and benches link as well
};

// The rows below the line that begins with "| module |", in their order.
inline std::vector<Module> ParseModuleTable(std::string_view markdown) {
  std::vector<Module> modules;
  bool inside = false;
  for (const std::string& line : SplitLines(markdown)) {
    if (line.starts_with("| module |")) {
      inside = true;
      continue;
    }
    if (!inside || line.starts_with("|--") || line.starts_with("| --")) continue;
    if (!line.starts_with("|")) break;
    std::vector<std::string> cells;
    std::stringstream stream(line.substr(1));
    for (std::string cell; std::getline(stream, cell, '|');) cells.push_back(Trim(cell));
    if (cells.size() < 3) continue;
    Module module;
    module.planned = cells[0].starts_with("*");
    std::erase(cells[0], '*');
    module.name = cells[0];
    std::stringstream names(cells[2]);
    for (std::string name; std::getline(names, name, ',');) {
      if (Trim(name) != "-" && !Trim(name).empty()) module.may_include.insert(Trim(name));
    }
    modules.push_back(module);
  }
  return modules;
}

// The level of each module: lines "L2  kv  model  text | words", bottom level 0.
inline std::map<std::string, int> ParseLevels(std::string_view markdown) {
  std::map<std::string, int> levels;
  for (const std::string& line : SplitLines(markdown)) {
    if (line.size() < 3 || line[0] != 'L' || !isdigit(line[1]) || line[2] != ' ') continue;
    std::stringstream names(line.substr(2, line.find('|') - 2));
    for (std::string name; names >> name;) levels[name] = line[1] - '0';
  }
  return levels;
}

inline std::map<std::string, CMakeModule> ParseCMakeModules(std::string_view cmake) {
  std::map<std::string, CMakeModule> modules;
  const std::string text(cmake);
  const std::regex call(R"(\n\s*kvasir_module\(([^)]*)\))");
  for (std::sregex_iterator it(text.begin(), text.end(), call), end; it != end; ++it) {
    std::stringstream words((*it)[1].str());
    std::string name, keyword;
    words >> name;
    CMakeModule& module = modules[name];
    for (std::string word; words >> word;) {
      if (word == "DEPS" || word == "LIBS" || word == "TEST_LIBS") {
        keyword = word;
      } else if (keyword == "DEPS") {
        module.deps.insert(word);
      } else if (keyword == "TEST_LIBS" && word.starts_with("kvasir_")) {
        module.test_deps.insert(word.substr(7));
      }
    }
  }
  return modules;
}

inline const Module* FindModule(const std::vector<Module>& modules, std::string_view name) {
  for (const Module& module : modules) {
    if (module.name == name) return &module;
  }
  return nullptr;
}

// The table stands for itself: bottom up, without cycles, and as the picture of the levels has it.
inline Violations CheckTable(const std::vector<Module>& modules,
                             const std::map<std::string, int>& levels) {
  Violations violations;
  if (modules.empty()) violations.push_back("no module table was found");
  std::set<std::string> above;
  for (const Module& module : modules) {
    const auto level = levels.find(module.name);
    if (level == levels.end()) violations.push_back(module.name + " is on no level");
    for (const std::string& dep : module.may_include) {
      if (!above.contains(dep)) {
        violations.push_back(module.name + " may include " + dep + ", which has no row above it");
        continue;
      }
      const auto dep_level = levels.find(dep);
      if (level != levels.end() && dep_level != levels.end() && dep_level->second > level->second) {
        violations.push_back(module.name + " may include " + dep + " of a higher level");
      }
    }
    above.insert(module.name);
  }
  return violations;
}

// CMake links what the table allows, no more and no less; a planned module has no line yet.
inline Violations CheckCMakeModules(const std::vector<Module>& modules,
                                    const std::map<std::string, CMakeModule>& cmake) {
  const auto join = [](const std::set<std::string>& names) {
    std::string text;
    for (const std::string& name : names) text += (text.empty() ? "" : " ") + name;
    return "{" + text + "}";
  };
  Violations violations;
  for (const Module& module : modules) {
    std::set<std::string> expected = module.may_include;
    std::erase_if(expected, [&](const std::string& name) {
      const Module* dep = FindModule(modules, name);
      return dep != nullptr && dep->planned;
    });
    const auto line = cmake.find(module.name);
    if (line == cmake.end()) {
      if (!module.planned) violations.push_back("CMakeLists.txt has no module " + module.name);
    } else if (module.planned) {
      violations.push_back(module.name + " is in CMakeLists.txt but planned in the table");
    } else if (line->second.deps != expected) {
      violations.push_back(module.name + " links " + join(line->second.deps) +
                           " in CMakeLists.txt but may include " + join(expected));
    }
  }
  for (const auto& [name, line] : cmake) {
    if (FindModule(modules, name) == nullptr) violations.push_back(name + " is not in the table");
  }
  return violations;
}

// Every #include of a file below kvasir/ against the table; includes of our own are written from
// the root of the repository and name files that exist.
inline Violations CheckIncludes(const std::vector<Module>& modules,
                                const std::map<std::string, CMakeModule>& cmake,
                                const std::vector<SourceFile>& files) {
  std::set<std::string> paths;
  for (const SourceFile& file : files) paths.insert(file.path);
  Violations violations;
  static const std::regex include(R"(^\s*#\s*include\s*([<"])([^>"]+)[>"])");
  for (const SourceFile& file : files) {
    if (!IsCpp(file)) continue;
    const bool in_module = file.path.starts_with("kvasir/");
    const std::string own = in_module ? file.path.substr(7, file.path.find('/', 7) - 7) : "";
    const Module* module = FindModule(modules, own);
    if (in_module && (module == nullptr || module->planned)) {
      violations.push_back(At(file, 0, "module " + own + " is not in the table, or only planned"));
      continue;
    }
    const std::vector<std::string> lines = SplitLines(file.text);
    for (size_t i = 0; i < lines.size(); ++i) {
      std::smatch match;
      if (!std::regex_search(lines[i], match, include)) continue;
      const std::string path = match[2].str();
      const bool ours = path.starts_with("kvasir/") || path.starts_with("tests/");
      if (match[1] == "\"" && path.find('/') == std::string::npos) {
        violations.push_back(At(file, i, "include \"" + path + "\" by its path from the root"));
      }
      if (!ours) continue;
      if (match[1] == "<") violations.push_back(At(file, i, "include our own files with quotes"));
      if (!paths.contains(path)) violations.push_back(At(file, i, path + " does not exist"));
      if (!in_module) continue;
      const std::string target = path.substr(7, path.find('/', 7) - 7);
      const bool allowed =
          path.starts_with("kvasir/") &&
          (target == own || target == "base" || module->may_include.contains(target) ||
           (IsBesideTheModule(file) && cmake.contains(own) &&
            cmake.at(own).test_deps.contains(target)));
      if (!allowed) violations.push_back(At(file, i, own + " may not include " + path));
    }
  }
  return violations;
}

}  // namespace kvasir

#endif  // KVASIR_TESTS_TIDY_MODULE_TABLE_H_
