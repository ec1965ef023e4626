// kvasir attention build|info: attention variants of the user's own, compiled and looked into.

#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "kvasir/attention/variant_build.h"
#include "kvasir/attention/variant_library.h"
#include "kvasir/base/json.h"
#include "kvasir/cli/command.h"
#include "kvasir/cli/flags.h"
#include "kvasir/cli/json_output.h"
#include "kvasir/cli/output.h"

namespace kvasir {

namespace {

constexpr const char* kGroupFooter =
    "Examples:\n"
    "  kvasir attention build my_variant.h\n"
    "  kvasir attention info my_variant.so";

constexpr const char* kBuildFooter =
    "The header holds structs with the hooks Logits or Visible, each followed by the line\n"
    "KVASIR_ATTENTION_VARIANT(Name), and no includes, guards or namespaces around them;\n"
    "docs/attention.md explains it. Prints the path of the shared object. What was built before\n"
    "is found in the cache and not compiled again.\n"
    "\n"
    "Needs a C++20 compiler ($CXX, else g++), libhwy-dev, and Kvasir's headers: those of the\n"
    "source tree that this program was built from, or of the directory $KVASIR_INCLUDE.\n"
    "\n"
    "Examples:\n"
    "  kvasir attention build my_variant.h\n"
    "  kvasir attention build my_variant.h --output my_variant.so\n"
    "  CXX=clang++-14 kvasir attention build my_variant.h --cache /tmp/variants";

constexpr const char* kInfoFooter =
    "Loads the object, which runs its code: look only into files that you would run as programs.\n"
    "\n"
    "Examples:\n"
    "  kvasir attention info my_variant.so\n"
    "  kvasir attention info my_variant.so --json";

struct BuildOptions {
  std::optional<std::string> header;
  std::optional<std::string> output;
  std::optional<std::string> cache_dir;
};

Status RunBuild(const BuildOptions& options) {
  std::string messages;
  const Result<VariantBuild> build = BuildAttentionVariants(
      options.header.value_or(""),
      {.output = options.output.value_or(""), .cache_dir = options.cache_dir.value_or("")},
      &messages);
  std::fputs(messages.c_str(), stderr);
  if (!build.ok()) return build.status();
  Output output;
  output.Write(build->path + "\n");
  return output.status();
}

struct InfoOptions {
  std::optional<std::string> object;
  bool json = false;
};

Status RunInfo(const InfoOptions& options) {
  const std::string path = options.object.value_or("");
  KVASIR_ASSIGN_OR_RETURN(const std::vector<LoadedAttentionVariant> variants,
                          LoadAttentionVariants(path));
  Json list = Json::array();
  std::string table;
  for (const LoadedAttentionVariant& variant : variants) {
    list.push_back({{"name", variant.name},
                    {"params_bytes", variant.params_bytes},
                    {"params_alignment", variant.params_alignment},
                    {"use_softmax", variant.use_softmax}});
    table += variant.name + ": " + std::to_string(variant.params_bytes) +
             " bytes of parameters at multiples of " + std::to_string(variant.params_alignment) +
             (variant.use_softmax ? ", softmax\n" : ", no softmax\n");
  }
  if (options.json) return PrintJson({{"path", path}, {"variants", std::move(list)}});
  Output output;
  output.Write(table);
  return output.status();
}

}  // namespace

CommandFunction AddAttentionCommand(CLI::App& parent) {
  CLI::App& group = AddCommand(parent, "attention", "Attention variants of your own", kGroupFooter);
  auto build_options = std::make_shared<BuildOptions>();
  CLI::App& build =
      AddCommand(group, "build", "Compile a header of variants for every target", kBuildFooter);
  AddTextArgument(build, "HEADER", &build_options->header, "the header of variants");
  AddTextFlag(build, "-o,--output", &build_options->output, "PATH",
              "where the shared object goes\n(default: it stays in the cache)");
  AddTextFlag(build, "--cache", &build_options->cache_dir, "DIR",
              "where objects are kept\n(default: ~/.cache/kvasir/variants)");
  auto info_options = std::make_shared<InfoOptions>();
  CLI::App& info = AddCommand(group, "info", "The variants of a shared object", kInfoFooter);
  AddTextArgument(info, "OBJECT", &info_options->object, "what kvasir attention build made");
  AddSwitch(info, "--json", &info_options->json, "print one JSON object");
  return [build_options, info_options] {
    return build_options->header ? RunBuild(*build_options) : RunInfo(*info_options);
  };
}

}  // namespace kvasir
