// ReplyReader: follows the reply to one streaming request as its bytes arrive, notes when text came
// and what the server said of it, and judges at the end whether it was whole. One object for each
// request, on one thread; knows no sockets.

#ifndef KVASIR_LOADGEN_REPLY_READER_H_
#define KVASIR_LOADGEN_REPLY_READER_H_

#include <string>
#include <string_view>
#include <vector>

#include "kvasir/loadgen/api_messages.h"
#include "kvasir/loadgen/request_record.h"
#include "kvasir/loadgen/sse_reader.h"

namespace kvasir {

class ReplyReader {
 public:
  void OnHead(int status, std::string_view content_type, std::string_view retry_after);

  // False once the rest cannot matter. `now_ms` is the time of arrival.
  bool OnBody(std::string_view bytes, double now_ms);

  // Completes `record` when nothing more comes. `failure_kind` and `failure_detail` say what went
  // wrong on the way; empty: nothing. Kinds of errors: those of HttpFailure, "http_503" with any
  // other status than 200, "not_a_stream", "bad_event", "error_event", and "cut_off" for a stream
  // that ends without saying so.
  void Finish(std::string_view failure_kind, std::string_view failure_detail, double now_ms,
              RequestRecord* record);

  const std::string& answer() const { return answer_; }
  size_t chunk_count() const { return chunk_ms_.size(); }

 private:
  void OnEvent(std::string_view data, double now_ms);
  void Fail(std::string kind, std::string detail);

  int status_ = 0;
  bool is_stream_ = false;
  std::string retry_after_;
  std::string error_body_;  // the beginning of a reply that is no stream
  SseReader events_;
  bool done_ = false;      // [DONE] was here
  bool finished_ = false;  // a finish_reason was here
  double done_ms_ = 0;
  std::vector<double> chunk_ms_;
  std::string answer_;
  ApiUsage usage_;
  std::string error_kind_;
  std::string error_detail_;
};

}  // namespace kvasir

#endif  // KVASIR_LOADGEN_REPLY_READER_H_
