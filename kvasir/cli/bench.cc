// kvasir bench: tokens per second of reading and writing, and what a barrier of the threads costs.
// The load generator for servers, kvasir bench serve, is in bench_serve.cc.

#include <sys/utsname.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "kvasir/base/json.h"
#include "kvasir/base/thread_pool.h"
#include "kvasir/base/topology.h"
#include "kvasir/cli/bench_encode.h"
#include "kvasir/cli/bench_runner.h"
#include "kvasir/cli/command.h"
#include "kvasir/cli/flags.h"
#include "kvasir/cli/json_output.h"
#include "kvasir/cli/model_options.h"
#include "kvasir/cli/output.h"
#include "kvasir/cli/progress.h"
#include "kvasir/kernels/cpu_target.h"

namespace kvasir {

namespace {

constexpr const char* kFooter =
    "Tests: ppN reads a prompt of N tokens, tgN writes N tokens. --depth D and --prompt P put D + "
    "P\n"
    "tokens in front of the measured part of each sequence, untimed. Each test runs once to warm "
    "up\n"
    "and then --repetitions times; figures are tokens per second of all sequences together, and "
    "the\n"
    "share of the time that encoding keys and values takes, measured by itself.\n"
    "\n"
    "Examples:\n"
    "  kvasir bench\n"
    "  kvasir bench --tests tg64 --depth 2048 --kv bf16\n"
    "  kvasir bench --tests tg32 --sequences 16 --prompt 128 --json\n"
    "  kvasir bench --tests pp2080 --sequences 16 --shared-prefix 2048\n"
    "  kvasir bench --pool                 microseconds of one fork and join of the threads\n"
    "  kvasir bench serve --url http://127.0.0.1:8080      load on a server: see its own --help";

struct BenchOptions {
  ModelOptions model;
  BenchSettings settings;
  std::optional<std::string> tests;
  bool pool = false;
  bool json = false;
};

struct BenchRow {
  BenchTest test;
  std::vector<double> rates;  // rising
  double encode_share = 0;    // of the time that the median stands for
};

double Median(const std::vector<double>& rising) {
  const size_t half = rising.size() / 2;
  return rising.size() % 2 == 1 ? rising[half] : (rising[half - 1] + rising[half]) / 2;
}

std::string MachineDescription() {
  utsname names = {};
  uname(&names);
  return std::string(names.sysname) + " " + names.machine + ", " +
         std::to_string(UsableCoreCount()) + " usable cores, " +
         FormatBytes(static_cast<double>(AvailableMemoryBytes())) + " available";
}

Status PrintJsonRows(const BenchOptions& options, const LoadedModel& loaded,
                     const std::vector<BenchRow>& rows) {
  Json json_rows = Json::array();
  for (const BenchRow& row : rows) {
    json_rows.push_back({{"test", row.test.Name()},
                         {"depth", options.settings.depth},
                         {"sequences", options.settings.sequence_count},
                         {"prompt", options.settings.prompt},
                         {"shared_prefix", options.settings.shared_prefix},
                         {"prefix_cache", options.model.prefix_cache()},
                         {"weights", loaded.weights_label},
                         {"kv", options.model.kv_format},
                         {"kv_rotation", options.model.kv_rotation},
                         {"kv_open_blocks", options.model.kv_open_blocks},
                         {"block_select_tokens", options.settings.block_select_tokens},
                         {"encode_share", row.encode_share},
                         {"tokens_per_second_median", Median(row.rates)},
                         {"tokens_per_second_min", row.rates.front()},
                         {"tokens_per_second_max", row.rates.back()},
                         {"repetitions", row.rates.size()}});
  }
  return PrintJson({{"machine", MachineDescription()},
                    {"cpu", CpuModelName()},
                    {"target", CpuTargetName(ActiveCpuTarget())},
                    {"numerics_class", NumericsClass(ActiveCpuTarget())},
                    {"threads", loaded.pool->thread_count()},
                    {"model", loaded.name},
                    {"activations", options.model.activations},
                    {"resident_bytes", ResidentBytes()},
                    {"rows", std::move(json_rows)}});
}

Status PrintTable(const BenchOptions& options, const LoadedModel& loaded,
                  const std::vector<BenchRow>& rows) {
  Output output;
  const size_t selected = options.settings.block_select_tokens;
  output.Write(loaded.name + ", " + std::to_string(loaded.pool->thread_count()) + " threads of " +
               CpuModelName() + ", " + std::string(CpuTargetName(ActiveCpuTarget())) + ", " +
               options.model.activations + " activations" +
               (selected == 0 ? "" : ", at most " + std::to_string(selected) + " tokens read") +
               "\n\n");
  output.Write(
      "test        depth  sequences  prompt  weights  kv      tokens/s       min       max  "
      "encoding\n");
  for (const BenchRow& row : rows) {
    char line[160];
    std::snprintf(
        line, sizeof(line), "%-10s %6zu %10zu %7zu  %-7s  %-4s %11.2f %9.2f %9.2f  %6.2f %%\n",
        row.test.Name().c_str(), options.settings.depth, options.settings.sequence_count,
        options.settings.prompt, loaded.weights_label.c_str(), options.model.kv_format.c_str(),
        Median(row.rates), row.rates.front(), row.rates.back(), 100 * row.encode_share);
    output.Write(line);
  }
  return output.status();
}

// Microseconds of ThreadPool::Run with nothing to do: what each parallel piece of a step costs on
// top of its work. Medians of many runs, because a busy machine disturbs single ones.
Status RunPoolBench(const BenchOptions& options) {
  using Clock = std::chrono::steady_clock;
  constexpr int kSeriesCount = 51, kRunsPerSeries = 1000;
  ThreadPool pool(options.model.thread_count == 0 ? UsableCoreCount() : options.model.thread_count);
  std::vector<double> times_us;
  for (int series = 0; series <= kSeriesCount; ++series) {
    const Clock::time_point start = Clock::now();
    for (int run = 0; run < kRunsPerSeries; ++run) pool.Run([](size_t) {});
    const double us = std::chrono::duration<double, std::micro>(Clock::now() - start).count();
    if (series > 0) times_us.push_back(us / kRunsPerSeries);  // the first one warms up
  }
  std::sort(times_us.begin(), times_us.end());
  if (options.json) {
    return PrintJson({{"machine", MachineDescription()},
                      {"cpu", CpuModelName()},
                      {"threads", pool.thread_count()},
                      {"barrier_us_median", Median(times_us)},
                      {"barrier_us_min", times_us.front()},
                      {"barrier_us_max", times_us.back()}});
  }
  char line[160];
  std::snprintf(line, sizeof(line),
                "fork and join of %zu threads: %.2f us (median; min %.2f, max %.2f)\n",
                pool.thread_count(), Median(times_us), times_us.front(), times_us.back());
  Output output;
  output.Write(line);
  return output.status();
}

Status RunBench(BenchOptions options) {
  if (options.pool) return RunPoolBench(options);
  Result<std::vector<BenchTest>> tests = ParseBenchTests(options.tests.value_or("pp512,tg64"));
  if (!tests.ok()) return tests.status().WithContext("--tests");
  BenchSettings& settings = options.settings;
  KVASIR_ASSIGN_OR_RETURN(const LoadedModel loaded,
                          LoadModelFor(options.model, settings.sequence_count));
  settings.chunk_tokens = std::max(options.model.chunk_tokens, settings.sequence_count);
  settings.kv_format = KvFormatFor(options.model);
  settings.kv_layers = loaded.kv_layers;
  settings.kv_rotation = options.model.rotates_kv();
  settings.kv_open_blocks = options.model.kv_open_blocks;
  settings.share_blocks = options.model.prefix_cache();
  KVASIR_ASSIGN_OR_RETURN(const std::unique_ptr<BenchRunner> runner,
                          BenchRunner::Create(*loaded.model, settings, *tests));
  std::vector<BenchRow> rows;
  ProgressBar progress("measuring", StderrIsTerminal());
  for (const BenchTest& test : *tests) {
    progress.Update(static_cast<double>(rows.size()) / static_cast<double>(tests->size()));
    KVASIR_ASSIGN_OR_RETURN(std::vector<double> rates, runner->Run(test));
    rows.push_back({test, std::move(rates)});
  }
  KVASIR_ASSIGN_OR_RETURN(
      const KvEncodeSeconds encode,
      MeasureKvEncoding(runner->kv_layout(), settings.chunk_tokens, *loaded.pool));
  for (BenchRow& row : rows) {
    const bool is_prompt = row.test.kind == BenchTest::Kind::kPrompt;
    row.encode_share = Median(row.rates) * (is_prompt ? encode.prompt_token : encode.decode_token);
  }
  progress.Finish();
  return options.json ? PrintJsonRows(options, loaded, rows) : PrintTable(options, loaded, rows);
}

}  // namespace

CommandFunction AddBenchCommand(CLI::App& parent) {
  auto options = std::make_shared<BenchOptions>();
  CLI::App& app = AddCommand(parent, "bench", "Tokens per second", kFooter);
  AddTextFlag(app, "--tests", &options->tests, "LIST", "tests, with commas (default: pp512,tg64)");
  AddCountFlag(app, "--depth", &options->settings.depth, 0, size_t{1} << 20,
               "tokens in front of the measured part (default: 0)");
  AddCountFlag(app, "--sequences", &options->settings.sequence_count, 1, 1024,
               "sequences side by side (default: 1)");
  AddCountFlag(app, "--prompt", &options->settings.prompt, 0, size_t{1} << 20,
               "tokens of each sequence's prompt, read before\nthe measured part (default: 0)");
  AddCountFlag(app, "--shared-prefix", &options->settings.shared_prefix, 0, size_t{1} << 20,
               "first tokens that all sequences have in common,\nread once (default: 0)");
  AddCountFlag(app, "--repetitions", &options->settings.repetitions, 1, 1000,
               "measured runs of each test (default: 5)");
  AddCountFlag(app, "--block-select", &options->settings.block_select_tokens, 0, size_t{1} << 24,
               "tokens that a tg test reads of a longer context,\nsee kvasir chat --help (default: "
               "0 = all)");
  AddSwitch(app, "--pool", &options->pool, "measure the barrier of the threads, no model");
  AddSwitch(app, "--json", &options->json, "print one JSON object");
  AddModelFlags(app, ModelFlags::kKernel, &options->model);
  AddPrefixCacheFlag(app, &options->model);
  auto serve_chosen = std::make_shared<bool>(false);
  const CommandFunction serve = AddBenchServeCommand(app, serve_chosen.get());
  return [options, serve, serve_chosen] { return *serve_chosen ? serve() : RunBench(*options); };
}

}  // namespace kvasir
