#include "kvasir/attention/variant_source.h"

#include <gtest/gtest.h>

namespace kvasir {
namespace {

constexpr char kGood[] =
    "// A comment with #include <x> and namespace.\n"
    "struct Near {\n"
    "  float distance = 10'000;\n"
    "  LaneMask Visible(const AttentionRow& row, FloatLanes keys) const {\n"
    "    return float(row.position()) - keys < distance;  /* } */\n"
    "  }\n"
    "};\n"
    "KVASIR_ATTENTION_VARIANT(Near)\n";

std::string Refusal(const std::string& header) {
  const Result<VariantSource> source = MakeVariantSource(header, "my.h");
  if (source.ok()) return "(accepted)";
  EXPECT_EQ(source.status().code(), StatusCode::kInvalidArgument);
  return source.status().message();
}

TEST(VariantSourceTest, TakesTheHeaderAsItIsAndFindsTheNames) {
  const std::string two = std::string(kGood) + "struct Far {};\nKVASIR_ATTENTION_VARIANT( Far )\n";
  const Result<VariantSource> source = MakeVariantSource(two, "a \"b\"\\c.h");
  ASSERT_TRUE(source.ok()) << source.status().message();
  EXPECT_EQ(source->names, (std::vector<std::string>{"Near", "Far"}));
  EXPECT_NE(source->text.find("#line 1 \"a \\\"b\\\"\\\\c.h\"\n" + two), std::string::npos);
  EXPECT_NE(source->text.find("KVASIR_DESCRIBE_ATTENTION_VARIANT(Far)"), std::string::npos);
}

TEST(VariantSourceTest, NamesInCommentsDoNotCount) {
  EXPECT_EQ(Refusal("struct A {};\n// KVASIR_ATTENTION_VARIANT(A)\n/* KVASIR_ATTENTION_VARIANT(A)"),
            "my.h names no variant: a line KVASIR_ATTENTION_VARIANT(Name) behind the struct Name "
            "is needed");
  EXPECT_EQ(Refusal(""), Refusal("struct A {};"));
  EXPECT_EQ(Refusal("KVASIR_EXPORT_ATTENTION_VARIANT(A)"), Refusal(""));
}

TEST(VariantSourceTest, RefusesWhatHasNoPlaceInAHeaderOfVariants) {
  EXPECT_EQ(Refusal("\n\n # include <cmath>\n" + std::string(kGood)),
            "my.h:3: #include has no place in a header of variants: it is compiled inside Kvasir's "
            "own source, where everything that variant-inl.h offers is known");
  const std::string guard =
      "a header of variants has no include guard: it is compiled once for each instruction set";
  EXPECT_EQ(Refusal("#pragma once\n" + std::string(kGood)), "my.h:1: " + guard);
  EXPECT_EQ(Refusal("\n#ifndef A_H\n#define A_H\n" + std::string(kGood) + "#endif\n"),
            "my.h:2: " + guard);
  EXPECT_EQ(Refusal("/*\n*/ namespace my {\n" + std::string(kGood) + "}\n"),
            "my.h:2: a header of variants has no namespace: it is compiled inside kvasir's own");
  EXPECT_EQ(Refusal(std::string(kGood) + kGood), "my.h:16: Near is named twice");
  EXPECT_EQ(Refusal("struct A {\n" + std::string(kGood)), "my.h:1: this { is not closed");
  EXPECT_EQ(Refusal(std::string(kGood) + "}\n"), "my.h:9: this } closes nothing");
}

TEST(VariantSourceTest, MacrosThatAreNoGuardStay) {
  EXPECT_EQ(Refusal("#ifndef HALF\n#define HALF 0.5f\n#endif\n" + std::string(kGood)),
            "(accepted)");
}

}  // namespace
}  // namespace kvasir
