// SseReader: server-sent events out of a byte stream that arrives in pieces of any size. Knows all
// three line ends, comments, fields other than `data` (ignored) and data of several lines. One
// reader for one reply, on one thread.

#ifndef KVASIR_LOADGEN_SSE_READER_H_
#define KVASIR_LOADGEN_SSE_READER_H_

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>

#include "kvasir/base/status.h"

namespace kvasir {

class SseReader {
 public:
  // A server that never ends a line or an event shall not fill the memory.
  static constexpr size_t kEventBytesMax = size_t{16} << 20;

  using EventSink = std::function<void(std::string_view data)>;

  // Hands the data of each event that `bytes` complete to `on_event`. kDataLoss once an event is
  // longer than kEventBytesMax.
  Status Feed(std::string_view bytes, const EventSink& on_event);

  // Lines that began with a colon: what servers send to keep a silent connection open.
  size_t comment_count() const { return comment_count_; }

 private:
  void EndLine(const EventSink& on_event);

  std::string line_;
  std::string data_;
  bool has_data_ = false;
  bool after_cr_ = false;  // a line feed that follows belongs to the line end before it
  bool at_start_ = true;   // where a byte order mark may stand
  size_t comment_count_ = 0;
};

}  // namespace kvasir

#endif  // KVASIR_LOADGEN_SSE_READER_H_
