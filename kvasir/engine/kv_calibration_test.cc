#include "kvasir/engine/kv_calibration.h"

#include <gtest/gtest.h>

#include <random>
#include <string>

#include "kvasir/formats/kv_codec.h"

namespace kvasir {
namespace {

KvCalibration Example() {
  KvCalibration calibration;
  calibration.model_name = "tiny \"model\"";
  calibration.model_digest = std::string(60, 'a') + "0123";
  calibration.kv_head_count = 3;
  calibration.head_dim = 64;
  calibration.codec_version = kKvCodecVersion;
  calibration.rotation = kKvRotationName;
  calibration.budget_bits = 5;
  calibration.measured = {
      4.9, 0.02, 0.018, 0.3, 0.97, 11.5, 11.25, "book.txt", std::string(64, 'f'), 512, 4, 1024};
  calibration.layers = {{KvFormat::kInt8, KvFormat::kInt4}, KvFormat::kInt4, KvFormat::kBF16};
  return calibration;
}

std::string ExampleText() { return WriteKvCalibration(Example(), {{"tensors", Json::array()}}); }

// The message of a text that must be refused.
std::string Refusal(const std::string& text) {
  const auto parsed = ParseKvCalibration(text);
  EXPECT_FALSE(parsed.ok()) << text;
  return parsed.ok() ? "" : parsed.status().message();
}

// The example with one piece of its text replaced.
std::string With(const std::string& from, const std::string& to) {
  std::string text = ExampleText();
  const size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return text.replace(at, from.size(), to);
}

TEST(KvCalibrationTest, ReadsWhatItWrites) {
  const auto parsed = ParseKvCalibration(ExampleText());
  ASSERT_TRUE(parsed.ok()) << parsed.status().message();
  EXPECT_EQ(*parsed, Example());
}

TEST(KvCalibrationTest, BecomesTheLayoutOfItsOwnModelAlone) {
  const KvCalibration calibration = Example();
  const KvBlockLayout model = {3, 3, 64, KvFormat::kBF16};
  const auto layout = ApplyKvCalibration(calibration, calibration.model_digest, model);
  ASSERT_TRUE(layout.ok());
  EXPECT_EQ(layout->formats(0), KvFormats(KvFormat::kInt8, KvFormat::kInt4));
  EXPECT_EQ(layout->formats(2), KvFormats(KvFormat::kBF16));
  EXPECT_EQ(ApplyKvCalibration(calibration, std::string(64, 'b'), model).status().message(),
            "the KV calibration is of another model (digest aaaaaaaaaaaaaaaa, this one is "
            "bbbbbbbbbbbbbbbb)");
  const KvBlockLayout deeper = {4, 3, 64, KvFormat::kBF16};
  EXPECT_EQ(ApplyKvCalibration(calibration, calibration.model_digest, deeper).status().message(),
            "the KV calibration has the shape of another model: 3 layers, this one has 4");
}

TEST(KvCalibrationTest, RefusesWithTheReason) {
  EXPECT_EQ(Refusal("{}"), "this is no KV calibration: there is no kvasir_kv_calibration");
  EXPECT_EQ(Refusal("[1]"), "this is no KV calibration: there is no kvasir_kv_calibration");
  EXPECT_NE(Refusal("").find("malformed JSON"), std::string::npos);
  EXPECT_EQ(Refusal(With("\"kvasir_kv_calibration\": 1", "\"kvasir_kv_calibration\": 2")),
            "the calibration is of another version, this program reads 1");
  EXPECT_EQ(Refusal(With("\"codec_version\": 1", "\"codec_version\": 7")),
            "the calibration is for version 7 of the KV codec, this program has 1");
  EXPECT_EQ(Refusal(With("\"hadamard\"", "\"other\"")),
            "the calibration is for another rotation than hadamard");
  EXPECT_EQ(Refusal(With("\"head_dim\": 64", "\"head_dim\": 64.5")),
            "model: head_dim is no whole number");
  EXPECT_EQ(Refusal(With("aaaa0123", "aaaa012G")),
            "model: digest is no SHA-256 in 64 hexadecimal digits");
  EXPECT_EQ(Refusal(With("\"int4\"", "\"int5\"")),
            "layer 0 of the map has a format that this version does not know");
  EXPECT_EQ(Refusal(With("\"int4\"", "\"f32\"")),
            "layer 0 of the map has f32 beside another format");
  EXPECT_EQ(Refusal(With("\"rotation\"", "\"rotatoin\"")),
            "the calibration has a member that this version does not know");
  EXPECT_EQ(Refusal(With("\"top1\": 0.97", "\"top1\": 97")),
            "measured: top1 is no number in its range");
  EXPECT_EQ(Refusal(With("\"budget_bits\": 5.0,", "")), "the calibration has no budget_bits");
}

TEST(KvCalibrationTest, EveryTruncationIsRefused) {
  const std::string text = ExampleText();
  // The last two bytes are the closing bracket and the newline.
  for (size_t size = 0; size + 2 <= text.size(); size += 3) Refusal(text.substr(0, size));
}

TEST(KvCalibrationTest, MutationsAreReadOrRefusedInOneSentence) {
  const std::string original = ExampleText();
  std::mt19937 random(11);
  size_t refused = 0;
  for (int round = 0; round < 20000; ++round) {
    std::string text = original;
    const size_t count = 1 + random() % 4;
    for (size_t i = 0; i < count; ++i) {
      const size_t at = random() % text.size();
      switch (random() % 4) {
        case 0:
          text[at] = char(random() % 256);
          break;
        case 1:
          text.erase(at, 1 + random() % 20);
          break;
        case 2:
          text.insert(at, 1, "{}[]\",:0-e9"[random() % 11]);
          break;
        default:
          text.insert(at, text.substr(random() % text.size(), random() % 30));
      }
      if (text.empty()) text = " ";
    }
    const auto parsed = ParseKvCalibration(text);
    if (parsed.ok()) {
      EXPECT_LE(parsed->layers.size(), kKvCalibrationLayersMax);
      EXPECT_FALSE(parsed->layers.empty());
      continue;
    }
    ++refused;
    EXPECT_FALSE(parsed.status().message().empty());
    EXPECT_EQ(parsed.status().message().find('\n'), std::string::npos);
  }
  EXPECT_GT(refused, 10000u);
}

}  // namespace
}  // namespace kvasir
