#include "kvasir/base/xml.h"

#include <gtest/gtest.h>

namespace kvasir {
namespace {

TEST(EscapeXml, LeavesNothingThatXmlWouldRead) {
  EXPECT_EQ(EscapeXml("a <b> & \"c\""), "a &lt;b&gt; &amp; \"c\"");
  EXPECT_EQ(EscapeXml("x\ny\x7F\xFF"), "x?y??");
  EXPECT_EQ(EscapeXml(""), "");
}

}  // namespace
}  // namespace kvasir
