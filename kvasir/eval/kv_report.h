// KvReport: the measurements of KV formats as JSON, as a Markdown table and as an SVG plot of
// quality over size. Pure functions, any thread.

#ifndef KVASIR_EVAL_KV_REPORT_H_
#define KVASIR_EVAL_KV_REPORT_H_

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "kvasir/base/json.h"
#include "kvasir/eval/kv_quality.h"
#include "kvasir/eval/probe.h"

namespace kvasir {

// A probe as one format fared in it.
struct KvProbeScore {
  ProbeKind kind;
  ProbeTally reference;
  ProbeTally tally;
  bool is_applicable = false;
};

// One format at one context length.
struct KvReportRow {
  std::string kv;  // as the user calls the format
  size_t context_tokens = 0;
  size_t window_count = 0;
  KvQualityRow measured;
  PredictionQuality reference;  // the bf16 run's
  std::vector<KvProbeScore> probes;
};

// What all rows have in common.
struct KvReportSource {
  std::string model;
  std::string weights;
  std::string activations;
  std::string target;
  std::string text_name;
  std::string text_sha256;  // 64 hexadecimal digits
};

// {"rows": [...]} and nothing else, so that each row stands for itself.
Json KvReportJson(const KvReportSource& source, std::span<const KvReportRow> rows);

// A title, a line about the source, the table of qualities, and one of probes when there are any.
std::string KvReportMarkdown(const KvReportSource& source, std::span<const KvReportRow> rows);

// Mean KL (logarithmic) over bits per number, a colour for each context, labelled points; a line
// joins those that no other point of the context beats in both. Rows without divergence (the
// reference) have no place on a logarithmic axis and are left out.
std::string KvReportSvg(const KvReportSource& source, std::span<const KvReportRow> rows);

}  // namespace kvasir

#endif  // KVASIR_EVAL_KV_REPORT_H_
