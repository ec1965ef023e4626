// What the GGUF reader refuses, and that it says why; the seeds of gguf_fuzz, written by PyPI's
// `gguf`, must open.

#include "kvasir/weights/gguf.h"

#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

#include "kvasir/base/mapped_file.h"
#include "kvasir/weights/checkpoint.h"
#include "kvasir/weights/checkpoint_builder.h"
#include "kvasir/weights/testing/tiny_model.h"

namespace kvasir {
namespace {

using testing::GgufWriter;

std::span<const std::byte> Bytes(const std::string& text) { return std::as_bytes(std::span(text)); }

std::string ParseError(const std::string& file) {
  const Result<GgufFile> result = GgufFile::Parse(Bytes(file));
  return result.ok() ? "" : result.status().message();
}

std::string OpenError(const std::string& file) {
  const auto result = CheckpointBuilder::FromGgufBytes(Bytes(file));
  return result.ok() ? "" : result.status().message();
}

// A header with these counts and nothing behind it.
std::string Header(uint32_t version, uint64_t tensors, uint64_t entries) {
  std::string out = "GGUF";
  GgufWriter::Append(&out, version);
  GgufWriter::Append(&out, tensors);
  GgufWriter::Append(&out, entries);
  return out;
}

TEST(GgufTest, ReadsTheSeedsThatGgufWrote) {
  for (const char* name : {"llama_q8_0", "llama_q8_0_v2", "gemma3_q4_1", "qwen3_f16"}) {
    const auto checkpoint =
        OpenCheckpoint(std::string(KVASIR_SOURCE_DIR "/tests/fuzz/gguf_fuzz/") + name);
    ASSERT_TRUE(checkpoint.ok()) << checkpoint.status().message();
    EXPECT_EQ((*checkpoint)->spec().vocab_size, 8u);
    EXPECT_EQ((*checkpoint)->tokenizer().merges, (std::vector<std::string>{"a b", "c d"}));
    EXPECT_EQ((*checkpoint)->tokenizer().end_of_generation, std::vector<TokenId>{1});
  }
}

TEST(GgufTest, AppliesRopeFreqsAndGemmasScaling) {
  const std::string seeds = KVASIR_SOURCE_DIR "/tests/fuzz/gguf_fuzz/";
  const auto llama = OpenCheckpoint(seeds + "llama_q8_0");
  // The divisors are 1 to 8, head_dim is 16, theta 10000.
  EXPECT_FLOAT_EQ((*llama)->spec().rope.inverse_frequency[0], 1.0f);
  EXPECT_FLOAT_EQ((*llama)->spec().rope.inverse_frequency[4], 1e-2f / 5);
  const auto gemma = OpenCheckpoint(seeds + "gemma3_q4_1");
  EXPECT_EQ((*gemma)->spec().rope.description, "theta 10000, linear x8");
  EXPECT_EQ((*gemma)->spec().sliding_rope.description, "theta 10000");
  EXPECT_TRUE((*gemma)->spec().IsSliding(0));
}

TEST(GgufTest, RefusesHeaders) {
  EXPECT_EQ(ParseError("GGML0000"), "not a GGUF file: it does not begin with the letters GGUF");
  EXPECT_EQ(ParseError(Header(1, 0, 0)), "GGUF version 1 is not supported, versions 2 and 3 are");
  EXPECT_EQ(ParseError(Header(0x03000000, 0, 0)), "big-endian GGUF files are not supported");
  EXPECT_EQ(ParseError(Header(3, uint64_t{1} << 60, 0)),
            "the GGUF tensor count is 1152921504606846976, at most 65536 are allowed");
  EXPECT_EQ(ParseError(Header(3, 0, uint64_t{1} << 60)),
            "the GGUF metadata count is 1152921504606846976, at most 65536 are allowed");
  EXPECT_EQ(ParseError(Header(3, 0, 1)), "the file ends at byte 24 inside a GGUF metadata key");
}

TEST(GgufTest, RefusesMetadata) {
  const auto error = [](const std::function<void(GgufWriter&)>& write) {
    GgufWriter writer;
    write(writer);
    return ParseError(writer.File());
  };
  EXPECT_EQ(error([](GgufWriter& w) {
              w.Uint("a", 1);
              w.Uint("a", 2);
            }),
            "GGUF metadata a occurs twice");
  EXPECT_EQ(error([](GgufWriter& w) { w.Raw("a", 13, ""); }),
            "GGUF metadata a has value type 13, known are 0 to 12");
  EXPECT_EQ(error([](GgufWriter& w) {
              std::string huge;
              GgufWriter::Append<uint64_t>(&huge, uint64_t{1} << 60);
              w.Raw("a", 8, huge);
            }),
            "GGUF metadata a has 1152921504606846976 bytes, at most 16777216 are allowed");
  EXPECT_EQ(error([](GgufWriter& w) {
              std::string huge;
              GgufWriter::Append<uint32_t>(&huge, 4);
              GgufWriter::Append<uint64_t>(&huge, uint64_t{1} << 62);
              w.Raw("a", 9, huge);
            }),
            "the element count of GGUF metadata a is 4611686018427387904, at most 16777216 are "
            "allowed");
  EXPECT_EQ(error([](GgufWriter& w) {
              std::string nested;
              for (int depth = 0; depth < 10; ++depth) {
                GgufWriter::Append<uint32_t>(&nested, 9);
                GgufWriter::Append<uint64_t>(&nested, 1);
              }
              w.Raw("a", 9, nested);
            }),
            "GGUF metadata a nests arrays deeper than 4 levels");
  EXPECT_EQ(error([](GgufWriter& w) { w.Uint("general.alignment", 24); }),
            "GGUF metadata general.alignment is 24, allowed are powers of two up to 1048576");
}

TEST(GgufTest, RefusesTensors) {
  const auto error = [](const std::vector<uint64_t>& shape, uint32_t type, size_t byte_count) {
    GgufWriter writer;
    writer.Tensor("t", shape, type, std::string(byte_count, '\0'));
    return ParseError(writer.File());
  };
  EXPECT_EQ(error({2, 32}, 8, 68), "");
  EXPECT_EQ(error({2, 32}, 23, 68),
            "tensor t has the type IQ4_XS, supported are F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, "
            "Q5_1, Q4_K, Q5_K and Q6_K");
  EXPECT_TRUE(error({2, 32}, 99, 68).starts_with("tensor t has the type number 99, supported"));
  EXPECT_EQ(error({2, 33}, 8, 68),
            "tensor t has rows of 33 numbers, not a multiple of the 32 in a block of Q8_0");
  EXPECT_EQ(error({0, 32}, 8, 0), "tensor t has a dimension of 0");
  EXPECT_EQ(error({1, 1, 1, 1, 32}, 0, 128), "tensor t has 5 dimensions, allowed are 1 to 4");
  EXPECT_EQ(error({uint64_t{1} << 40, uint64_t{1} << 40}, 0, 4),
            "tensor t has dimensions whose product exceeds 64 bits");
  EXPECT_EQ(error({uint64_t{1} << 62}, 0, 4), "tensor t has a size that exceeds 64 bits");
  EXPECT_EQ(error({100}, 0, 64),
            "tensor t (400 bytes at offset 0) reaches beyond the end of the file, which holds 64 "
            "bytes of tensors");
  GgufWriter overlapping;
  overlapping.Tensor("a", {16}, 0, std::string(32, '\0'));
  overlapping.Tensor("b", {8}, 0, std::string(32, '\0'));
  EXPECT_EQ(ParseError(overlapping.File()), "tensors a and b overlap");
  GgufWriter twice;
  twice.Tensor("a", {8}, 0, std::string(32, '\0'));
  twice.Tensor("a", {8}, 0, std::string(32, '\0'));
  EXPECT_EQ(ParseError(twice.File()), "tensor a occurs twice");
}

TEST(GgufTest, NamesMissingAndSurplusTensorsTogether) {
  GgufWriter writer = testing::TinyGgufFields({});
  for (const testing::TinyTensor& tensor : testing::TinyTensors({})) {
    if (tensor.gguf_name.find("blk.1.") == 0) continue;
    std::vector<uint64_t> shape = tensor.shape;
    if (tensor.gguf_name == "blk.0.attn_k.weight") shape[0] = 8;
    size_t count = 1;
    for (const uint64_t dimension : shape) count *= dimension;
    writer.Tensor(tensor.gguf_name, shape, 0, std::string(count * 4, '\0'));
  }
  writer.Tensor("blk.0.ssm_in.weight", {32}, 0, std::string(128, '\0'));
  EXPECT_EQ(OpenError(writer.File()),
            "the file does not fit its own description, missing tensors: blk.1.attn_norm.weight, "
            "blk.1.attn_q.weight, blk.1.attn_k.weight, blk.1.attn_v.weight, "
            "blk.1.attn_output.weight, blk.1.ffn_norm.weight, blk.1.ffn_gate.weight, "
            "blk.1.ffn_up.weight and 1 more; surplus tensors: blk.0.ssm_in.weight; wrong tensors: "
            "blk.0.attn_k.weight has shape [8, 32] instead of [16, 32]");
}

TEST(GgufTest, NamesFieldAndLimit) {
  const auto error = [](testing::TinyShape shape) {
    return OpenError(testing::TinyGgufFields(shape).File());
  };
  EXPECT_EQ(error({.layers = 100000}),
            "llama.block_count is 100000, allowed are whole numbers from 1 to 1024");
  EXPECT_EQ(error({.heads = 3}),
            "the hidden size 32 over 3 heads gives no whole head dimension of at most 576");
  EXPECT_EQ(error({.heads = 4, .kv_heads = 3}),
            "the number of query heads, 4, is not a multiple of the number of key-value heads, 3");
  GgufWriter unknown;
  unknown.String("general.architecture", "mamba");
  EXPECT_EQ(OpenError(unknown.File()),
            "general.architecture is \"mamba\", supported are llama, qwen2, qwen3, gemma3");
  GgufWriter bare;
  bare.String("general.architecture", "qwen3");
  EXPECT_EQ(OpenError(bare.File()),
            "the field qwen3.block_count is missing from the GGUF metadata");
  GgufWriter text;
  text.String("general.architecture", "llama");
  text.String("llama.block_count", "many");
  EXPECT_EQ(OpenError(text.File()),
            "llama.block_count is the string \"many\", but must be a whole number");
}

}  // namespace
}  // namespace kvasir
