// kvasir replay: what caches of several sizes and policies would have found of a trace.

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "kvasir/cli/command.h"
#include "kvasir/cli/flags.h"
#include "kvasir/cli/json_output.h"
#include "kvasir/cli/output.h"
#include "kvasir/eval/replay.h"
#include "kvasir/eval/replay_report.h"
#include "kvasir/loadgen/trace_file.h"

namespace kvasir {

namespace {

constexpr const char* kFooter =
    "TRACE is in Mooncake's format: a JSON object a line with timestamp, input_length, "
    "output_length\n"
    "and hash_ids, one for each block of 512 tokens; - is standard input. Nothing is computed: "
    "blocks\n"
    "are counted. A block is found when it and all before it in its prompt are in the cache. "
    "Belady's\n"
    "policy knows the future: a guide to what is possible. docs/replay.md explains the tables.\n"
    "\n"
    "Examples:\n"
    "  zcat mooncake_conversation.jsonl.gz | kvasir replay -\n"
    "  kvasir replay trace.jsonl --blocks 2000 --policies lru,ours --disk-blocks 20000\n"
    "  kvasir replay trace.jsonl --json --svg hits.svg";

// Beyond it a cache holds every trace that fits into kInputBytesMax.
constexpr size_t kBlocksMax = 100'000'000;

struct CommandOptions {
  std::optional<std::string> trace_path;
  std::vector<size_t> blocks = {1000, 3000, 10000, 30000};
  std::vector<size_t> disk_blocks;
  std::optional<std::string> policies;
  std::optional<std::string> svg_path;
  size_t request_count_max = size_t{1} << 30;
  bool json = false;
};

// The policies that are named, in the order of the table; all when none is.
Result<std::vector<CachePolicy>> ParsePolicies(const std::optional<std::string>& text) {
  std::vector<CachePolicy> policies;
  std::string rest = text ? *text + "," : "";
  std::vector<std::string> known;
  for (const CachePolicyName& name : CachePolicyNames()) known.push_back(name.name);
  while (!rest.empty()) {
    const size_t comma = rest.find(',');
    const std::string word = rest.substr(0, comma);
    rest.erase(0, comma + 1);
    bool found = false;
    for (const CachePolicyName& name : CachePolicyNames()) {
      if (word != name.name) continue;
      policies.push_back(name.policy);
      found = true;
    }
    if (!found) {
      std::string all;
      for (const std::string& name : known) all += (all.empty() ? "" : ", ") + name;
      return InvalidArgument("--policies names \"" + word + "\", which is none of " + all);
    }
  }
  if (!text) {
    for (const CachePolicyName& name : CachePolicyNames()) policies.push_back(name.policy);
  }
  return policies;
}

ReplayReport Measure(const CommandOptions& options, const std::vector<CachePolicy>& policies,
                     const ReplayTrace& trace) {
  ReplayReport report;
  report.trace_name = *options.trace_path == "-" ? "standard input" : *options.trace_path;
  report.request_count = trace.request_sizes.size();
  report.block_count = trace.blocks.size();
  report.different_block_count = trace.block_count;
  report.unbounded_hit_blocks = UnboundedHitBlocks(trace);
  for (const CachePolicy policy : policies) {
    for (const size_t blocks : options.blocks) {
      report.caches.push_back(ReplayCache(trace, policy, blocks));
    }
  }
  for (size_t i = 0; i < options.blocks.size(); ++i) {
    const size_t ram = options.blocks[i];
    // Without sizes of its own, a disk holds ten times what memory does.
    const size_t disk = options.disk_blocks.empty() ? 10 * ram : options.disk_blocks[i];
    report.lru_tiers.push_back(ReplayLruTiers(trace, ram, disk));
    for (const WriteRule rule : {WriteRule::kAll, WriteRule::kSecondTouch, WriteRule::kAdmission}) {
      report.tiers.push_back(ReplayTiers(trace, ram, disk, rule));
    }
  }
  return report;
}

Status RunReplay(const CommandOptions& options) {
  KVASIR_ASSIGN_OR_RETURN(const std::vector<CachePolicy> policies, ParsePolicies(options.policies));
  if (!options.disk_blocks.empty() && options.disk_blocks.size() != options.blocks.size()) {
    return InvalidArgument("--disk-blocks has " + std::to_string(options.disk_blocks.size()) +
                           " sizes, but --blocks has " + std::to_string(options.blocks.size()) +
                           ": each cache in memory stands before one disk");
  }
  if (options.svg_path) KVASIR_RETURN_IF_ERROR(CheckOutput(*options.svg_path));
  KVASIR_ASSIGN_OR_RETURN(const std::string text, ReadInput(*options.trace_path));
  Result<std::vector<TraceRequest>> requests = ParseTrace(text, options.request_count_max);
  if (!requests.ok()) return requests.status().WithContext(*options.trace_path);
  std::vector<std::vector<uint64_t>> chains;
  for (TraceRequest& request : *requests) chains.push_back(std::move(request.hash_ids));
  const ReplayReport report = Measure(options, policies, MakeReplayTrace(chains));
  if (options.svg_path) {
    KVASIR_RETURN_IF_ERROR(WriteOutput(*options.svg_path, ReplaySvg(report)));
  }
  if (options.json) return PrintJson(ReplayJson(report));
  Output output;
  output.Write(ReplayMarkdown(report));
  return output.status();
}

}  // namespace

CommandFunction AddReplayCommand(CLI::App& parent) {
  auto options = std::make_shared<CommandOptions>();
  CLI::App& app =
      AddCommand(parent, "replay", "What caches would have found of a trace of requests", kFooter);
  AddTextArgument(app, "TRACE", &options->trace_path, "a trace in Mooncake's format");
  AddCountsFlag(app, "--blocks", &options->blocks, 1, kBlocksMax,
                "blocks that a cache holds\n(default: 1000,3000,10000,30000)");
  AddCountsFlag(app, "--disk-blocks", &options->disk_blocks, 1, kBlocksMax,
                "blocks of the disk behind each of them\n(default: ten times as many)");
  AddTextFlag(app, "--policies", &options->policies, "NAMES",
              "of fifo, lru, lfu, 2q, arc, s3-fifo, ours, belady\n(default: all)");
  AddCountFlag(app, "--requests", &options->request_count_max, 1, size_t{1} << 30,
               "requests of the trace at most");
  AddTextFlag(app, "--svg", &options->svg_path, "PATH", "write a chart of the shares found");
  AddSwitch(app, "--json", &options->json, "print one JSON object");
  return [options] { return RunReplay(*options); };
}

}  // namespace kvasir
