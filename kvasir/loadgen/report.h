// LoadReport: the result of `kvasir bench serve`, for people, for programs and as a chart.

#ifndef KVASIR_LOADGEN_REPORT_H_
#define KVASIR_LOADGEN_REPORT_H_

#include <cstddef>
#include <string>
#include <vector>

#include "kvasir/base/json.h"
#include "kvasir/loadgen/figures.h"
#include "kvasir/loadgen/workload.h"

namespace kvasir {

struct ServerReport {
  std::string name;
  std::string url;
  std::string model;
  std::vector<LoadFigures> rounds;
  LoadFigures all;
};

struct LoadReport {
  WorkloadOptions workload;
  bool exact_lengths = false;
  std::string endpoint;
  LatencyGoals goals;
  bool stopped = false;               // before its end
  std::vector<ServerReport> servers;  // one or two
};

// A table, with the ratios of complete rounds when there are two servers.
std::string ReportTable(const LoadReport& report);
Json ReportJson(const LoadReport& report);
// Distributions of TTFT and ITL of each server, as one SVG image.
std::string ReportSvg(const LoadReport& report);

}  // namespace kvasir

#endif  // KVASIR_LOADGEN_REPORT_H_
