#include "kvasir/text/stop_matcher.h"

#include <utility>

namespace kvasir {

StopMatcher::StopMatcher(std::vector<std::string> stops) : stops_(std::move(stops)) {
  std::erase(stops_, std::string());
}

std::string StopMatcher::Push(std::string_view piece) {
  if (stopped_) return {};
  held_.append(piece);
  return Release(/*at_end=*/false);
}

std::string StopMatcher::Finish() {
  if (stopped_) return {};
  return Release(/*at_end=*/true);
}

std::string StopMatcher::Release(bool at_end) {
  const std::string_view held = held_;
  size_t safe = 0;
  for (; safe < held.size(); ++safe) {
    const std::string_view rest = held.substr(safe);
    const std::string* longest = nullptr;  // that is here in full
    bool may_grow = false;                 // a longer one may still come
    for (const std::string& stop : stops_) {
      if (rest.starts_with(stop)) {
        if (longest == nullptr || stop.size() > longest->size()) longest = &stop;
      } else if (!at_end && std::string_view(stop).starts_with(rest)) {
        may_grow = true;
      }
    }
    if (may_grow) break;
    if (longest != nullptr) {
      stopped_ = true;
      matched_ = *longest;
      break;
    }
  }
  std::string text = held_.substr(0, safe);
  held_.erase(0, stopped_ ? held_.size() : safe);
  return text;
}

}  // namespace kvasir
