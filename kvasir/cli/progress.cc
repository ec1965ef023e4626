#include "kvasir/cli/progress.h"

#include <algorithm>
#include <cstdio>
#include <utility>

namespace kvasir {

namespace {

// Shorter work finishes before anybody has read the line.
constexpr std::chrono::milliseconds kPatience{400};
constexpr std::chrono::milliseconds kDrawInterval{100};
constexpr int kBarColumns = 30;

}  // namespace

ProgressBar::ProgressBar(std::string label, bool enabled)
    : label_(std::move(label)), enabled_(enabled), next_draw_(Clock::now() + kPatience) {}

void ProgressBar::Update(double share) {
  if (!enabled_) return;
  const Clock::time_point now = Clock::now();
  if (now < next_draw_) return;
  next_draw_ = now + kDrawInterval;
  drawn_ = true;
  std::fprintf(stderr, "\r%s", Line(label_, share).c_str());
  std::fflush(stderr);
}

void ProgressBar::Finish() {
  enabled_ = false;
  if (!drawn_) return;
  drawn_ = false;
  std::fputs("\r\033[K", stderr);  // to the line's start, and erase it
  std::fflush(stderr);
}

std::string ProgressBar::Line(const std::string& label, double share) {
  share = std::clamp(share, 0.0, 1.0);
  const int filled = static_cast<int>(share * kBarColumns);
  std::string bar(static_cast<size_t>(filled), '=');
  bar.resize(kBarColumns, ' ');
  char percent[16];
  std::snprintf(percent, sizeof(percent), "%3d %%", static_cast<int>(share * 100));
  return label + "  [" + bar + "]  " + percent;
}

}  // namespace kvasir
