// RequestLog: one line for each request, as text or as JSON, on standard error. Never what was
// asked or answered, never a key. What clients chose (paths, ids) is quoted, so that no line can be
// forged. Any thread; a line is written at once.

#ifndef KVASIR_SERVER_REQUEST_LOG_H_
#define KVASIR_SERVER_REQUEST_LOG_H_

#include <mutex>
#include <string>
#include <string_view>

#include "kvasir/base/json.h"

namespace kvasir {

enum class LogFormat { kText, kJson, kOff };

class RequestLog {
 public:
  // `fd` stays the caller's.
  explicit RequestLog(LogFormat format, int fd = 2) : format_(format), fd_(fd) {}

  // A line with the time, `event` and the members of `fields` in order. Members that are null are
  // left out.
  void Write(std::string_view event, const Json& fields);

 private:
  const LogFormat format_;
  const int fd_;
  std::mutex mutex_;
};

// The line without its time, as Write formats it: `event key=value ...`, or JSON.
std::string FormatLogLine(LogFormat format, std::string_view time, std::string_view event,
                          const Json& fields);

}  // namespace kvasir

#endif  // KVASIR_SERVER_REQUEST_LOG_H_
