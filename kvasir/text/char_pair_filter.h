// CharPairFilter: which characters stand beside each other in some token. Where the characters of a
// text do not, no merge can reach across, so that the text may be cut there and its parts merged
// alone: a text without a pre-tokenizer falls into words. Answers "maybe" too often, never too
// rarely. Immutable after the Adds; any thread may ask.

#ifndef KVASIR_TEXT_CHAR_PAIR_FILTER_H_
#define KVASIR_TEXT_CHAR_PAIR_FILTER_H_

#include <cstdint>
#include <string_view>
#include <vector>

#include "kvasir/text/unicode.h"

namespace kvasir {

class CharPairFilter {
 public:
  CharPairFilter() : bits_((size_t{1} << kBitCountLog2) / 64) {}

  // Notes the neighbours inside `token`.
  void Add(std::string_view token) {
    char32_t previous = 0;
    for (size_t i = 0; i < token.size();) {
      const Utf8Char c = DecodeUtf8(token.substr(i));
      if (i > 0) {
        const uint64_t bit = Bit(previous, c.code_point);
        bits_[bit / 64] |= uint64_t{1} << bit % 64;
      }
      previous = c.code_point;
      i += c.byte_count;
    }
  }

  bool MayJoin(char32_t left, char32_t right) const {
    const uint64_t bit = Bit(left, right);
    return bits_[bit / 64] >> bit % 64 & 1;
  }

 private:
  // 128 KiB: stays in the second-level cache, and Gemma's 33,756 pairs fill 3 % of it.
  static constexpr int kBitCountLog2 = 20;

  static uint64_t Bit(char32_t left, char32_t right) {
    const uint64_t pair = uint64_t{left} << 21 | right;  // a code point has 21 bits
    return pair * 0x9E3779B97F4A7C15u >> (64 - kBitCountLog2);
  }

  std::vector<uint64_t> bits_;
};

}  // namespace kvasir

#endif  // KVASIR_TEXT_CHAR_PAIR_FILTER_H_
