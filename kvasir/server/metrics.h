// ServerMetrics: what happened to requests, counted for /metrics, and the page itself in
// Prometheus' text format. No labels from clients: no ids, no prompts, no keys. Any thread.

#ifndef KVASIR_SERVER_METRICS_H_
#define KVASIR_SERVER_METRICS_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>

#include "kvasir/base/histogram.h"
#include "kvasir/engine/engine_stats.h"
#include "kvasir/store/store_stats.h"

namespace kvasir {

// Seconds: from a cached prompt of a small model to minutes of reading on a CPU.
inline constexpr double kRequestSecondsBounds[] = {0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1,  2.5,
                                                   5,    10,    25,   50,  100,  250, 500};
inline constexpr double kTokenSecondsBounds[] = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1,
                                                 0.2,   0.5,    1,     2.5,  5,     10};
inline constexpr double kTokenCountBounds[] = {1,    4,    16,   64,    128,   256,   512,   1024,
                                               2048, 4096, 8192, 16384, 32768, 65536, 131072};

// One finished generation, for metrics and log.
struct GenerationSummary {
  size_t prompt_tokens = 0;
  size_t cached_tokens = 0;
  size_t disk_tokens = 0;  // of the cached ones
  size_t completion_tokens = 0;
  std::string finish_reason;  // "stop", "length", "cancelled", "deadline", "error", "refused"
  double queue_seconds = 0;
  double first_token_seconds = 0;  // 0 = there was none
};

class ServerMetrics {
 public:
  void CountResponse(std::string_view route, int status);
  void ObserveGeneration(const GenerationSummary& summary, double total_seconds);
  void ObserveTokenGap(double seconds);
  void CountRefusal(std::string_view reason);  // "queue_full", "rate_limit", ...
  void CountUnknownMember();

  // The whole page. `engine` is null while the model is being loaded, `store` without one.
  std::string Render(const EngineStats* engine, const StoreStats* store, size_t connection_count,
                     double uptime_seconds, std::string_view version) const;

 private:
  mutable std::mutex mutex_;
  std::map<std::pair<std::string, int>, uint64_t> responses_;
  std::map<std::string, uint64_t> refusals_, finished_;
  uint64_t unknown_member_count_ = 0;
  Histogram first_token_seconds_{kRequestSecondsBounds};
  Histogram token_gap_seconds_{kTokenSecondsBounds};
  Histogram total_seconds_{kRequestSecondsBounds};
  Histogram queue_seconds_{kRequestSecondsBounds};
  Histogram prompt_tokens_{kTokenCountBounds};
  Histogram cached_tokens_{kTokenCountBounds};
  Histogram completion_tokens_{kTokenCountBounds};
};

}  // namespace kvasir

#endif  // KVASIR_SERVER_METRICS_H_
