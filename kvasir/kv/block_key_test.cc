#include "kvasir/kv/block_key.h"

#include <numeric>
#include <set>
#include <vector>

#include <gtest/gtest.h>

namespace kvasir {
namespace {

// The expected digests come from tests/oracle/block_keys.py, which follows the drawing in
// block_key.h with Python's hashlib.
constexpr const char* kFingerprint =
    "f0497ac7bd4ede7a1f78f5531b4c317a703619e0a7943566bc75298710ae29a5";
constexpr const char* kRoot = "87507cc1638c6d01d9f8be42039148f2ae3b6109f881e9bfc4766dedaa56f9d1";
constexpr const char* kFirst = "1570c75d4f94db182e8b538081f0fdbb333c17ec556c65c6a10955ac144fe9e1";
constexpr const char* kSecond = "b8acff9c9b504902301e62d3fc787729a25c60ed6a551eeb22d2b4cc5e5a0274";

Digest TestFingerprint() {
  const float rope[] = {1.0f, 0.5f, 0.25f};
  return FingerprintBuilder()
      .Text("family", "llama")
      .Number("layers", 30)
      .Float("eps", 1e-5f)
      .Floats("rope", rope)
      .Finish();
}

TEST(BlockKey, IsWhatTheDrawingSays) {
  EXPECT_EQ(ToHex(TestFingerprint()), kFingerprint);
  const BlockKey root = RootKey(TestFingerprint(), "tenant 7");
  EXPECT_EQ(ToHex(root), kRoot);
  std::vector<TokenId> tokens(kKvBlockTokens);
  std::iota(tokens.begin(), tokens.end(), 0);
  const BlockKey first = NextKey(root, tokens);
  EXPECT_EQ(ToHex(first), kFirst);
  std::iota(tokens.rbegin(), tokens.rend(), 49151 - 31);
  EXPECT_EQ(ToHex(NextKey(first, tokens)), kSecond);
}

// Fields that run into each other when written one behind the other still differ.
TEST(BlockKey, FieldsAreToldApart) {
  const float one[] = {1.0f};
  const float two[] = {1.0f, 0.0f};
  std::set<Digest> fingerprints = {
      FingerprintBuilder().Finish(),
      FingerprintBuilder().Text("a", "bc").Finish(),
      FingerprintBuilder().Text("ab", "c").Finish(),
      FingerprintBuilder().Text("a", "b").Text("c", "").Finish(),
      FingerprintBuilder().Text("a", "").Text("b", "c").Finish(),
      FingerprintBuilder().Number("a", 0).Finish(),
      FingerprintBuilder().Number("a", 1).Finish(),
      FingerprintBuilder().Float("a", 1.0f).Finish(),
      FingerprintBuilder().Floats("a", two).Finish(),
      FingerprintBuilder().Floats("a", {}).Finish(),
  };
  EXPECT_EQ(fingerprints.size(), 10);
  EXPECT_TRUE(fingerprints.count(FingerprintBuilder().Floats("a", one).Finish())) << "one float";
}

TEST(BlockKey, SaltsSeparateEverything) {
  const Digest fingerprint = TestFingerprint();
  const std::vector<TokenId> tokens(kKvBlockTokens, 5);
  std::set<BlockKey> keys;
  for (const std::string_view salt : {std::string_view(""), std::string_view("a"),
                                      std::string_view("b"), std::string_view("a\0", 2)}) {
    keys.insert(RootKey(fingerprint, salt));
    keys.insert(NextKey(RootKey(fingerprint, salt), tokens));
  }
  keys.insert(RootKey(FingerprintBuilder().Finish(), "a"));
  EXPECT_EQ(keys.size(), 9);
}

TEST(BlockKeyDeathTest, ABlockHasAllItsTokens) {
  const std::vector<TokenId> tokens(kKvBlockTokens - 1, 5);
  EXPECT_DEATH(NextKey(BlockKey(), tokens), "check failed");
}

}  // namespace
}  // namespace kvasir
