#include "kvasir/engine/wait_estimate.h"

#include <algorithm>
#include <numeric>

namespace kvasir {
namespace {

constexpr double kKeptShare = 0.98;
constexpr double kSecondsMax = 3600;

}  // namespace

void WaitEstimate::Observe(const EngineStats& stats) {
  const uint64_t tokens = stats.prompt_token_count + stats.generated_token_count;
  const uint64_t ends =
      std::accumulate(stats.finished_counts.begin(), stats.finished_counts.end(), uint64_t{0});
  recent_seconds_ = kKeptShare * recent_seconds_ + stats.step_seconds.sum() - step_seconds_seen_;
  recent_tokens_ = kKeptShare * recent_tokens_ + double(tokens - tokens_seen_);
  recent_ends_ = kKeptShare * recent_ends_ + double(ends - ends_seen_);
  step_seconds_seen_ = stats.step_seconds.sum();
  tokens_seen_ = tokens;
  ends_seen_ = ends;
}

double WaitEstimate::Seconds(size_t waiting_count, const EngineStats& stats) const {
  if (waiting_count == 0 && stats.running_count < stats.running_count_max) return 0;
  double seconds = 1;
  // Less than half an end in the window is no rate.
  if (recent_ends_ > 0.5) {
    seconds = double(waiting_count + 1) * recent_seconds_ / recent_ends_;
  } else if (recent_tokens_ > 0) {
    seconds = double(stats.unread_token_count) * recent_seconds_ / recent_tokens_;
  }
  return std::clamp(seconds, 0.001, kSecondsMax);
}

}  // namespace kvasir
