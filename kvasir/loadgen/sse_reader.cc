#include "kvasir/loadgen/sse_reader.h"

#include <algorithm>
#include <utility>

namespace kvasir {

Status SseReader::Feed(std::string_view bytes, const EventSink& on_event) {
  for (const char c : bytes) {
    if (std::exchange(after_cr_, false) && c == '\n') continue;
    if (c == '\r' || c == '\n') {
      after_cr_ = c == '\r';
      EndLine(on_event);
      continue;
    }
    if (line_.size() + data_.size() >= kEventBytesMax) {
      return DataLoss("an event of the stream is longer than " + std::to_string(kEventBytesMax) +
                      " bytes");
    }
    line_.push_back(c);
  }
  return OkStatus();
}

void SseReader::EndLine(const EventSink& on_event) {
  std::string_view line = line_;
  if (std::exchange(at_start_, false) && line.starts_with("\xEF\xBB\xBF")) line.remove_prefix(3);
  if (line.empty()) {
    if (std::exchange(has_data_, false)) on_event(data_);
    data_.clear();
  } else if (line[0] == ':') {
    ++comment_count_;
  } else {
    const size_t colon = std::min(line.find(':'), line.size());
    std::string_view value = line.substr(std::min(colon + 1, line.size()));
    if (value.starts_with(' ')) value.remove_prefix(1);
    if (line.substr(0, colon) == "data") {
      if (std::exchange(has_data_, true)) data_.push_back('\n');
      data_.append(value);
    }
  }
  line_.clear();
}

}  // namespace kvasir
