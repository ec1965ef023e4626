// LoadFigures: what the records of one or several rounds come to, and how two servers compare.
// docs/bench_serve.md defines every figure. Pure functions; values.

#ifndef KVASIR_LOADGEN_FIGURES_H_
#define KVASIR_LOADGEN_FIGURES_H_

#include <cstddef>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "kvasir/base/json.h"
#include "kvasir/loadgen/latency_summary.h"
#include "kvasir/loadgen/load_client.h"
#include "kvasir/loadgen/request_record.h"

namespace kvasir {

// What a user would be content with; 0 = no bound.
struct LatencyGoals {
  double ttft_ms_max = 0;
  double itl_ms_max = 0;  // of the 99th percentile of a request's gaps

  bool any() const { return ttft_ms_max > 0 || itl_ms_max > 0; }
};

struct LoadFigures {
  size_t round_count = 0;
  size_t sent_count = 0;  // ended, with or without an answer
  size_t answered_count = 0;
  size_t unfinished_count = 0;
  size_t unsent_count = 0;
  std::map<std::string, size_t> errors;  // by kind
  std::string first_error;               // "http_503: the queue is full"

  double duration_s = 0;  // from the first due time to the last end, added up over rounds
  size_t prompt_tokens = 0;
  size_t output_tokens = 0;
  bool has_cached = false;      // the server told for at least one request
  size_t cached_tokens = 0;     // of cached_of_tokens
  size_t cached_of_tokens = 0;  // prompt tokens of the requests for which it told
  size_t content_count = 0;     // answered within the goals

  LatencySummary ttft_ms;
  LatencySummary itl_ms;
  LatencySummary stall_ms;  // the longest gap of each request
  LatencySummary e2e_ms;
  double late_ms_max = 0;  // how far behind its schedule the generator was
  // With prompts beside: gaps that overlap the reading of one, and all others.
  LatencySummary itl_alone_ms;
  LatencySummary itl_beside_ms;

  // Kept for charts.
  std::vector<double> ttfts_ms;
  std::vector<double> itls_ms;

  double requests_per_s() const { return PerSecond(answered_count); }
  double output_tokens_per_s() const { return PerSecond(output_tokens); }
  double prompt_tokens_per_s() const { return PerSecond(prompt_tokens); }
  double goodput_per_s() const { return PerSecond(content_count); }
  double cached_share() const {
    return cached_of_tokens == 0
               ? 0
               : static_cast<double>(cached_tokens) / static_cast<double>(cached_of_tokens);
  }

 private:
  double PerSecond(size_t count) const {
    return duration_s > 0 ? static_cast<double>(count) / duration_s : 0;
  }
};

// Of all rounds together: percentiles over all requests, rates over the sum of the durations.
LoadFigures ComputeFigures(std::span<const LoadResult> rounds, const LatencyGoals& goals);

// A figure with its name, for tables, JSON and ratios.
struct NamedFigure {
  std::string name;
  double value = 0;
};
// requests_per_s, output_tokens_per_s, ttft_ms_p50 ...: those that `figures` has.
std::vector<NamedFigure> ComparableFigures(const LoadFigures& figures, const LatencyGoals& goals);

// First server over second, round by round.
struct FigureRatio {
  std::string name;
  double min = 0;
  double median = 0;
  double max = 0;
};
// REQUIRES as many rounds on both sides. Figures that are 0 or missing on one side in some round
// are left out.
std::vector<FigureRatio> CompareRounds(std::span<const LoadFigures> first,
                                       std::span<const LoadFigures> second,
                                       const LatencyGoals& goals);

Json FiguresJson(const LoadFigures& figures, const LatencyGoals& goals);

}  // namespace kvasir

#endif  // KVASIR_LOADGEN_FIGURES_H_
