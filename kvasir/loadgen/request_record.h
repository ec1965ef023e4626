// RequestRecord: what was seen of one request. Times are milliseconds since its round began.
// Written by the load run, read by the figures; a value.

#ifndef KVASIR_LOADGEN_REQUEST_RECORD_H_
#define KVASIR_LOADGEN_REQUEST_RECORD_H_

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

namespace kvasir {

struct RequestRecord {
  size_t conversation = 0;
  size_t turn = 0;
  bool beside = false;  // one of the long prompts beside the measured answer

  double due_ms = 0;   // when it should have been sent; the clock of its latencies starts here
  double sent_ms = 0;  // when it was
  double end_ms = 0;   // the whole reply was here, or it failed
  // When each piece of text arrived. Pieces that came in one read have one time.
  std::vector<double> chunk_ms;

  std::optional<size_t> prompt_tokens;
  std::optional<size_t> completion_tokens;
  std::optional<size_t> cached_tokens;
  std::string error_kind;  // empty: it was answered
  std::string error_detail;

  bool ok() const { return error_kind.empty(); }
  bool has_first() const { return !chunk_ms.empty(); }
  double ttft_ms() const { return chunk_ms.front() - due_ms; }  // REQUIRES has_first()
  double e2e_ms() const { return end_ms - due_ms; }
  // As the server said it, else the pieces of text.
  size_t output_tokens() const { return completion_tokens.value_or(chunk_ms.size()); }
};

}  // namespace kvasir

#endif  // KVASIR_LOADGEN_REQUEST_RECORD_H_
