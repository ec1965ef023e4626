#include "kvasir/loadgen/reply_reader.h"

#include <utility>

namespace kvasir {

namespace {

constexpr size_t kErrorBodyBytesMax = 64 << 10;

}  // namespace

void ReplyReader::OnHead(int status, std::string_view content_type, std::string_view retry_after) {
  status_ = status;
  is_stream_ = status == 200 && content_type.starts_with("text/event-stream");
  retry_after_ = retry_after;
}

bool ReplyReader::OnBody(std::string_view bytes, double now_ms) {
  if (!is_stream_) {
    error_body_.append(bytes.substr(0, kErrorBodyBytesMax - error_body_.size()));
    return error_body_.size() < kErrorBodyBytesMax;
  }
  const Status status =
      events_.Feed(bytes, [this, now_ms](std::string_view data) { OnEvent(data, now_ms); });
  if (!status.ok()) Fail("bad_event", status.message());
  // After an error event a server may still say why; after nonsense nothing can be trusted.
  return error_kind_ != "bad_event";
}

void ReplyReader::OnEvent(std::string_view data, double now_ms) {
  if (done_) return;
  const Result<ApiChunk> chunk = ReadApiChunk(data);
  if (!chunk.ok()) return Fail("bad_event", chunk.status().message());
  if (chunk->done) {
    done_ = true;
    done_ms_ = now_ms;
    return;
  }
  if (!chunk->error.empty()) return Fail("error_event", chunk->error);
  usage_.Merge(chunk->usage);
  finished_ = finished_ || chunk->finished;
  if (chunk->text.empty()) return;
  chunk_ms_.push_back(now_ms);
  answer_ += chunk->text;
}

void ReplyReader::Fail(std::string kind, std::string detail) {
  if (!error_kind_.empty()) return;
  error_kind_ = std::move(kind);
  error_detail_ = std::move(detail);
}

void ReplyReader::Finish(std::string_view failure_kind, std::string_view failure_detail,
                         double now_ms, RequestRecord* record) {
  // What happens to a connection after [DONE] takes nothing from the answer.
  if (!failure_kind.empty() && !done_) {
    Fail(std::string(failure_kind), std::string(failure_detail));
  } else if (status_ != 200) {
    const std::string wait = retry_after_.empty() ? "" : " (Retry-After: " + retry_after_ + ")";
    Fail("http_" + std::to_string(status_), ErrorMessageOf(error_body_) + wait);
  } else if (!is_stream_) {
    Fail("not_a_stream", "the reply is not text/event-stream: " + ErrorMessageOf(error_body_));
  } else if (!done_ && !finished_) {
    Fail("cut_off", "the stream ended without a finish_reason or [DONE]");
  }
  record->end_ms = done_ ? done_ms_ : now_ms;
  record->chunk_ms = std::move(chunk_ms_);
  record->prompt_tokens = usage_.prompt_tokens;
  record->completion_tokens = usage_.completion_tokens;
  record->cached_tokens = usage_.cached_tokens;
  record->error_kind = error_kind_;
  record->error_detail = error_detail_;
}

}  // namespace kvasir
