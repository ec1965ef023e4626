#include "kvasir/server/request_log.h"

#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>

namespace kvasir {

namespace {

// Texts with anything but plain letters are quoted as JSON, which escapes what ends lines.
bool IsPlain(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           std::string_view("-_./:[]%").find(c) != std::string_view::npos;
  });
}

std::string TimeNow() {
  const auto now = std::chrono::system_clock::now();
  const time_t seconds = std::chrono::system_clock::to_time_t(now);
  const auto milliseconds =
      std::chrono::duration_cast<std::chrono::milliseconds>(now.time_since_epoch()).count() % 1000;
  tm utc;
  gmtime_r(&seconds, &utc);
  char date[32], text[48];
  std::strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%S", &utc);
  std::snprintf(text, sizeof(text), "%s.%03dZ", date, static_cast<int>(milliseconds));
  return text;
}

// Above ASCII is escaped as well: terminals and log readers have their own ideas of line ends.
std::string Escaped(const Json& value) {
  return value.dump(-1, ' ', /*ensure_ascii=*/true, Json::error_handler_t::replace);
}

}  // namespace

std::string FormatLogLine(LogFormat format, std::string_view time, std::string_view event,
                          const Json& fields) {
  if (format == LogFormat::kJson) {
    Json line = {{"time", time}, {"event", event}};
    for (const auto& [key, value] : fields.items()) {
      if (!value.is_null()) line[key] = value;
    }
    return Escaped(line);
  }
  std::string line = std::string(time) + " " + std::string(event);
  for (const auto& [key, value] : fields.items()) {
    if (value.is_null()) continue;
    const bool plain = value.is_string() && IsPlain(value.get_ref<const std::string&>());
    line += " " + key + "=" + (plain ? value.get<std::string>() : Escaped(value));
  }
  return line;
}

void RequestLog::Write(std::string_view event, const Json& fields) {
  if (format_ == LogFormat::kOff) return;
  const std::string line = FormatLogLine(format_, TimeNow(), event, fields) + "\n";
  std::lock_guard lock(mutex_);
  // A log that cannot be written is no reason to fail anything.
  (void)!write(fd_, line.data(), line.size());
}

}  // namespace kvasir
