#include "kvasir/loadgen/report.h"

#include <algorithm>
#include <cstdio>
#include <utility>

#include "kvasir/loadgen/cdf_chart.h"

namespace kvasir {

namespace {

constexpr size_t kNameColumns = 28;
constexpr size_t kValueColumns = 16;

// Three significant digits at least, no exponent.
std::string Number(double value) {
  char buffer[64];
  const int decimals = value >= 100 ? 0 : value >= 10 ? 1 : value >= 1 ? 2 : 3;
  std::snprintf(buffer, sizeof(buffer), "%.*f", decimals, value);
  return buffer;
}

std::string Cut(const std::string& text, size_t columns) {
  return text.size() <= columns ? text : text.substr(0, columns);
}

// A row of a name and a value for each server.
class Table {
 public:
  void Row(const std::string& name, const std::vector<std::string>& values) {
    text_ += name + std::string(kNameColumns - std::min(name.size(), kNameColumns), ' ');
    for (const std::string& value : values) {
      text_ += std::string(kValueColumns - std::min(value.size(), kValueColumns), ' ') + value;
    }
    text_ += "\n";
  }
  void Line(const std::string& text) { text_ += text + "\n"; }
  std::string Take() { return std::move(text_); }

 private:
  std::string text_;
};

template <typename Value>
void EachServer(const LoadReport& report, Table* table, const std::string& name,
                const Value& value) {
  std::vector<std::string> values;
  for (const ServerReport& server : report.servers) values.push_back(value(server.all));
  table->Row(name, values);
}

void SummaryRows(const LoadReport& report, const std::string& name,
                 LatencySummary LoadFigures::*summary, Table* table) {
  const bool any = std::any_of(report.servers.begin(), report.servers.end(),
                               [&](const auto& server) { return (server.all.*summary).count > 0; });
  if (!any) return;
  const std::pair<const char*, double LatencySummary::*> kParts[] = {{"p50", &LatencySummary::p50},
                                                                     {"p90", &LatencySummary::p90},
                                                                     {"p99", &LatencySummary::p99},
                                                                     {"min", &LatencySummary::min},
                                                                     {"max", &LatencySummary::max}};
  for (const auto& [part, member] : kParts) {
    EachServer(report, table, name + " " + part + ", ms", [&, member](const LoadFigures& figures) {
      const LatencySummary& values = figures.*summary;
      return values.count == 0 ? std::string("-") : Number(values.*member);
    });
  }
}

void ErrorLines(const LoadReport& report, Table* table) {
  for (const ServerReport& server : report.servers) {
    for (const auto& [kind, count] : server.all.errors) {
      table->Line(server.name + ": " + std::to_string(count) + " times " + kind);
    }
    if (!server.all.first_error.empty()) {
      table->Line(server.name + ": the first was " + server.all.first_error);
    }
    if (server.all.unfinished_count + server.all.unsent_count > 0) {
      table->Line(server.name + ": " + std::to_string(server.all.unfinished_count) +
                  " requests were cut off, " + std::to_string(server.all.unsent_count) +
                  " were not sent");
    }
  }
}

std::vector<FigureRatio> Ratios(const LoadReport& report) {
  if (report.servers.size() != 2) return {};
  const size_t complete =
      std::min(report.servers[0].rounds.size(), report.servers[1].rounds.size());
  return CompareRounds(std::span(report.servers[0].rounds).first(complete),
                       std::span(report.servers[1].rounds).first(complete), report.goals);
}

void RatioRows(const LoadReport& report, Table* table) {
  const std::vector<FigureRatio> ratios = Ratios(report);
  if (ratios.empty()) return;
  table->Line("");
  table->Row(report.servers[0].name + " / " + report.servers[1].name, {"median", "min", "max"});
  for (const FigureRatio& ratio : ratios) {
    table->Row(ratio.name, {Number(ratio.median), Number(ratio.min), Number(ratio.max)});
  }
}

}  // namespace

std::string ReportTable(const LoadReport& report) {
  Table table;
  table.Line(DescribeWorkload(report.workload) +
             (report.exact_lengths ? "" : " (estimated: no tokenizer was asked)"));
  if (report.stopped) table.Line("stopped early: what follows is of the requests that had ended");
  table.Line("");
  std::vector<std::string> names;
  for (const ServerReport& server : report.servers) {
    names.push_back(Cut(server.name, kValueColumns - 1));
  }
  table.Row("", names);
  EachServer(report, &table, "rounds",
             [](const LoadFigures& f) { return std::to_string(f.round_count); });
  EachServer(report, &table, "answered", [](const LoadFigures& f) {
    return std::to_string(f.answered_count) + " of " +
           std::to_string(f.sent_count + f.unfinished_count + f.unsent_count);
  });
  EachServer(report, &table, "duration, s",
             [](const LoadFigures& f) { return Number(f.duration_s); });
  EachServer(report, &table, "requests/s",
             [](const LoadFigures& f) { return Number(f.requests_per_s()); });
  if (report.goals.any()) {
    EachServer(report, &table, "goodput, requests/s",
               [](const LoadFigures& f) { return Number(f.goodput_per_s()); });
  }
  EachServer(report, &table, "prompt tokens/s",
             [](const LoadFigures& f) { return Number(f.prompt_tokens_per_s()); });
  EachServer(report, &table, "output tokens/s",
             [](const LoadFigures& f) { return Number(f.output_tokens_per_s()); });
  EachServer(report, &table, "prompt tokens cached", [](const LoadFigures& f) {
    return f.has_cached ? Number(f.cached_share() * 100) + " %" : std::string("not told");
  });
  SummaryRows(report, "TTFT", &LoadFigures::ttft_ms, &table);
  SummaryRows(report, "ITL", &LoadFigures::itl_ms, &table);
  SummaryRows(report, "stall", &LoadFigures::stall_ms, &table);
  SummaryRows(report, "E2E", &LoadFigures::e2e_ms, &table);
  SummaryRows(report, "ITL alone", &LoadFigures::itl_alone_ms, &table);
  SummaryRows(report, "ITL beside a prompt", &LoadFigures::itl_beside_ms, &table);
  RatioRows(report, &table);
  ErrorLines(report, &table);
  return table.Take();
}

Json ReportJson(const LoadReport& report) {
  Json servers = Json::array();
  for (const ServerReport& server : report.servers) {
    Json rounds = Json::array();
    for (const LoadFigures& round : server.rounds) {
      rounds.push_back(FiguresJson(round, report.goals));
    }
    servers.push_back({{"name", server.name},
                       {"url", server.url},
                       {"model", server.model},
                       {"all", FiguresJson(server.all, report.goals)},
                       {"rounds", std::move(rounds)}});
  }
  Json json = {{"workload", WorkloadJson(report.workload)},
               {"endpoint", report.endpoint},
               {"exact_lengths", report.exact_lengths},
               {"slo_ttft_ms", report.goals.ttft_ms_max},
               {"slo_itl_ms", report.goals.itl_ms_max},
               {"stopped", report.stopped},
               {"servers", std::move(servers)}};
  if (report.servers.size() == 2) {
    json["ratios"] = Json::object();
    for (const FigureRatio& ratio : Ratios(report)) {
      json["ratios"][ratio.name] = {
          {"min", ratio.min}, {"median", ratio.median}, {"max", ratio.max}};
    }
  }
  return json;
}

std::string ReportSvg(const LoadReport& report) {
  CdfPanel ttft{"Time to first token, ms", {}};
  CdfPanel itl{"Gap between pieces of text, ms", {}};
  for (const ServerReport& server : report.servers) {
    ttft.series.push_back({server.name, server.all.ttfts_ms});
    itl.series.push_back({server.name, server.all.itls_ms});
  }
  return CdfChart(DescribeWorkload(report.workload), {std::move(ttft), std::move(itl)});
}

}  // namespace kvasir
