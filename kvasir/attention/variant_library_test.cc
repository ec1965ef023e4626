// The road from a user's header to attention: built with the machine's compiler, loaded, bound, and
// held against the built-in variants and the float64 truth on every target.

#include "kvasir/attention/variant_library.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <random>
#include <vector>

#include "kvasir/attention/attention_test_util.h"
#include "kvasir/attention/variant_build.h"
#include "kvasir/base/subprocess.h"
#include "kvasir/kernels/cpu_target.h"

namespace kvasir {
namespace {

namespace fs = std::filesystem;

constexpr char kHeader[] = R"(// ALiBi and a soft cap, as the built-in ones.
struct CappedAlibi {
  float slope = 0;
  float cap = 1;
  FloatLanes Logits(const AttentionRow& row, FloatLanes logits, FloatLanes keys) const {
    return cap * Tanh((logits + slope * (keys - float(row.position()))) * (1.0f / cap));
  }
};
KVASIR_ATTENTION_VARIANT(CappedAlibi)

// As window_left.
struct Near {
  double distance = 0;
  LaneMask Visible(const AttentionRow& row, FloatLanes keys) const {
    return float(row.position()) - keys <= float(distance);
  }
};
KVASIR_ATTENTION_VARIANT(Near)

// The mean of the values, without parameters: every weight is 1 / position.
struct Mean {
  static constexpr bool kUseSoftmax = false;
  FloatLanes Logits(const AttentionRow& row, FloatLanes, FloatLanes keys) const {
    return 0.0f * keys + 1.0f / float(row.position() + 1);
  }
};
KVASIR_ATTENTION_VARIANT(Mean)
)";

std::string CompilerName() {
  const char* name = std::getenv("CXX");
  return name == nullptr || *name == '\0' ? "g++" : name;
}

// A folder for all tests of this file, and whether there is a compiler.
class VariantLibraryTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = testing::TempDir() + "variant_library_test." + std::to_string(getpid());
    fs::create_directories(folder_);
    has_compiler_ = RunProcess({"sh", "-c", CompilerName() + " --version"})->exit_code == 0;
  }
  static void TearDownTestSuite() { fs::remove_all(folder_); }
  void SetUp() override {
    if (!has_compiler_) GTEST_SKIP() << CompilerName() << " is not installed";
  }

  static std::string Write(const std::string& name, const std::string& text) {
    std::ofstream(folder_ + "/" + name) << text;
    return folder_ + "/" + name;
  }
  static VariantBuildOptions Options() { return {.cache_dir = folder_ + "/cache"}; }
  // The variants of kHeader, built by the first test that asks.
  static std::vector<LoadedAttentionVariant> Variants() {
    std::string messages;
    const Result<VariantBuild> build =
        BuildAttentionVariants(Write("three.h", kHeader), Options(), &messages);
    EXPECT_TRUE(build.ok()) << build.status().message() << "\n" << messages;
    EXPECT_EQ(messages, "");
    if (!build.ok()) return {};
    EXPECT_EQ(build->names, (std::vector<std::string>{"CappedAlibi", "Near", "Mean"}));
    Result<std::vector<LoadedAttentionVariant>> variants = LoadAttentionVariants(build->path);
    EXPECT_TRUE(variants.ok()) << variants.status().message();
    return variants.ok() ? *variants : std::vector<LoadedAttentionVariant>();
  }
  // A shared object of our own making, for what the builder would not make.
  static std::string Object(const std::string& name, const std::string& source) {
    const std::string path = folder_ + "/" + name + ".so";
    const Result<ProcessResult> result =
        RunProcess({"sh", "-c",
                    CompilerName() + " -std=c++20 -shared -fPIC -I" KVASIR_SOURCE_DIR " -o " +
                        path + " " + Write(name + ".cc", source)});
    EXPECT_EQ(result->exit_code, 0) << result->output;
    return path;
  }
  static std::string LoadMessage(const std::string& path) {
    const auto variants = LoadAttentionVariants(path);
    return variants.ok() ? "(loaded)" : variants.status().message();
  }

  static inline std::string folder_;
  static inline bool has_compiler_ = false;
};

// Runs the variant with `params` beside the built-in `spec`, on every target; the truth is that of
// `spec`.
template <class Params>
void ExpectAsBuiltIn(const LoadedAttentionVariant& loaded, const Params& params,
                     const AttentionSpec& spec) {
  for (const CpuTarget target : SupportedCpuTargets()) {
    const ScopedCpuTarget scope(target);
    const Result<AttentionVariant> variant =
        BindAttentionVariant(loaded, std::as_bytes(std::span(&params, 1)));
    ASSERT_TRUE(variant.ok()) << variant.status().message();
    AttentionSpec custom = {spec.num_qo_heads, spec.num_kv_heads, spec.head_dim, spec.sm_scale};
    custom.variant = &*variant;
    const auto batch = [](const AttentionSpec& of) {
      std::mt19937 random(7);
      return TestBatch(of, KvFormat::kBF16,
                       {RandomSequence(of, KvFormat::kBF16, 600, 1, random),
                        RandomSequence(of, KvFormat::kBF16, 290, 37, random)},
                       random);
    };
    const TestBatch custom_batch = batch(custom);
    const TestOutput output = custom_batch.Run({.thread_count = 2});
    const TestOutput built_in = batch(spec).Run({.thread_count = 2});
    for (size_t i = 0; i < output.out.size(); ++i) {
      ASSERT_NEAR(output.out[i], built_in.out[i], 1e-5f) << CpuTargetName(target);
    }
    size_t i = 0;
    for (const TestSequence& sequence : custom_batch.sequences()) {
      for (const double truth : ReferenceAttention(spec, sequence).out) {
        ASSERT_NEAR(output.out[i++], truth, 1e-5) << CpuTargetName(target);
      }
    }
    ASSERT_EQ(i, output.out.size());
  }
}

TEST_F(VariantLibraryTest, LogitsOnEveryTarget) {
  const auto variants = Variants();
  ASSERT_EQ(variants.size(), 3u);
  EXPECT_EQ(variants[0].name, "CappedAlibi");
  EXPECT_EQ(variants[0].params_bytes, 8u);
  EXPECT_EQ(variants[0].params_alignment, 4u);
  EXPECT_TRUE(variants[0].use_softmax);
  const float params[2] = {0.03f, 4.0f};
  AttentionSpec spec = {6, 2, 64, 0.125f};
  const std::vector<float> slopes(6, params[0]);
  spec.alibi_slopes = slopes;
  spec.logits_soft_cap = params[1];
  ExpectAsBuiltIn(variants[0], params, spec);
}

TEST_F(VariantLibraryTest, AMaskOnEveryTarget) {
  const auto variants = Variants();
  ASSERT_EQ(variants.size(), 3u);
  AttentionSpec spec = {6, 2, 64, 0.125f};
  spec.window_left = 77;
  ExpectAsBuiltIn(variants[1], 77.0, spec);
}

TEST_F(VariantLibraryTest, AStructWithoutMembersNeedsNoParameters) {
  const auto variants = Variants();
  ASSERT_EQ(variants.size(), 3u);
  EXPECT_EQ(variants[2].params_bytes, 0u);
  EXPECT_FALSE(variants[2].use_softmax);
  const Result<AttentionVariant> variant = BindAttentionVariant(variants[2], {});
  ASSERT_TRUE(variant.ok()) << variant.status().message();
  AttentionSpec spec = {1, 1, 16, 1.0f};
  spec.variant = &*variant;
  std::mt19937 random(3);
  const TestSequence sequence = RandomSequence(spec, KvFormat::kF32, 300, 1, random);
  const TestOutput output =
      TestBatch(spec, KvFormat::kF32, {sequence}, random).Run({.thread_count = 1});
  for (size_t d = 0; d < 16; ++d) {
    double mean = 0;
    for (size_t t = 0; t < 300; ++t) mean += double(sequence.v[t * 16 + d]) / 300;
    EXPECT_NEAR(output.out[d], mean, 1e-5);
  }
}

TEST_F(VariantLibraryTest, ParametersMustBeThoseOfTheStruct) {
  const auto variants = Variants();
  ASSERT_EQ(variants.size(), 3u);
  alignas(8) const std::byte bytes[16] = {};
  const auto message = [&](const LoadedAttentionVariant& variant, size_t first, size_t count) {
    const auto bound = BindAttentionVariant(variant, std::span(bytes).subspan(first, count));
    return bound.ok() ? "(bound)" : bound.status().message();
  };
  EXPECT_EQ(message(variants[0], 0, 4),
            "the parameters of variant CappedAlibi have 4 bytes, its struct has 8");
  EXPECT_EQ(message(variants[2], 0, 1),
            "the parameters of variant Mean have 1 bytes, its struct has 0");
  EXPECT_EQ(message(variants[1], 4, 8),
            "the parameters of variant Near are not at a multiple of 8 bytes");
  EXPECT_EQ(message(variants[0], 4, 8), "(bound)");
}

TEST_F(VariantLibraryTest, ASecondBuildOnlyLooks) {
  // A compiler that keeps count of what it compiles, and "compiles" it into a line of text.
  const std::string log = folder_ + "/log";
  const std::string compiler = Write("compiler",
                                     "#!/bin/sh\nwhile [ $# -gt 0 ]; do\n"
                                     "  if [ \"$1\" = -o ]; then echo object >\"$2\"; echo >>'" +
                                         log +
                                         "'; fi\n"
                                         "  shift\ndone\n");
  fs::permissions(compiler, fs::perms::owner_all);
  VariantBuildOptions options = {
      .output = folder_ + "/copy.so", .cache_dir = folder_ + "/second", .compiler = compiler};
  const std::string header = Write("all.h", kHeader);
  std::string messages;
  for (const bool is_first : {true, false}) {
    const Result<VariantBuild> build = BuildAttentionVariants(header, options, &messages);
    ASSERT_TRUE(build.ok()) << build.status().message() << "\n" << messages;
    EXPECT_EQ(build->compiled, is_first);
    EXPECT_EQ(build->path, options.output);
    EXPECT_EQ(fs::file_size(options.output), 7u);
    EXPECT_EQ(fs::file_size(log), 1u);
  }
  // Another header, and another compiler, are other objects.
  Write("all.h", std::string(kHeader) + "// changed\n");
  EXPECT_TRUE(BuildAttentionVariants(header, options, &messages)->compiled);
  options.compiler += " -DX";
  EXPECT_TRUE(BuildAttentionVariants(header, options, &messages)->compiled);
  EXPECT_EQ(fs::file_size(log), 3u);
  size_t objects = 0;
  for (const auto& entry : fs::directory_iterator(options.cache_dir)) {
    EXPECT_EQ(entry.path().extension(), ".so") << entry.path() << " was left behind";
    ++objects;
  }
  EXPECT_EQ(objects, 3u);
  options.output = "/no/such/copy.so";
  EXPECT_EQ(BuildAttentionVariants(header, options, &messages).status().code(),
            StatusCode::kIoError);
}

TEST_F(VariantLibraryTest, CompilerMessagesHaveTheHeadersOwnLines) {
  const std::string header = Write("bad.h", R"(struct Unknown {
  FloatLanes Logits(const AttentionRow&, FloatLanes logits, FloatLanes) const {
    return logits + y;
  }
};
KVASIR_ATTENTION_VARIANT(Unknown)
struct Hookless {
  float x = 0;
};
KVASIR_ATTENTION_VARIANT(Hookless)
struct Wide {
  FloatLanes x;
  LaneMask Visible(const AttentionRow&, FloatLanes keys) const { return keys > x; }
};
KVASIR_ATTENTION_VARIANT(Wide)
)");
  std::string messages;
  const Result<VariantBuild> build = BuildAttentionVariants(header, Options(), &messages);
  ASSERT_FALSE(build.ok());
  EXPECT_EQ(build.status().code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(build.status().message(),
            header + ": the header does not compile, as the compiler's messages say");
  const std::string line = header + ":3:";
  const size_t first = messages.find(line);
  ASSERT_NE(first, std::string::npos) << messages;
  EXPECT_EQ(messages.find(line, first + 1), std::string::npos) << messages;
  EXPECT_NE(messages.find(header + ":10:"), std::string::npos) << messages;
  EXPECT_NE(messages.find("Hookless needs Logits or Visible"), std::string::npos) << messages;
  EXPECT_NE(messages.find("Wide has members that are not plain numbers"), std::string::npos)
      << messages;
}

TEST_F(VariantLibraryTest, WhatIsMissingIsNamed) {
  const std::string header = Write("three.h", kHeader);
  const auto message = [&](const std::string& path, VariantBuildOptions options) {
    std::string messages;
    options.cache_dir = folder_ + "/cache";
    const Result<VariantBuild> build = BuildAttentionVariants(path, options, &messages);
    return build.ok() ? "(built)" : build.status().message();
  };
  EXPECT_EQ(message(header, {.compiler = "/no/such/g++ -v"}),
            "the C++ compiler '/no/such/g++' cannot be started: No such file or directory; install "
            "g++, or set CXX");
  EXPECT_EQ(message(header, {.compiler = "false"}),
            "the C++ compiler 'false' does not know --version");
  EXPECT_EQ(message(header, {.include_dir = "/no/such"}),
            "Kvasir's headers are not in '/no/such': set KVASIR_INCLUDE to the directory that "
            "holds kvasir/attention/variant-inl.h");
  EXPECT_NE(message("/no/such.h", {}).find("/no/such.h"), std::string::npos);
  EXPECT_EQ(message(Write("empty.h", ""), {}),
            folder_ +
                "/empty.h names no variant: a line KVASIR_ATTENTION_VARIANT(Name) behind the "
                "struct Name is needed");
}

TEST_F(VariantLibraryTest, OtherFilesAreRefused) {
  const std::string no_object =
      "' is not a shared object of attention variants, such as kvasir attention build makes";
  const std::string text = Write("text.so", "not an object");
  EXPECT_EQ(LoadMessage(text), "'" + text + no_object);
  const std::string other = Object("other", "int x;\n");
  EXPECT_EQ(LoadMessage(other), "'" + other + no_object);
  EXPECT_NE(LoadMessage("/no/such.so").find("/no/such.so"), std::string::npos);
  EXPECT_NE(LoadMessage(folder_), "(loaded)");
  // A program that holds the marker, because it can load variants.
  EXPECT_NE(LoadMessage("/proc/self/exe").find("cannot be loaded"), std::string::npos);
}

TEST_F(VariantLibraryTest, BrokenTablesAreRefused) {
  const std::string marker =
      "#include \"kvasir/attention/variant_abi.h\"\nusing namespace kvasir;\n"
      "extern const char m[]; const char m[] = KVASIR_ATTENTION_VARIANT_MARKER;\n";
  const std::string none = Object("none", marker);
  EXPECT_EQ(LoadMessage(none), "'" + none + "' does not export KvasirAttentionVariants");
  const auto table = [&](const std::string& name, const std::string& numbers) {
    return Object(name, marker +
                            "static const AttentionVariantDescriptor d[] = {{\"A\", 4, 3, 1}};\n"
                            "extern \"C\" const AttentionVariantTable KvasirAttentionVariants;\n"
                            "const AttentionVariantTable KvasirAttentionVariants = "
                            "{KVASIR_ATTENTION_VARIANT_MARKER, " +
                            numbers + ", d};\n");
  };
  const std::string sizes = "sizeof(AttentionRow), sizeof(SoftmaxSpan), ";
  const std::string later = table("later", "99, " + sizes + "1");
  EXPECT_EQ(LoadMessage(later), "'" + later +
                                    "' has attention variants of version 99, this Kvasir reads "
                                    "version 1: build it again");
  const std::string many = table("many", "kAttentionVariantAbi, " + sizes + "5000");
  EXPECT_EQ(LoadMessage(many), "'" + many + "' has 5000 attention variants, allowed is 1 to 4096");
  const std::string odd = table("odd", "kAttentionVariantAbi, " + sizes + "1");
  EXPECT_EQ(LoadMessage(odd), "'" + odd + "' has a broken description of attention variant 0");
}

}  // namespace
}  // namespace kvasir
