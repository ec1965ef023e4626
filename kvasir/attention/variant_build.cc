#include "kvasir/attention/variant_build.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string_view>
#include <system_error>

#include "kvasir/attention/variant_source.h"
#include "kvasir/base/mapped_file.h"
#include "kvasir/base/subprocess.h"

namespace kvasir {

namespace {

namespace fs = std::filesystem;

constexpr size_t kHeaderBytesMax = size_t{1} << 20;

// As CMakeLists.txt has them: the instruction set of the portable target, no fusing by the
// compiler's own choice. Hidden symbols: two objects may have structs of the same name.
constexpr const char* kFlags[] = {
    "-std=c++20",
    "-O2",
    "-DNDEBUG",
    "-mssse3",
    "-ffp-contract=off",
    "-fPIC",
    "-fvisibility=hidden",
    "-Wall",
    "-Wextra",
    "-Wno-unused-parameter",
};

std::string FirstOf(const std::string& option, const char* variable, const std::string& otherwise) {
  if (!option.empty()) return option;
  const char* value = std::getenv(variable);
  return value == nullptr || *value == '\0' ? otherwise : value;
}

std::vector<std::string> SplitWords(const std::string& text) {
  std::stringstream stream(text);
  std::vector<std::string> words;
  for (std::string word; stream >> word;) words.push_back(word);
  return words;
}

// FNV-1a of 128 bits: names files, and defends against nobody.
class Fingerprint {
 public:
  void Add(std::string_view text) {
    AddBytes(std::to_string(text.size()) + ":");  // ("ab", "c") is not ("a", "bc")
    AddBytes(text);
  }
  std::string ToHex() const {
    char hex[33];
    std::snprintf(hex, sizeof(hex), "%016llx%016llx", static_cast<unsigned long long>(hash_ >> 64),
                  static_cast<unsigned long long>(hash_));
    return hex;
  }

 private:
  using Number = unsigned __int128;
  void AddBytes(std::string_view text) {
    constexpr Number kPrime = (Number{1} << 88) + 0x13B;
    for (const char c : text) hash_ = (hash_ ^ static_cast<unsigned char>(c)) * kPrime;
  }
  Number hash_ = (Number{0x6C62272E07BB0142} << 64) + 0x62B821756295C58D;
};

// Every header that a variant can come to include.
Status AddHeaders(const std::string& include_dir, Fingerprint* fingerprint) {
  std::vector<std::string> paths;
  for (const char* module : {"attention", "base", "formats", "kernels"}) {
    std::error_code error;
    for (const auto& entry :
         fs::directory_iterator(fs::path(include_dir) / "kvasir" / module, error)) {
      if (entry.path().extension() == ".h") paths.push_back(entry.path().string());
    }
  }
  std::sort(paths.begin(), paths.end());
  for (const std::string& path : paths) {
    KVASIR_ASSIGN_OR_RETURN(const std::string text, ReadFile(path, kHeaderBytesMax));
    fingerprint->Add(path.substr(include_dir.size()));
    fingerprint->Add(text);
  }
  return OkStatus();
}

// A new directory inside `parent`, gone at the end of the scope with all that is in it.
class ScratchDirectory {
 public:
  ScratchDirectory() = default;
  ScratchDirectory(const ScratchDirectory&) = delete;
  ScratchDirectory& operator=(const ScratchDirectory&) = delete;
  ~ScratchDirectory() {
    std::error_code ignored;
    if (!path_.empty()) fs::remove_all(path_, ignored);
  }
  Status Make(const fs::path& parent) {
    std::string path = (parent / ".build-XXXXXX").string();
    if (mkdtemp(path.data()) == nullptr) {
      return IoError("a directory in '" + parent.string() +
                     "' cannot be made: " + std::strerror(errno));
    }
    path_ = path;
    return OkStatus();
  }
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

// Puts a copy of `from` at `to` in one step, so that nobody loads half of it.
Status CopyInOneStep(const std::string& from, const std::string& to) {
  const std::string part = to + "." + std::to_string(getpid()) + ".part";
  std::error_code error;
  fs::copy_file(from, part, fs::copy_options::overwrite_existing, error);
  if (!error) fs::rename(part, to, error);
  if (!error) return OkStatus();
  std::error_code ignored;
  fs::remove(part, ignored);
  return IoError("'" + to + "' cannot be written: " + error.message());
}

// One build, step by step.
class VariantBuilder {
 public:
  explicit VariantBuilder(const VariantBuildOptions& options)
      : compiler_(SplitWords(FirstOf(options.compiler, "CXX", "g++"))),
        include_dir_(FirstOf(options.include_dir, "KVASIR_INCLUDE", KVASIR_INCLUDE_DIR)),
        cache_dir_(options.cache_dir) {
    if (cache_dir_.empty()) {
      const std::string home = FirstOf("", "HOME", "");
      cache_dir_ = FirstOf("", "XDG_CACHE_HOME", home + "/.cache") + "/kvasir/variants";
    }
  }

  Result<VariantBuild> Build(const std::string& header_path, std::string* messages);

 private:
  Status CheckTools();
  Result<std::string> ObjectPath(const std::string& header_path, const VariantSource& source) const;
  Status Compile(const VariantSource& source, const std::string& object_path,
                 std::string* messages) const;
  // The compiler on the source in `directory`.
  Result<ProcessResult> RunCompiler(const fs::path& directory,
                                    std::vector<std::string> more_flags) const;

  std::vector<std::string> compiler_;
  std::string include_dir_;
  std::string cache_dir_;
  std::string compiler_version_;
};

Status VariantBuilder::CheckTools() {
  std::error_code error;
  if (!fs::exists(fs::path(include_dir_) / "kvasir/attention/variant-inl.h", error)) {
    return NotFound("Kvasir's headers are not in '" + include_dir_ +
                    "': set KVASIR_INCLUDE to the directory that holds "
                    "kvasir/attention/variant-inl.h");
  }
  if (compiler_.empty()) return InvalidArgument("the C++ compiler's name is empty");
  std::vector<std::string> command = compiler_;
  command.push_back("--version");
  const Result<ProcessResult> version = RunProcess(command);
  if (!version.ok()) {
    return Status(version.status().code(),
                  "the C++ compiler " + version.status().message() + "; install g++, or set CXX");
  }
  if (version->exit_code != 0) {
    return InvalidArgument("the C++ compiler '" + compiler_[0] + "' does not know --version");
  }
  compiler_version_ = version->output;
  return OkStatus();
}

Result<std::string> VariantBuilder::ObjectPath(const std::string& header_path,
                                               const VariantSource& source) const {
  Fingerprint fingerprint;
  fingerprint.Add(source.text);
  for (const std::string& word : compiler_) fingerprint.Add(word);
  fingerprint.Add(compiler_version_);
  for (const char* flag : kFlags) fingerprint.Add(flag);
  KVASIR_RETURN_IF_ERROR(AddHeaders(include_dir_, &fingerprint));
  return cache_dir_ + "/" + fs::path(header_path).stem().string() + "-" + fingerprint.ToHex() +
         ".so";
}

Result<ProcessResult> VariantBuilder::RunCompiler(const fs::path& directory,
                                                  std::vector<std::string> more_flags) const {
  std::vector<std::string> command = compiler_;
  command.insert(command.end(), std::begin(kFlags), std::end(kFlags));
  command.insert(command.end(), more_flags.begin(), more_flags.end());
  command.push_back("-I" + directory.string());
  command.push_back("-I" + include_dir_);
  command.push_back((directory / kVariantSourceName).string());
  return RunProcess(command);
}

Status VariantBuilder::Compile(const VariantSource& source, const std::string& object_path,
                               std::string* messages) const {
  ScratchDirectory scratch;
  KVASIR_RETURN_IF_ERROR(scratch.Make(cache_dir_));
  std::ofstream file(scratch.path() / kVariantSourceName, std::ios::binary);
  file << source.text;
  file.close();
  if (!file) return IoError("'" + scratch.path().string() + "' cannot be written to");
  const std::string object = (scratch.path() / "variants.so").string();
  KVASIR_ASSIGN_OR_RETURN(ProcessResult result,
                          RunCompiler(scratch.path(), {"-shared", "-o", object}));
  *messages = result.output;
  if (result.exit_code != 0) {
    // Most mistakes are said once for each target: for the portable one alone is enough.
    const std::vector<std::string> check = {"-DHWY_COMPILE_ONLY_STATIC", "-fsyntax-only"};
    KVASIR_ASSIGN_OR_RETURN(ProcessResult once, RunCompiler(scratch.path(), check));
    if (once.exit_code != 0) *messages = std::move(once.output);
    if (messages->find("hwy/foreach_target.h") != std::string::npos &&
        messages->find("No such file") != std::string::npos) {
      return NotFound("Highway's headers are missing: install libhwy-dev");
    }
    return InvalidArgument("the header does not compile, as the compiler's messages say");
  }
  std::error_code error;
  fs::rename(object, object_path, error);
  if (error) return IoError("'" + object_path + "' cannot be written: " + error.message());
  return OkStatus();
}

Result<VariantBuild> VariantBuilder::Build(const std::string& header_path, std::string* messages) {
  KVASIR_ASSIGN_OR_RETURN(const std::string header, ReadFile(header_path, kHeaderBytesMax));
  KVASIR_ASSIGN_OR_RETURN(const VariantSource source, MakeVariantSource(header, header_path));
  KVASIR_RETURN_IF_ERROR(CheckTools());
  VariantBuild build;
  build.names = source.names;
  KVASIR_ASSIGN_OR_RETURN(build.path, ObjectPath(header_path, source));
  std::error_code error;
  if (fs::exists(build.path, error)) return build;
  fs::create_directories(cache_dir_, error);
  if (error) return IoError("'" + cache_dir_ + "' cannot be made: " + error.message());
  KVASIR_RETURN_IF_ERROR(Compile(source, build.path, messages).WithContext(header_path));
  build.compiled = true;
  return build;
}

}  // namespace

Result<VariantBuild> BuildAttentionVariants(const std::string& header_path,
                                            const VariantBuildOptions& options,
                                            std::string* messages) {
  messages->clear();
  KVASIR_ASSIGN_OR_RETURN(VariantBuild build, VariantBuilder(options).Build(header_path, messages));
  if (options.output.empty()) return build;
  KVASIR_RETURN_IF_ERROR(CopyInOneStep(build.path, options.output));
  build.path = options.output;
  return build;
}

}  // namespace kvasir
