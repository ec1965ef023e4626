#include "kvasir/loadgen/sse_reader.h"

#include <gtest/gtest.h>

#include <vector>

namespace kvasir {
namespace {

using Events = std::vector<std::string>;

// The events of `pieces`, fed one after the other.
Events Read(const std::vector<std::string_view>& pieces, size_t* comments = nullptr) {
  SseReader reader;
  Events events;
  for (const std::string_view piece : pieces) {
    const Status status =
        reader.Feed(piece, [&](std::string_view data) { events.emplace_back(data); });
    EXPECT_TRUE(status.ok()) << status.message();
  }
  if (comments != nullptr) *comments = reader.comment_count();
  return events;
}

// The examples of the HTML standard's section on parsing an event stream.
TEST(SseReaderTest, ExamplesOfTheStandard) {
  EXPECT_EQ(Read({"data: YHOO\ndata: +2\ndata: 10\n\n"}), Events{"YHOO\n+2\n10"});
  size_t comments = 0;
  EXPECT_EQ(Read({": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\n"
                  "data:  third event\n\n"},
                 &comments),
            (Events{"first event", "second event", " third event"}));
  EXPECT_EQ(comments, 1u);
  // An empty datum is an event, two of them hold a newline, and an event without its end is none.
  EXPECT_EQ(Read({"data\n\ndata\ndata\n\ndata:"}), (Events{"", "\n"}));
  EXPECT_EQ(Read({"data:test\n\ndata: test\n\n"}), (Events{"test", "test"}));
}

TEST(SseReaderTest, AllLineEndsAndAByteOrderMark) {
  const Events expected = {"a", "b"};
  EXPECT_EQ(Read({"data: a\r\n\r\ndata: b\r\n\r\n"}), expected);
  EXPECT_EQ(Read({"data: a\r\rdata: b\r\r"}), expected);
  EXPECT_EQ(Read({"\xEF\xBB\xBF"
                  "data: a\n\ndata: b\n\n"}),
            expected);
  EXPECT_EQ(Read({"event: x\nretry: 5\ndata: a\n\ndataset: no\n\ndata: b\n\n"}), expected);
}

TEST(SseReaderTest, CutAtEveryByte) {
  const std::string text =
      ": ping\r\n\r\ndata: {\"a\": \"\u00e9\"}\r\n\r\ndata: one\ndata: two\n\n: x\n\ndata: "
      "[DONE]\n\n";
  const Events whole = Read({text});
  EXPECT_EQ(whole, (Events{"{\"a\": \"\u00e9\"}", "one\ntwo", "[DONE]"}));
  for (size_t first = 0; first <= text.size(); ++first) {
    for (size_t second = first; second <= text.size(); ++second) {
      const std::string_view view = text;
      EXPECT_EQ(
          Read({view.substr(0, first), view.substr(first, second - first), view.substr(second)}),
          whole);
    }
  }
}

TEST(SseReaderTest, AnEndlessEventIsRefused) {
  SseReader reader;
  const std::string piece(1 << 20, 'x');
  Status status = reader.Feed("data: ", [](std::string_view) {});
  for (size_t i = 0; i < 17 && status.ok(); ++i) {
    status = reader.Feed(piece, [](std::string_view) {});
  }
  EXPECT_EQ(status.code(), StatusCode::kDataLoss);
}

}  // namespace
}  // namespace kvasir
