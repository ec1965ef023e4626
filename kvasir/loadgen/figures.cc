#include "kvasir/loadgen/figures.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "kvasir/base/check.h"

namespace kvasir {

namespace {

struct Interval {
  double begin_ms = 0;
  double end_ms = 0;
};

std::vector<Interval> BesideIntervals(const LoadResult& round) {
  std::vector<Interval> intervals;
  for (const RequestRecord& record : round.records) {
    if (record.beside && record.ok()) intervals.push_back({record.sent_ms, record.end_ms});
  }
  return intervals;
}

bool OverlapsAny(const std::vector<Interval>& intervals, double begin_ms, double end_ms) {
  return std::any_of(intervals.begin(), intervals.end(), [=](const Interval& interval) {
    return begin_ms < interval.end_ms && end_ms > interval.begin_ms;
  });
}

bool MeetsGoals(const RequestRecord& record, std::vector<double> gaps_ms,
                const LatencyGoals& goals) {
  if (!record.has_first()) return false;
  if (goals.ttft_ms_max > 0 && record.ttft_ms() > goals.ttft_ms_max) return false;
  if (goals.itl_ms_max == 0 || gaps_ms.empty()) return true;
  std::sort(gaps_ms.begin(), gaps_ms.end());
  return PercentileOf(gaps_ms, 99) <= goals.itl_ms_max;
}

// Adds up rounds.
class Collector {
 public:
  explicit Collector(const LatencyGoals& goals) : goals_(goals) {}

  void Add(const LoadResult& round) {
    ++figures_.round_count;
    figures_.unfinished_count += round.unfinished_count;
    figures_.unsent_count += round.unsent_count;
    const std::vector<Interval> beside = BesideIntervals(round);
    double first_ms = std::numeric_limits<double>::infinity(), last_ms = 0;
    for (const RequestRecord& record : round.records) {
      if (record.beside && record.ok()) continue;
      AddRecord(record, beside);
      if (record.beside) continue;
      first_ms = std::min(first_ms, record.due_ms);
      last_ms = std::max(last_ms, record.end_ms);
    }
    if (last_ms > first_ms) figures_.duration_s += (last_ms - first_ms) / 1000;
  }

  LoadFigures Finish() {
    figures_.ttft_ms = Summarize(figures_.ttfts_ms);
    figures_.itl_ms = Summarize(figures_.itls_ms);
    figures_.stall_ms = Summarize(std::move(stalls_ms_));
    figures_.e2e_ms = Summarize(std::move(e2es_ms_));
    figures_.itl_alone_ms = Summarize(std::move(alone_ms_));
    figures_.itl_beside_ms = Summarize(std::move(beside_ms_));
    return std::move(figures_);
  }

 private:
  void AddRecord(const RequestRecord& record, const std::vector<Interval>& beside) {
    ++figures_.sent_count;
    figures_.late_ms_max = std::max(figures_.late_ms_max, record.sent_ms - record.due_ms);
    if (!record.ok()) {
      ++figures_.errors[record.error_kind];
      if (figures_.first_error.empty()) {
        figures_.first_error = record.error_kind + ": " + record.error_detail;
      }
      return;
    }
    ++figures_.answered_count;
    figures_.prompt_tokens += record.prompt_tokens.value_or(0);
    figures_.output_tokens += record.output_tokens();
    if (record.cached_tokens) {
      figures_.has_cached = true;
      figures_.cached_tokens += *record.cached_tokens;
      figures_.cached_of_tokens += record.prompt_tokens.value_or(0);
    }
    e2es_ms_.push_back(record.e2e_ms());
    if (record.has_first()) figures_.ttfts_ms.push_back(record.ttft_ms());
    std::vector<double> gaps_ms;
    for (size_t i = 1; i < record.chunk_ms.size(); ++i) {
      const double begin_ms = record.chunk_ms[i - 1], end_ms = record.chunk_ms[i];
      gaps_ms.push_back(end_ms - begin_ms);
      if (beside.empty()) continue;
      (OverlapsAny(beside, begin_ms, end_ms) ? beside_ms_ : alone_ms_).push_back(gaps_ms.back());
    }
    if (!gaps_ms.empty()) stalls_ms_.push_back(*std::max_element(gaps_ms.begin(), gaps_ms.end()));
    figures_.itls_ms.insert(figures_.itls_ms.end(), gaps_ms.begin(), gaps_ms.end());
    if (MeetsGoals(record, std::move(gaps_ms), goals_)) ++figures_.content_count;
  }

  const LatencyGoals goals_;
  LoadFigures figures_;
  std::vector<double> stalls_ms_, e2es_ms_, alone_ms_, beside_ms_;
};

void AddSummary(const std::string& name, const LatencySummary& summary,
                std::vector<NamedFigure>* figures) {
  if (summary.count == 0) return;
  figures->push_back({name + "_mean", summary.mean});
  figures->push_back({name + "_p50", summary.p50});
  figures->push_back({name + "_p90", summary.p90});
  figures->push_back({name + "_p99", summary.p99});
}

Json SummaryJson(const LatencySummary& summary) {
  return {{"count", summary.count}, {"mean", summary.mean}, {"min", summary.min},
          {"p50", summary.p50},     {"p90", summary.p90},   {"p99", summary.p99},
          {"max", summary.max}};
}

}  // namespace

LoadFigures ComputeFigures(std::span<const LoadResult> rounds, const LatencyGoals& goals) {
  Collector collector(goals);
  for (const LoadResult& round : rounds) collector.Add(round);
  return collector.Finish();
}

std::vector<NamedFigure> ComparableFigures(const LoadFigures& figures, const LatencyGoals& goals) {
  std::vector<NamedFigure> named = {{"requests_per_s", figures.requests_per_s()},
                                    {"output_tokens_per_s", figures.output_tokens_per_s()},
                                    {"duration_s", figures.duration_s}};
  if (goals.any()) named.push_back({"goodput_per_s", figures.goodput_per_s()});
  AddSummary("ttft_ms", figures.ttft_ms, &named);
  AddSummary("itl_ms", figures.itl_ms, &named);
  AddSummary("stall_ms", figures.stall_ms, &named);
  AddSummary("e2e_ms", figures.e2e_ms, &named);
  AddSummary("itl_alone_ms", figures.itl_alone_ms, &named);
  AddSummary("itl_beside_ms", figures.itl_beside_ms, &named);
  if (figures.itl_alone_ms.p99 > 0 && figures.itl_beside_ms.count > 0) {
    named.push_back(
        {"itl_beside_over_alone_p99", figures.itl_beside_ms.p99 / figures.itl_alone_ms.p99});
  }
  return named;
}

std::vector<FigureRatio> CompareRounds(std::span<const LoadFigures> first,
                                       std::span<const LoadFigures> second,
                                       const LatencyGoals& goals) {
  KVASIR_CHECK(first.size() == second.size());
  std::vector<std::string> names;  // in the order of the table
  std::map<std::string, std::vector<double>> ratios;
  for (size_t round = 0; round < first.size(); ++round) {
    const std::vector<NamedFigure> theirs = ComparableFigures(second[round], goals);
    for (const NamedFigure& ours : ComparableFigures(first[round], goals)) {
      const auto same = std::find_if(theirs.begin(), theirs.end(), [&](const NamedFigure& figure) {
        return figure.name == ours.name;
      });
      if (same == theirs.end() || same->value <= 0 || ours.value <= 0) continue;
      if (round == 0) names.push_back(ours.name);
      ratios[ours.name].push_back(ours.value / same->value);
    }
  }
  std::vector<FigureRatio> result;
  for (const std::string& name : names) {
    std::vector<double>& values = ratios[name];
    if (values.size() != first.size()) continue;
    std::sort(values.begin(), values.end());
    result.push_back({name, values.front(), PercentileOf(values, 50), values.back()});
  }
  return result;
}

Json FiguresJson(const LoadFigures& figures, const LatencyGoals& goals) {
  Json json = {{"rounds", figures.round_count},
               {"requests", figures.sent_count},
               {"answered", figures.answered_count},
               {"unfinished", figures.unfinished_count},
               {"unsent", figures.unsent_count},
               {"errors", figures.errors},
               {"first_error", figures.first_error},
               {"duration_s", figures.duration_s},
               {"prompt_tokens", figures.prompt_tokens},
               {"output_tokens", figures.output_tokens},
               {"cached_tokens", figures.has_cached ? Json(figures.cached_tokens) : Json(nullptr)},
               {"cached_share", figures.has_cached ? Json(figures.cached_share()) : Json(nullptr)},
               {"requests_per_s", figures.requests_per_s()},
               {"prompt_tokens_per_s", figures.prompt_tokens_per_s()},
               {"output_tokens_per_s", figures.output_tokens_per_s()},
               {"ttft_ms", SummaryJson(figures.ttft_ms)},
               {"itl_ms", SummaryJson(figures.itl_ms)},
               {"stall_ms", SummaryJson(figures.stall_ms)},
               {"e2e_ms", SummaryJson(figures.e2e_ms)},
               {"late_ms_max", figures.late_ms_max}};
  if (goals.any()) {
    json["within_goals"] = figures.content_count;
    json["goodput_per_s"] = figures.goodput_per_s();
  }
  if (figures.itl_beside_ms.count > 0) {
    json["itl_alone_ms"] = SummaryJson(figures.itl_alone_ms);
    json["itl_beside_ms"] = SummaryJson(figures.itl_beside_ms);
  }
  return json;
}

}  // namespace kvasir
