#include "kvasir/base/hash.h"

#include <gtest/gtest.h>

namespace kvasir {
namespace {

// The examples of FIPS 180-4 and of NIST's test vectors.
TEST(Sha256, HashesThePublishedExamples) {
  Sha256 hash;
  EXPECT_EQ(ToHex(hash.Finish()),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  hash.Update("abc");
  EXPECT_EQ(ToHex(hash.Finish()),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  for (int i = 0; i < 1000; ++i) hash.Update(std::string(1000, 'a'));
  EXPECT_EQ(ToHex(hash.Finish()),
            "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST(Sha256, PiecesDoNotMatterAndAFinishStartsAfresh) {
  Sha256 whole, pieces;
  whole.Update("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq");
  const Digest expected = whole.Finish();
  EXPECT_EQ(ToHex(expected), "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  pieces.Update("something else");
  (void)pieces.Finish();
  for (const char c :
       std::string_view("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq")) {
    pieces.Update({&c, 1});
  }
  EXPECT_EQ(pieces.Finish(), expected);
}

}  // namespace
}  // namespace kvasir
