#include "kvasir/cli/bench_serve_options.h"

#include <chrono>
#include <limits>
#include <utility>

#include "kvasir/base/json.h"
#include "kvasir/cli/flags.h"
#include "kvasir/cli/output.h"

namespace kvasir {

namespace {

constexpr const char* kUrlDefault = "http://127.0.0.1:8080";
constexpr size_t kTokensMax = size_t{1} << 20;
constexpr size_t kRequestsMax = 1'000'000;
constexpr size_t kTraceRequestsDefault = 100;

void AddServerFlags(CLI::App& app, BenchServeFlags* flags) {
  AddTextFlag(app, "--url", &flags->url, "URL", "the server (default: http://127.0.0.1:8080)");
  AddTextFlag(app, "--model", &flags->model, "NAME",
              "the model's name there (default: the first that\nthe server lists)");
  AddTextFlag(app, "--name", &flags->name, "NAME", "what tables and charts call it");
  AddTextFlag(app, "--api-key", &flags->api_key, "KEY",
              "its key; others on the machine can read flags,\nKVASIR_API_KEY is read too");
  AddTextFlag(app, "--compare", &flags->compare_url, "URL",
              "a second server, measured in turns with the first");
  AddTextFlag(app, "--compare-model", &flags->compare_model, "NAME", "the model's name there");
  AddTextFlag(app, "--compare-name", &flags->compare_name, "NAME",
              "what tables and charts call it");
  AddTextFlag(app, "--compare-api-key", &flags->compare_api_key, "KEY", "its key");
  AddChoiceFlag(app, "--endpoint", &flags->endpoint, {"chat", "completions"},
                "which of OpenAI's endpoints (default: chat)");
  AddTextFlag(app, "--tokenizer", &flags->tokenizer_path, "MODEL",
              "a model file or directory whose tokenizer makes\nprompts the right length (default: "
              "the server's\n/tokenize)");
  AddSwitch(app, "--respect-eos", &flags->respect_eos,
            "let answers end where the model ends them; else\nignore_eos is sent");
  AddNumberFlag(app, "--temperature", &flags->temperature, 0, 10, "of sampling (default: 0)");
  AddTextFlag(app, "--extra", &flags->extra, "JSON",
              "an object whose members are added to every request");
}

void AddWorkloadFlags(CLI::App& app, BenchServeFlags* flags) {
  AddCountFlag(app, "--requests", &flags->requests, 1, kRequestsMax,
               "requests of a round (default: 16)");
  AddCountFlag(app, "--input", &flags->input_tokens, 1, kTokensMax,
               "tokens of each user's message (default: 256)");
  AddCountFlag(app, "--output", &flags->output_tokens, 1, kTokensMax,
               "tokens of each answer (default: 64)");
  AddCountFlag(app, "--concurrency", &flags->concurrency, 1, 65536,
               "closed loop: so many requests at any time\n(default: all at once)");
  AddNumberFlag(app, "--rate", &flags->rate, 0.001f, 100000,
                "open loop: so many requests a second, Poisson");
  AddCountFlag(app, "--users", &flags->users, 1, 65536,
               "chats: each user sends the whole conversation with\nthe server's answers, turn by "
               "turn");
  AddCountFlag(app, "--turns", &flags->turns, 1, 1000, "turns of each user (default: 6)");
  AddCountFlag(app, "--shared-prefix", &flags->shared_prefix, 1, kTokensMax,
               "tokens that all conversations begin with; anew in\neach round");
  AddSwitch(app, "--warm-prefix", &flags->warm_prefix,
            "the shared prefix is read once before anything is\nmeasured, and stays");
  AddCountFlag(app, "--beside", &flags->beside, 1, kTokensMax,
               "while one answer is written, prompts of so many\ntokens are read beside it");
  AddTextFlag(app, "--trace", &flags->trace_path, "FILE",
              "replay a trace in Mooncake's format, - for\nstandard input");
  AddNumberFlag(app, "--trace-speed", &flags->trace_speed, 0.001f, 100000,
                "times faster than it happened (default: 1)");
  AddNumberFlag(app, "--trace-scale", &flags->trace_scale, 0.0001f, 100,
                "factor on lengths, e.g. 0.05 (default: 1)");
  AddCountFlag(app, "--trace-requests", &flags->trace_requests, 1, kRequestsMax,
               "only its first requests (default: 100)");
}

void AddRunFlags(CLI::App& app, BenchServeFlags* flags) {
  AddCountFlag(app, "--rounds", &flags->rounds, 1, 1000,
               "times that the workload is run, with new texts\n(default: 1)");
  AddCountFlag(app, "--warmup", &flags->warmup, 0, 1000,
               "short requests before the first round (default: 1)");
  AddNumberFlag(app, "--slo-ttft-ms", &flags->slo_ttft_ms, 0.001f, 1e9f,
                "goodput: the time to the first token is at most\nthis");
  AddNumberFlag(app, "--slo-itl-ms", &flags->slo_itl_ms, 0.001f, 1e9f,
                "goodput: 99 % of a request's gaps are at most this");
  AddCountFlag(app, "--time-limit", &flags->time_limit_s, 1, 7 * 24 * 3600,
               "seconds for everything (default: 600)");
  AddCountFlag(app, "--request-timeout", &flags->request_timeout_s, 1, 24 * 3600,
               "seconds for a request (default: 300)");
  AddCountFlag(app, "--connect-timeout-ms", &flags->connect_timeout_ms, 1, 600'000,
               "for a connection (default: 5000)");
  AddTextFlag(app, "--json", &flags->json_path, "FILE",
              "write all figures as JSON; - prints them instead\nof the table");
  AddTextFlag(app, "--svg", &flags->svg_path, "FILE", "write the distributions as a chart");
}

Status Excludes(bool first, const char* first_name, bool second, const char* second_name) {
  if (!first || !second) return OkStatus();
  return InvalidArgument(std::string(first_name) + " and " + second_name + " do not go together");
}

Status CheckTogether(const BenchServeFlags& flags) {
  const bool trace = flags.trace_path.has_value();
  const std::pair<bool, const char*> kNotWithTrace[] = {
      {flags.requests > 0, "--requests"},    {flags.input_tokens > 0, "--input"},
      {flags.output_tokens > 0, "--output"}, {flags.rate > 0, "--rate"},
      {flags.users > 0, "--users"},          {flags.shared_prefix > 0, "--shared-prefix"},
      {flags.beside > 0, "--beside"}};
  for (const auto& [given, name] : kNotWithTrace) {
    KVASIR_RETURN_IF_ERROR(Excludes(trace, "--trace", given, name));
  }
  KVASIR_RETURN_IF_ERROR(
      Excludes(flags.concurrency > 0, "--concurrency", flags.rate > 0, "--rate"));
  KVASIR_RETURN_IF_ERROR(Excludes(flags.users > 0, "--users", flags.requests > 0, "--requests"));
  KVASIR_RETURN_IF_ERROR(Excludes(flags.beside > 0, "--beside", flags.users > 0, "--users"));
  const bool trace_flag =
      flags.trace_speed > 0 || flags.trace_scale > 0 || flags.trace_requests > 0;
  if (trace_flag && !trace) return InvalidArgument("--trace-... flags need --trace");
  if (flags.turns > 0 && flags.users == 0) return InvalidArgument("--turns needs --users");
  if (flags.warm_prefix && flags.shared_prefix == 0) {
    return InvalidArgument("--warm-prefix needs --shared-prefix");
  }
  const bool second = flags.compare_model || flags.compare_name || flags.compare_api_key;
  if (second && !flags.compare_url) return InvalidArgument("--compare-... flags need --compare");
  if (flags.svg_path == "-") return InvalidArgument("--svg needs the name of a file, not -");
  return OkStatus();
}

Result<LoadTarget> ReadTarget(const char* flag, const std::string& url,
                              const std::optional<std::string>& name, const ApiStyle& style,
                              const std::optional<std::string>& model,
                              const std::optional<std::string>& key, const char* key_otherwise) {
  LoadTarget target;
  Result<ServerUrl> parsed = ParseServerUrl(url);
  if (!parsed.ok()) return parsed.status().WithContext(flag);
  target.url = std::move(*parsed);
  target.name = name.value_or(target.url.host + ":" + target.url.port);
  target.style = style;
  target.style.model = model.value_or("");
  target.api_key = key.value_or(key_otherwise == nullptr ? "" : key_otherwise);
  for (const char c : target.api_key) {
    if (static_cast<unsigned char>(c) <= 0x20 || static_cast<unsigned char>(c) >= 0x7F) {
      return InvalidArgument("the key for " + std::string(flag) +
                             " has a character that no header can carry");
    }
  }
  return target;
}

Status ReadWorkload(const BenchServeFlags& flags, WorkloadOptions* workload) {
  const auto otherwise = [](auto given, auto standard) { return given > 0 ? given : standard; };
  const size_t requests = otherwise(flags.requests, size_t{flags.beside > 0 ? 1u : 16u});
  workload->request_count = otherwise(flags.users, requests);
  workload->turn_count = flags.users > 0 ? otherwise(flags.turns, size_t{6}) : 1;
  workload->input_tokens = otherwise(flags.input_tokens, size_t{256});
  workload->output_tokens = otherwise(flags.output_tokens, size_t{64});
  workload->shared_prefix_tokens = flags.shared_prefix;
  workload->warm_prefix = flags.warm_prefix;
  workload->concurrency = flags.concurrency;
  workload->rate_per_s = static_cast<double>(flags.rate);
  workload->beside_tokens = flags.beside;
  workload->trace_speed = static_cast<double>(otherwise(flags.trace_speed, 1.0f));
  workload->trace_scale = static_cast<double>(otherwise(flags.trace_scale, 1.0f));
  // Another run must not find this one's prompts in a server's cache.
  const auto now = std::chrono::system_clock::now().time_since_epoch().count();
  workload->seed = otherwise(flags.seed, static_cast<size_t>(now) & 0xFFFFFFFF);
  if (!flags.trace_path) return OkStatus();
  KVASIR_ASSIGN_OR_RETURN(const std::string text, ReadInput(*flags.trace_path));
  Result<std::vector<TraceRequest>> trace =
      ParseTrace(text, otherwise(flags.trace_requests, kTraceRequestsDefault));
  if (!trace.ok()) return trace.status().WithContext("--trace " + *flags.trace_path);
  workload->trace = std::move(*trace);
  return OkStatus();
}

Result<ApiStyle> ReadStyle(const BenchServeFlags& flags) {
  ApiStyle style;
  style.endpoint = flags.endpoint == "chat" ? ApiEndpoint::kChat : ApiEndpoint::kCompletions;
  style.ignore_eos = !flags.respect_eos;
  style.temperature = flags.temperature;
  if (flags.extra) {
    Result<Json> extra = ParseJson(*flags.extra);
    if (!extra.ok()) return extra.status().WithContext("--extra");
    if (!extra->is_object()) return InvalidArgument("--extra: it is no JSON object");
    if (extra->contains("stream")) {
      return InvalidArgument("--extra: stream must stay true, only streams are measured");
    }
    style.extra = std::move(*extra);
  }
  return style;
}

}  // namespace

void AddBenchServeFlags(CLI::App& app, BenchServeFlags* flags) {
  AddServerFlags(app, flags);
  AddWorkloadFlags(app, flags);
  AddCountFlag(app, "--seed", &flags->seed, 0, std::numeric_limits<size_t>::max(),
               "of texts and arrival times; the same one again finds\nits prompts in a server's "
               "cache (default: 0 = the time)");
  AddRunFlags(app, flags);
}

Result<BenchServeOptions> ReadBenchServeFlags(
    const BenchServeFlags& flags, const std::function<const char*(const char*)>& getenv) {
  KVASIR_RETURN_IF_ERROR(CheckTogether(flags));
  BenchServeOptions options;
  KVASIR_ASSIGN_OR_RETURN(const ApiStyle style, ReadStyle(flags));
  const char* key = getenv("KVASIR_API_KEY");
  KVASIR_ASSIGN_OR_RETURN(LoadTarget target,
                          ReadTarget("--url", flags.url.value_or(kUrlDefault), flags.name, style,
                                     flags.model, flags.api_key, key));
  options.targets.push_back(std::move(target));
  if (flags.compare_url) {
    KVASIR_ASSIGN_OR_RETURN(LoadTarget second,
                            ReadTarget("--compare", *flags.compare_url, flags.compare_name, style,
                                       flags.compare_model, flags.compare_api_key, key));
    options.targets.push_back(std::move(second));
  }
  KVASIR_RETURN_IF_ERROR(ReadWorkload(flags, &options.workload));
  options.goals = {static_cast<double>(flags.slo_ttft_ms), static_cast<double>(flags.slo_itl_ms)};
  options.limits.connect_timeout = std::chrono::milliseconds(flags.connect_timeout_ms);
  options.limits.request_timeout = std::chrono::seconds(flags.request_timeout_s);
  options.round_count = flags.rounds;
  options.warmup_count = flags.warmup;
  options.time_limit_s = flags.time_limit_s;
  options.tokenizer_path = flags.tokenizer_path.value_or("");
  options.json_path = flags.json_path.value_or("");
  options.svg_path = flags.svg_path.value_or("");
  return options;
}

}  // namespace kvasir
