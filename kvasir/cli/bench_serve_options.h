// BenchServeOptions: the flags of `kvasir bench serve`, and the checks that need several of them or
// the surroundings. Main thread.

#ifndef KVASIR_CLI_BENCH_SERVE_OPTIONS_H_
#define KVASIR_CLI_BENCH_SERVE_OPTIONS_H_

#include <cstddef>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "kvasir/base/status.h"
#include "kvasir/loadgen/figures.h"
#include "kvasir/loadgen/load_client.h"
#include "kvasir/loadgen/workload.h"

namespace CLI {
class App;
}

namespace kvasir {

struct BenchServeFlags {
  std::optional<std::string> url, model, name, api_key;
  std::optional<std::string> compare_url, compare_model, compare_name, compare_api_key;
  std::string endpoint = "chat";
  std::optional<std::string> tokenizer_path;
  bool respect_eos = false;
  float temperature = 0;
  std::optional<std::string> extra;

  // 0 = not given
  size_t requests = 0, input_tokens = 0, output_tokens = 0, concurrency = 0;
  float rate = 0;
  size_t users = 0, turns = 0;
  size_t shared_prefix = 0;
  bool warm_prefix = false;
  size_t beside = 0;
  std::optional<std::string> trace_path;
  float trace_speed = 0, trace_scale = 0;
  size_t trace_requests = 0;
  size_t seed = 0;

  size_t rounds = 1, warmup = 1;
  float slo_ttft_ms = 0, slo_itl_ms = 0;
  size_t time_limit_s = 600, request_timeout_s = 300, connect_timeout_ms = 5000;
  std::optional<std::string> json_path, svg_path;
};

// What the flags come to.
struct BenchServeOptions {
  std::vector<LoadTarget> targets;  // one, or two to compare
  WorkloadOptions workload;
  LatencyGoals goals;
  LoadLimits limits;  // but for the deadline, which counts from the start
  size_t round_count = 1;
  size_t warmup_count = 1;
  size_t time_limit_s = 600;
  std::string tokenizer_path;  // empty: a server is asked
  std::string json_path;       // empty: none; "-": standard output
  std::string svg_path;
};

void AddBenchServeFlags(CLI::App& app, BenchServeFlags* flags);

// kInvalidArgument names flags that do not go together, and values that are wrong. Reads the trace.
// `getenv` gives KVASIR_API_KEY, the key of a server whose own is not among the flags.
Result<BenchServeOptions> ReadBenchServeFlags(
    const BenchServeFlags& flags, const std::function<const char*(const char*)>& getenv);

}  // namespace kvasir

#endif  // KVASIR_CLI_BENCH_SERVE_OPTIONS_H_
