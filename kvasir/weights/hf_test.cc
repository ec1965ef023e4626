// Hugging Face directories: what is refused and how it is said, shards, special tokens, templates.

#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

#include "kvasir/base/json.h"
#include "kvasir/weights/checkpoint.h"
#include "kvasir/weights/families/family.h"
#include "kvasir/weights/hf_tokenizer_data.h"
#include "kvasir/weights/safetensors.h"
#include "kvasir/weights/testing/tiny_model.h"

namespace kvasir {
namespace {

using testing::TempDir;
using testing::WriteFile;

std::string SafetensorsError(const std::string& header, size_t data_bytes) {
  std::string file;
  testing::GgufWriter::Append<uint64_t>(&file, header.size());
  file += header + std::string(data_bytes, '\0');
  const auto result = ParseSafetensors(std::as_bytes(std::span(file)));
  return result.ok() ? "" : result.status().message();
}

TEST(SafetensorsTest, ChecksEveryField) {
  const auto one = [](const std::string& fields) { return "{\"t\":{" + fields + "}}"; };
  EXPECT_EQ(SafetensorsError(one("\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[0,24]"), 24),
            "");
  EXPECT_EQ(SafetensorsError(one("\"dtype\":\"F32\",\"shape\":[2,4],\"data_offsets\":[0,24]"), 24),
            "tensor t has a shape and type that do not fit its 24 bytes");
  EXPECT_EQ(
      SafetensorsError(
          one("\"dtype\":\"F32\",\"shape\":[4294967296,4294967296],\"data_offsets\":[0,0]"), 0),
      "tensor t has a shape and type that do not fit its 0 bytes");
  EXPECT_EQ(SafetensorsError(one("\"dtype\":\"F32\",\"shape\":[6],\"data_offsets\":[0,24]"), 20),
            "tensor t has data_offsets 0 to 24, but the file holds 20 bytes of tensors");
  EXPECT_EQ(SafetensorsError(one("\"dtype\":\"F4\",\"shape\":[6],\"data_offsets\":[0,24]"), 24),
            "tensor t has the type F4, supported are F32, F16 and BF16");
  EXPECT_EQ(SafetensorsError(one("\"dtype\":\"F32\",\"shape\":[-6],\"data_offsets\":[0,24]"), 24),
            "tensor t has a shape that is not a list of at most 8 whole numbers");
  EXPECT_EQ(SafetensorsError(one("\"dtype\":\"F32\""), 0),
            "tensor t lacks one of dtype, shape and data_offsets");
  const std::string u8 = "{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":";
  EXPECT_EQ(SafetensorsError("{\"a\":" + u8 + "[0,4]},\"b\":" + u8 + "[2,6]}}", 6),
            "tensor b overlaps the one before it");
  EXPECT_EQ(SafetensorsError("{\"a\":" + u8 + "[0,4]},\"b\":" + u8 + "[6,10]}}", 10),
            "tensor b leaves a gap before it");
  EXPECT_EQ(SafetensorsError("{\"a\":" + u8 + "[0,4]}}", 5),
            "the file has bytes behind its last tensor");
  const std::string huge(8, '\x7f');
  EXPECT_EQ(ParseSafetensors(std::as_bytes(std::span(huge))).status().message(),
            "the safetensors header has 9187201950435737471 bytes, at most 67108864 are allowed");
}

TEST(SafetensorsTest, ShardNamesStayInTheDirectory) {
  const auto read = [](const std::string& name) {
    return ReadShardNames("{\"weight_map\": {\"a\": \"" + name + "\"}}");
  };
  EXPECT_EQ(read("model-1.safetensors").value(), std::vector<std::string>{"model-1.safetensors"});
  for (const char* bad : {"../x.safetensors", "/etc/x.safetensors", "..", "model.bin", ""}) {
    EXPECT_FALSE(read(bad).ok()) << bad;
  }
  EXPECT_EQ(read("../x.safetensors").status().message(),
            "weight_map names the file \"../x.safetensors\", allowed are plain file names that "
            "end in .safetensors");
}

// The message of the family that `config` names.
std::string ConfigError(const std::function<void(Json&)>& change) {
  Json json = ParseJson(testing::TinyHfConfig()).value();
  change(json);
  const HfConfig config = HfConfig::Parse(DumpJson(json)).value();
  const auto family = FamilyByHfModelType(config.model_type());
  if (!family.ok()) return family.status().message();
  ModelSpec spec;
  return (*family)->read_hf(config, &spec).message();
}

TEST(HfConfigTest, NamesFieldAndLimit) {
  EXPECT_EQ(ConfigError([](Json&) {}), "");
  EXPECT_EQ(ConfigError([](Json& j) { j["model_type"] = "bert"; }),
            "model_type in config.json is \"bert\", supported are llama, mistral, qwen2, qwen3, "
            "gemma3_text, gemma3");
  EXPECT_EQ(ConfigError([](Json& j) { j.erase("hidden_size"); }),
            "the field hidden_size is missing from config.json");
  EXPECT_EQ(ConfigError([](Json& j) { j["vocab_size"] = uint64_t{1} << 60; }),
            "vocab_size is 1152921504606846976, allowed are whole numbers from 1 to 4194304");
  EXPECT_EQ(ConfigError([](Json& j) { j["head_dim"] = 577; }),
            "head_dim is 577, allowed are whole numbers from 1 to 576");
  EXPECT_EQ(ConfigError([](Json& j) { j["head_dim"] = 15; }),
            "the rotary dimension is 15, allowed are even numbers up to the head dimension 15");
  EXPECT_EQ(ConfigError([](Json& j) { j["num_hidden_layers"] = 1.5; }),
            "num_hidden_layers is 1.5, allowed are whole numbers from 1 to 1024");
  EXPECT_EQ(ConfigError([](Json& j) { j["rms_norm_eps"] = -1; }),
            "rms_norm_eps is -1, allowed are 1e-12 to 0.1");
  EXPECT_EQ(ConfigError([](Json& j) { j["rope_scaling"]["rope_type"] = "yarn"; }),
            "rope_scaling: rope_type is \"yarn\", supported are default, linear and llama3");
  EXPECT_EQ(ConfigError([](Json& j) { j["rope_scaling"].erase("factor"); }),
            "rope_scaling: the field factor is missing from rope_scaling");
  EXPECT_EQ(ConfigError([](Json& j) { j["hidden_act"] = "relu"; }),
            "hidden_act is \"relu\", supported is silu");
  EXPECT_EQ(ConfigError([](Json& j) {
              j["quantization_config"] = Json::object({{"bits", 4}});
            }),
            "quantization_config is present, but only unquantised weights in F32, F16 and BF16 "
            "are supported");
}

TEST(HfConfigTest, OldAndNewRopeFieldsMeanTheSame) {
  const auto spec_of = [](const std::string& text) {
    const HfConfig config = HfConfig::Parse(text).value();
    ModelSpec spec;
    EXPECT_TRUE(Gemma3Family().read_hf(config, &spec).ok());
    return spec;
  };
  const std::string sizes =
      "\"hidden_size\": 64, \"intermediate_size\": 64, \"num_hidden_layers\": 7, "
      "\"sliding_window\": 8";
  const ModelSpec old_style = spec_of(
      "{\"model_type\": \"gemma3\", \"text_config\": {" + sizes +
      ", \"rope_theta\": 500000, \"rope_local_base_freq\": 20000, \"sliding_window_pattern\": 3, "
      "\"rope_scaling\": {\"type\": \"linear\", \"factor\": 8}}}");
  const ModelSpec new_style = spec_of(
      "{" + sizes +
      ", \"layer_types\": [\"sliding_attention\", \"sliding_attention\", \"full_attention\", "
      "\"sliding_attention\", \"sliding_attention\", \"full_attention\", \"sliding_attention\"], "
      "\"rope_parameters\": {\"full_attention\": {\"rope_type\": \"linear\", \"factor\": 8, "
      "\"rope_theta\": 500000}, \"sliding_attention\": {\"rope_type\": \"default\", "
      "\"rope_theta\": 20000}}}");
  EXPECT_EQ(old_style.rope.inverse_frequency, new_style.rope.inverse_frequency);
  EXPECT_EQ(old_style.sliding_rope.inverse_frequency, new_style.sliding_rope.inverse_frequency);
  EXPECT_NE(old_style.rope.inverse_frequency, old_style.sliding_rope.inverse_frequency);
  EXPECT_EQ(old_style.layer_is_sliding, new_style.layer_is_sliding);
  EXPECT_EQ(old_style.head_dim, 256u);
}

TEST(HfTokenizerDataTest, FindsMembersWithoutParsing) {
  const std::string text =
      "{ \"a\" : {\"b\": [1, \"}\\\"\"]}, \"key\\\"s\": 1, \"b\" : [ 2, {\"c\": 3} ] , \"d\":null}";
  EXPECT_EQ(FindJsonMember(text, "a"), "{\"b\": [1, \"}\\\"\"]}");
  EXPECT_EQ(FindJsonMember(text, "b"), "[ 2, {\"c\": 3} ]");
  EXPECT_EQ(FindJsonMember(text, "d"), "null");
  EXPECT_EQ(FindJsonMember(text, "c"), "");
  EXPECT_EQ(FindJsonMember("{\"a\": [1", "a"), "");
  EXPECT_EQ(FindJsonMember("", "a"), "");
}

TEST(HfTokenizerDataTest, ReadsSpecialTokensAndTemplates) {
  const TempDir directory;
  WriteFile(directory / "tokenizer.json",
            "{\"added_tokens\": [{\"id\": 5, \"content\": \"<s>\", \"special\": true},"
            "{\"id\": 6, \"content\": \"<|im_end|>\", \"special\": true},"
            "{\"id\": 7, \"content\": \"<|eot_id|>\", \"special\": false},"
            "{\"id\": 99, \"content\": \"<image>\", \"special\": true}],"
            "\"post_processor\": {\"type\": \"Sequence\", \"processors\": [{\"type\": "
            "\"TemplateProcessing\", \"single\": [{\"SpecialToken\": {\"id\": \"<s>\"}}, "
            "{\"Sequence\": {\"id\": \"A\"}}]}]}, \"model\": {\"vocab\": {}}}");
  WriteFile(directory / "tokenizer_config.json",
            "{\"bos_token\": \"<s>\", \"eos_token\": {\"content\": \"<|im_end|>\"}, "
            "\"chat_template\": [{\"name\": \"default\", \"template\": \"main\"}, "
            "{\"name\": \"tool_use\", \"template\": \"tools\"}]}");
  WriteFile(directory / "generation_config.json", "{\"eos_token_id\": [9, 6, 4000000000]}");
  const HfConfig config = HfConfig::Parse("{\"eos_token_id\": 3}").value();
  const TokenizerData data = ReadHfTokenizerData(directory.path(), config, 32).value();
  EXPECT_EQ(data.bos, 5);
  EXPECT_EQ(data.eos, 6);
  EXPECT_EQ(data.pad, kNoToken);
  EXPECT_EQ(data.end_of_generation, (std::vector<TokenId>{6, 9, 3}));
  EXPECT_TRUE(data.add_bos);
  EXPECT_FALSE(data.add_eos);
  EXPECT_EQ(data.chat_template, "main");
  EXPECT_EQ(data.named_chat_templates.at("tool_use"), "tools");
  WriteFile(directory / "chat_template.jinja", "from a file");
  EXPECT_EQ(ReadHfTokenizerData(directory.path(), config, 32)->chat_template, "from a file");
}

TEST(HfDirectoryTest, OpensWhatTheWriterWrote) {
  const TempDir directory;
  WriteFile(directory / "config.json", testing::TinyHfConfig());
  EXPECT_EQ(OpenCheckpoint(directory.path()).status().message(),
            directory.path() +
                ": the directory has neither model.safetensors nor "
                "model.safetensors.index.json");
  WriteFile(directory / "model.safetensors", testing::TinySafetensors());
  const auto checkpoint = OpenCheckpoint(directory.path());
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status().message();
  EXPECT_EQ((*checkpoint)->tensors().size(), 20u);
  EXPECT_EQ((*checkpoint)->spec().rope.description, "theta 10000, linear x2");
  const TempDir empty;
  EXPECT_FALSE(OpenCheckpoint(empty.path()).ok());
}

}  // namespace
}  // namespace kvasir
