#include "kvasir/loadgen/reply_reader.h"

#include <gtest/gtest.h>

#include <string>

namespace kvasir {
namespace {

constexpr std::string_view kReply =
    ": ping\n\n"
    "data: {\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n"
    "data: {\"choices\":[{\"delta\":{\"content\":\"Hel\"}}]}\n\n"
    "data: {\"choices\":[{\"delta\":{\"content\":\"lo \xC3\xA9\"}}]}\n\n"
    "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"length\"}]}\n\n"
    "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":2,"
    "\"prompt_tokens_details\":{\"cached_tokens\":5}}}\n\n"
    "data: [DONE]\n\n";

RequestRecord Finish(ReplyReader* reader, std::string_view kind = "",
                     std::string_view detail = "") {
  RequestRecord record;
  reader->Finish(kind, detail, 99, &record);
  return record;
}

// What becomes of a reply with this head and body, whose connection then fails or not.
RequestRecord Judge(int status, std::string_view type, std::string_view body,
                    std::string_view failure = "") {
  ReplyReader reader;
  reader.OnHead(status, type, "7");
  reader.OnBody(body, 1);
  return Finish(&reader, failure, failure);
}

TEST(ReplyReaderTest, NotesWhenTextCame) {
  ReplyReader reader;
  reader.OnHead(200, "text/event-stream; charset=utf-8", "");
  const size_t role = kReply.find("Hel"), second = kReply.find("lo ");
  EXPECT_TRUE(reader.OnBody(kReply.substr(0, role), 10));
  EXPECT_EQ(reader.chunk_count(), 0u);
  EXPECT_TRUE(reader.OnBody(kReply.substr(role, second - role), 20));
  EXPECT_EQ(reader.chunk_count(), 1u);
  EXPECT_TRUE(reader.OnBody(kReply.substr(second), 35));
  EXPECT_EQ(reader.answer(), "Hello \xC3\xA9");
  const RequestRecord record = Finish(&reader);
  EXPECT_TRUE(record.ok()) << record.error_kind;
  EXPECT_EQ(record.chunk_ms, (std::vector<double>{20, 35}));
  EXPECT_EQ(record.end_ms, 35);  // of [DONE], not of the connection
  EXPECT_EQ(record.prompt_tokens, 9u);
  EXPECT_EQ(record.output_tokens(), 2u);
  EXPECT_EQ(record.cached_tokens, 5u);
}

TEST(ReplyReaderTest, CutAtEveryByteItIsTheSame) {
  for (size_t cut = 0; cut <= kReply.size(); ++cut) {
    ReplyReader reader;
    reader.OnHead(200, "text/event-stream", "");
    reader.OnBody(kReply.substr(0, cut), 1);
    reader.OnBody(kReply.substr(cut), 2);
    EXPECT_EQ(reader.answer(), "Hello \xC3\xA9");
    const RequestRecord record = Finish(&reader);
    EXPECT_TRUE(record.ok()) << cut;
    EXPECT_EQ(record.chunk_ms.size(), 2u);
    EXPECT_EQ(record.cached_tokens, 5u);
  }
}

TEST(ReplyReaderTest, MissingUsageLeavesThePiecesToCount) {
  const size_t usage = kReply.find("data: {\"choices\":[],");
  const std::string without =
      std::string(kReply.substr(0, usage)) + std::string(kReply.substr(kReply.find("data: [D")));
  const RequestRecord record = Judge(200, "text/event-stream", without);
  EXPECT_TRUE(record.ok());
  EXPECT_FALSE(record.prompt_tokens.has_value());
  EXPECT_EQ(record.output_tokens(), 2u);
}

TEST(ReplyReaderTest, KindsOfErrors) {
  const RequestRecord busy = Judge(503, "application/json", R"({"error":{"message":"full"}})");
  EXPECT_EQ(busy.error_kind, "http_503");
  EXPECT_EQ(busy.error_detail, "full (Retry-After: 7)");
  EXPECT_EQ(Judge(200, "application/json", R"({"choices":[]})").error_kind, "not_a_stream");
  EXPECT_EQ(Judge(200, "text/html", "<html>").error_kind, "not_a_stream");
  EXPECT_EQ(Judge(200, "text/event-stream", "data: {\n\n").error_kind, "bad_event");
  const RequestRecord error =
      Judge(200, "text/event-stream", "data: {\"error\":{\"message\":\"oh\"}}\n\ndata: [DONE]\n\n");
  EXPECT_EQ(error.error_kind, "error_event");
  EXPECT_EQ(error.error_detail, "oh");
}

TEST(ReplyReaderTest, AStreamMustSayThatItEnds) {
  const std::string_view first =
      kReply.substr(0, kReply.find("data: {\"choices\":[{\"delta\":{},"));
  EXPECT_EQ(Judge(200, "text/event-stream", first).error_kind, "cut_off");
  EXPECT_EQ(Judge(200, "text/event-stream", first, "disconnected").error_kind, "disconnected");
  // A finish_reason or [DONE] will do.
  EXPECT_TRUE(
      Judge(200, "text/event-stream", kReply.substr(0, kReply.find("data: {\"choices\":[],")))
          .ok());
  EXPECT_TRUE(Judge(200, "text/event-stream", kReply, "disconnected").ok());
  EXPECT_EQ(Judge(0, "", "", "connect").error_kind, "connect");
}

TEST(ReplyReaderTest, AnEndlessErrorPageIsLeft) {
  ReplyReader reader;
  reader.OnHead(500, "text/html", "");
  EXPECT_TRUE(reader.OnBody(std::string(1000, 'x'), 1));
  EXPECT_FALSE(reader.OnBody(std::string(1 << 20, 'x'), 1));
  EXPECT_EQ(Finish(&reader).error_kind, "http_500");
}

}  // namespace
}  // namespace kvasir
