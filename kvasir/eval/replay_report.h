// ReplayReport: what a replay measured, as JSON, as tables in Markdown and as an SVG chart. Pure
// functions, any thread.

#ifndef KVASIR_EVAL_REPLAY_REPORT_H_
#define KVASIR_EVAL_REPLAY_REPORT_H_

#include <cstddef>
#include <string>
#include <vector>

#include "kvasir/base/json.h"
#include "kvasir/eval/replay.h"

namespace kvasir {

struct ReplayReport {
  std::string trace_name;
  size_t request_count = 0;
  size_t block_count = 0;  // of all requests together, >= 1
  size_t different_block_count = 0;
  size_t unbounded_hit_blocks = 0;
  std::vector<ReplayResult> caches;
  std::vector<TierReplayResult> lru_tiers;
  std::vector<TierReplayResult> tiers;
};

// Shares are of all blocks, from 0 to 1.
Json ReplayJson(const ReplayReport& report);
// A line about the trace, the shares found in percent (a row for each policy, a column for each
// size), and what two tiers found and wrote.
std::string ReplayMarkdown(const ReplayReport& report);
// The share found over the size of the cache (logarithmic), a curve for each policy.
std::string ReplaySvg(const ReplayReport& report);

}  // namespace kvasir

#endif  // KVASIR_EVAL_REPLAY_REPORT_H_
