#include "kvasir/eval/replay_report.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <iterator>

#include "kvasir/base/xml.h"

namespace kvasir {

namespace {

const char* NameOf(CachePolicy policy) {
  for (const CachePolicyName& name : CachePolicyNames()) {
    if (name.policy == policy) return name.name;
  }
  return "";
}

const char* NameOf(WriteRule rule) {
  switch (rule) {
    case WriteRule::kAll:
      return "write-through";
    case WriteRule::kSecondTouch:
      return "second-touch";
    case WriteRule::kAdmission:
      break;
  }
  return "admission";
}

template <typename... Values>
std::string Format(const char* format, Values... values) {
  char buffer[320];
  std::snprintf(buffer, sizeof(buffer), format, values...);
  return buffer;
}

double Share(const ReplayReport& report, size_t blocks) {
  return double(blocks) / double(report.block_count);
}

double LateShare(const TierReplayResult& tiers, size_t blocks) {
  return double(blocks) / double(std::max<size_t>(1, tiers.late_block_count));
}

std::vector<CachePolicy> PoliciesOf(const ReplayReport& report) {
  std::vector<CachePolicy> policies;
  for (const ReplayResult& cache : report.caches) {
    if (std::find(policies.begin(), policies.end(), cache.policy) == policies.end()) {
      policies.push_back(cache.policy);
    }
  }
  return policies;
}

std::vector<ReplayResult> CachesOf(const ReplayReport& report, CachePolicy policy) {
  std::vector<ReplayResult> caches;
  std::copy_if(report.caches.begin(), report.caches.end(), std::back_inserter(caches),
               [&](const ReplayResult& cache) { return cache.policy == policy; });
  return caches;
}

std::string TierRow(const ReplayReport& report, const TierReplayResult& tiers, const char* policy) {
  return Format("| %zu | %zu | %s | %s | %.2f | %.2f | %.2f | %.2f |\n", tiers.ram_blocks,
                tiers.disk_blocks, policy, NameOf(tiers.rule),
                100 * Share(report, tiers.hit_blocks), 100 * Share(report, tiers.written_blocks),
                100 * LateShare(tiers, tiers.late_hit_blocks),
                100 * LateShare(tiers, tiers.late_written_blocks));
}

Json TierJson(const ReplayReport& report, const TierReplayResult& tiers, const char* policy) {
  return {{"ram_blocks", tiers.ram_blocks},
          {"disk_blocks", tiers.disk_blocks},
          {"policy", policy},
          {"writes", NameOf(tiers.rule)},
          {"hit_blocks", tiers.hit_blocks},
          {"hit_share", Share(report, tiers.hit_blocks)},
          {"written_blocks", tiers.written_blocks},
          {"written_share", Share(report, tiers.written_blocks)},
          {"late_hit_share", LateShare(tiers, tiers.late_hit_blocks)},
          {"late_written_share", LateShare(tiers, tiers.late_written_blocks)}};
}

// Pixels: the picture, and the margins around its plot.
constexpr double kWidth = 720, kHeight = 440;
constexpr double kLeft = 60, kRight = 110, kTop = 50, kBottom = 60;
// Told apart by lightness too; ours is the widest line.
constexpr const char* kColours[] = {"#888888", "#1f5fa8", "#b08968", "#2b8a3e",
                                    "#9c36b5", "#0b7285", "#e07b00", "#222222"};

// Where sizes and shares lie in the picture.
struct Axes {
  double log_min = 0, log_max = 1;  // of blocks
  double share_max = 0.1;           // a multiple of a tenth

  double X(double blocks) const {
    return kLeft + (std::log10(blocks) - log_min) / (log_max - log_min) * (kWidth - kLeft - kRight);
  }
  double Y(double share) const {
    return kTop + (1 - share / share_max) * (kHeight - kTop - kBottom);
  }
};

Axes AxesFor(const ReplayReport& report) {
  Axes axes;
  double smallest = 1e18, largest = 1;
  for (const ReplayResult& cache : report.caches) {
    smallest = std::min(smallest, double(cache.capacity_blocks));
    largest = std::max(largest, double(cache.capacity_blocks));
    const double tenths = std::ceil(10 * Share(report, cache.hit_blocks) + 1e-9);
    axes.share_max = std::max(axes.share_max, tenths / 10);
  }
  axes.log_min = std::log10(std::min(smallest, largest));
  axes.log_max = std::max(std::log10(largest), axes.log_min + 0.1);
  return axes;
}

std::string DrawGrid(const ReplayReport& report, const Axes& axes) {
  std::string svg;
  for (int tenth = 0; tenth <= std::lround(10 * axes.share_max); ++tenth) {
    const double y = axes.Y(tenth / 10.0);
    svg += Format("<line x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\" stroke=\"#ddd\"/>", kLeft,
                  kWidth - kRight, y, y);
    svg += Format("<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"end\">%d %%</text>\n", kLeft - 6,
                  y + 4, 10 * tenth);
  }
  if (report.caches.empty()) return svg;
  for (const ReplayResult& cache : CachesOf(report, report.caches.front().policy)) {
    svg += Format("<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\">%zu</text>\n",
                  axes.X(double(cache.capacity_blocks)), kHeight - kBottom + 18,
                  cache.capacity_blocks);
  }
  return svg;
}

}  // namespace

Json ReplayJson(const ReplayReport& report) {
  Json caches = Json::array(), tiers = Json::array();
  for (const ReplayResult& cache : report.caches) {
    caches.push_back({{"policy", NameOf(cache.policy)},
                      {"blocks", cache.capacity_blocks},
                      {"hit_blocks", cache.hit_blocks},
                      {"hit_share", Share(report, cache.hit_blocks)}});
  }
  for (const TierReplayResult& result : report.lru_tiers) {
    tiers.push_back(TierJson(report, result, "lru"));
  }
  for (const TierReplayResult& result : report.tiers) {
    tiers.push_back(TierJson(report, result, "ours"));
  }
  return {{"trace", report.trace_name},
          {"requests", report.request_count},
          {"blocks", report.block_count},
          {"different_blocks", report.different_block_count},
          {"unbounded_hit_share", Share(report, report.unbounded_hit_blocks)},
          {"caches", std::move(caches)},
          {"tiers", std::move(tiers)}};
}

std::string ReplayMarkdown(const ReplayReport& report) {
  std::string text = report.trace_name + ": " + std::to_string(report.request_count) +
                     " requests, " + std::to_string(report.block_count) + " blocks, " +
                     std::to_string(report.different_block_count) +
                     Format(" different; a cache without bounds finds %.2f %%\n\n",
                            100 * Share(report, report.unbounded_hit_blocks));
  const std::vector<CachePolicy> policies = PoliciesOf(report);
  if (!policies.empty()) {
    std::string head = "| % of blocks found |", line = "|---|";
    for (const ReplayResult& cache : CachesOf(report, policies.front())) {
      head += Format(" %zu |", cache.capacity_blocks);
      line += "---|";
    }
    text += head + "\n" + line + "\n";
  }
  for (const CachePolicy policy : policies) {
    text += Format("| %s |", NameOf(policy));
    for (const ReplayResult& cache : CachesOf(report, policy)) {
      text += Format(" %.2f |", 100 * Share(report, cache.hit_blocks));
    }
    text += "\n";
  }
  text +=
      "\n| blocks in RAM | on disk | policy | writes | % found | % written | % found, later half | "
      "% written, later half |\n";
  text += "|---|---|---|---|---|---|---|---|\n";
  const size_t rule_count =
      report.lru_tiers.empty() ? 0 : report.tiers.size() / report.lru_tiers.size();
  for (size_t i = 0; i < report.lru_tiers.size(); ++i) {
    text += TierRow(report, report.lru_tiers[i], "lru");
    for (size_t j = i * rule_count; j < (i + 1) * rule_count; ++j) {
      text += TierRow(report, report.tiers[j], "ours");
    }
  }
  return text;
}

std::string ReplaySvg(const ReplayReport& report) {
  const Axes axes = AxesFor(report);
  std::string svg = Format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%g\" height=\"%g\" "
      "font-family=\"sans-serif\" font-size=\"11\">\n<rect width=\"100%%\" height=\"100%%\" "
      "fill=\"white\"/>\n",
      kWidth, kHeight);
  svg += Format("<text x=\"%g\" y=\"22\" font-size=\"13\">", kLeft) +
         EscapeXml("Blocks found, by cache size: " + report.trace_name) + "</text>\n" +
         DrawGrid(report, axes);
  svg += Format("<text x=\"%g\" y=\"%g\" text-anchor=\"middle\">blocks in the cache</text>\n",
                (kLeft + kWidth - kRight) / 2, kHeight - kBottom + 40);
  const std::vector<CachePolicy> policies = PoliciesOf(report);
  for (size_t i = 0; i < policies.size(); ++i) {
    std::string points;
    for (const ReplayResult& cache : CachesOf(report, policies[i])) {
      points += Format("%.1f,%.1f ", axes.X(double(cache.capacity_blocks)),
                       axes.Y(Share(report, cache.hit_blocks)));
    }
    const char* colour = kColours[i % std::size(kColours)];
    svg += Format("<polyline fill=\"none\" stroke=\"%s\" stroke-width=\"%d\" points=\"", colour,
                  policies[i] == CachePolicy::kAdaptive ? 4 : 2) +
           points + "\"/>\n";
    svg += Format("<text x=\"%g\" y=\"%g\" fill=\"%s\">%s</text>\n", kWidth - kRight + 16,
                  kTop + 16 * double(i + 1), colour, NameOf(policies[i]));
  }
  return svg + "</svg>\n";
}

}  // namespace kvasir
