// The test text of the tokenizers: 1,900 segments, 1.3 MB, 25 scripts, a function of
// tests/oracle/tokenizer_words.json and of a segment's number. The same generator in Python is
// tests/oracle/tokenizer_text.py: every draw happens in the same order in both. For tests and
// benches only.

#ifndef KVASIR_TEXT_TOKENIZER_TEST_TEXT_H_
#define KVASIR_TEXT_TOKENIZER_TEST_TEXT_H_

#include <cstdint>
#include <fstream>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "kvasir/base/check.h"
#include "kvasir/base/json.h"
#include "kvasir/text/unicode.h"

namespace kvasir {

inline constexpr uint64_t kTestSegmentCount = 1900;

// The whole file; empty when it cannot be read.
inline std::string ReadTestFile(const std::string& path) {
  std::ostringstream out;
  out << std::ifstream(path, std::ios::binary).rdbuf();
  return std::move(out).str();
}

class TestText {
 public:
  // REQUIRES the repository at KVASIR_SOURCE_DIR.
  TestText() {
    const Result<Json> words =
        ParseJson(ReadTestFile(KVASIR_SOURCE_DIR "/tests/oracle/tokenizer_words.json"));
    KVASIR_CHECK(words.ok());
    words_ = *words;
    for (const auto& [name, list] : words_["scripts"].items()) scripts_.push_back(list);
  }

  std::string Segment(uint64_t number) {
    const std::vector<std::string> joiners = {"", " ", "  ", "\n"};
    state_ = number * 0x9E3779B97F4A7C15u + 1;
    std::string out;
    switch (Below(12)) {
      case 0:
      case 1:
        Prose({scripts_[Below(scripts_.size())]}, out);
        break;
      case 2:
        Prose(scripts_, out);
        break;
      case 3:
        for (uint64_t n = 10 + Below(50); n > 0; --n) {
          out += Pick(scripts_[Below(scripts_.size())]);
          out += Pick(words_["spaces"]);
        }
        break;
      case 4:
        Items("numbers", {" ", "", ", ", "\n", "a", "  "}, out);
        break;
      case 5:
        Items("emoji", {"", " ", "x", "\n"}, out);
        break;
      case 6:
        Items("marks", {"", "", " ", "b"}, out);
        break;
      case 7:
        Items("code", {"\n", "\n    ", "\n\t", " ", "\r\n"}, out);
        break;
      case 8:
        Items("contractions", {" ", "", "\n", " '"}, out);
        break;
      case 9:
        for (uint64_t n = 10 + Below(40); n > 0; --n) {
          out += Pick(scripts_[Below(scripts_.size())]);
          out += Pick(joiners);
          out += Pick(words_["specials"]);
          out += Pick(joiners);
        }
        break;
      case 10: {
        const Json& script = scripts_[Below(scripts_.size())];
        for (uint64_t n = 50 + Below(200); n > 0; --n) out += Pick(script);
        break;
      }
      default:
        for (uint64_t n = 50 + Below(300); n > 0; --n) RandomChar(out);
    }
    return out;
  }

 private:
  uint64_t Below(uint64_t n) {
    state_ = state_ * 6364136223846793005u + 1442695040888963407u;
    return (state_ >> 33) % n;
  }

  const std::string& Pick(const Json& items) {
    return items[Below(items.size())].get_ref<const std::string&>();
  }
  std::string Pick(const std::vector<std::string>& items) { return items[Below(items.size())]; }

  void Prose(const std::vector<Json>& scripts, std::string& out) {
    for (uint64_t n = 20 + Below(60); n > 0; --n) {
      out += Pick(scripts[Below(scripts.size())]);
      if (Below(6) == 0) out += Pick(words_["punctuation"]);
      out += " ";
    }
  }

  void Items(const char* name, const std::vector<std::string>& joiners, std::string& out) {
    for (uint64_t n = 20 + Below(60); n > 0; --n) {
      out += Pick(words_[name]);
      out += Pick(joiners);
    }
  }

  void RandomChar(std::string& out) {
    const Json& range = words_["ranges"][Below(words_["ranges"].size())];
    const uint64_t low = range[0].get<uint64_t>();
    const uint64_t high = range[1].get<uint64_t>();
    AppendUtf8(static_cast<char32_t>(low + Below(high - low + 1)), out);
  }

  Json words_;
  std::vector<Json> scripts_;
  uint64_t state_ = 0;
};

}  // namespace kvasir

#endif  // KVASIR_TEXT_TOKENIZER_TEST_TEXT_H_
