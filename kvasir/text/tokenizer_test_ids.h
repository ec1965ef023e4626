// Compares a tokenizer's ids of the whole test text with the hashes that
// tests/oracle/tokenizer_make_fixtures.py has written. For tests only.

#ifndef KVASIR_TEXT_TOKENIZER_TEST_IDS_H_
#define KVASIR_TEXT_TOKENIZER_TEST_IDS_H_

#include <gtest/gtest.h>

#include <cstdint>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "kvasir/text/detokenizer.h"
#include "kvasir/text/tokenizer.h"
#include "kvasir/text/tokenizer_test_text.h"

namespace kvasir {

inline const std::string kTokenizerFixtures = KVASIR_SOURCE_DIR "/tests/oracle/tokenizer_fixtures/";

inline uint64_t HashIds(const std::vector<TokenId>& ids) {
  uint64_t hash = 0xCBF29CE484222325u;
  for (const TokenId id : ids) {
    for (int shift = 0; shift < 32; shift += 8) {
      hash = (hash ^ (static_cast<uint32_t>(id) >> shift & 0xFF)) * 0x100000001B3u;
    }
  }
  return hash;
}

inline std::string JoinIds(const std::vector<TokenId>& ids) {
  std::ostringstream out;
  for (const TokenId id : ids) out << id << ' ';
  return out.str();
}

// The ids of every segment, and that decoding by pieces equals decoding at once.
inline void ExpectHashes(const Tokenizer& tokenizer, const std::string& name,
                         const EncodeOptions& options) {
  std::ifstream hashes(kTokenizerFixtures + name + ".hashes.txt");
  ASSERT_TRUE(hashes.good()) << name;
  TestText text;
  size_t byte_count = 0;
  int wrong = 0;
  for (uint64_t i = 0; i < kTestSegmentCount && wrong < 3; ++i) {
    const std::string segment = text.Segment(i);
    byte_count += segment.size();
    uint64_t expected = 0;
    size_t expected_count = 0;
    hashes >> std::hex >> expected >> std::dec >> expected_count;
    const std::vector<TokenId> ids = tokenizer.Encode(segment, options);
    if (HashIds(ids) != expected) {
      ++wrong;
      ADD_FAILURE() << name << " segment " << i << ": " << ids.size() << " ids, not "
                    << expected_count << "\n"
                    << segment << "\n"
                    << JoinIds(ids);
    }
    Detokenizer detokenizer(tokenizer, {});
    std::string streamed;
    for (const TokenId id : ids) streamed += detokenizer.Push(id);
    streamed += detokenizer.Finish();
    ASSERT_EQ(streamed, tokenizer.Decode(ids)) << name << " segment " << i;
  }
  EXPECT_TRUE(wrong > 0 || byte_count >= 1'000'000);
}

}  // namespace kvasir

#endif  // KVASIR_TEXT_TOKENIZER_TEST_IDS_H_
