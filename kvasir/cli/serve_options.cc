#include "kvasir/cli/serve_options.h"

#include <algorithm>
#include <utility>

#include "kvasir/base/mapped_file.h"
#include "kvasir/cli/flags.h"
#include "kvasir/cli/toml_file.h"
#include "kvasir/store/disk_store.h"

namespace kvasir {

namespace {

constexpr uint32_t kDayMs = 24 * 3600 * 1000;
constexpr size_t kKeyFileBytesMax = 1 << 20;

void AddModelSettings(ServeOptions* options, Settings* settings) {
  ModelOptions& model = options->model;
  settings->AddText("model", &options->model_path,
                    "GGUF file or Hugging Face directory\n(default: the default model)");
  settings->AddTexts("model-name", &options->model_names,
                     "what clients call it; several are aliases\n(default: its own name)");
  settings->AddCount("threads", &model.thread_count, 0, 1024,
                     "compute threads; 0: the usable cores");
  settings->AddCount("context", &model.context_tokens, 0, size_t{1} << 24,
                     "tokens of prompt and answer together;\n0: the model's own, at most " +
                         std::to_string(kContextTokensDefaultMax));
  settings->AddBytes("kv-bytes", &model.kv_bytes, 0, size_t{1} << 50,
                     "memory for keys and values; 0: enough for\nthe sequences");
  settings->AddName("kv", &model.kv_format, KvFormatsHelp(), IsKvFormat,
                    "format of keys and values; auto: that of\nkv-calibration");
  settings->AddText("kv-calibration", &options->kv_calibration_path,
                    "file of kvasir kv-calibrate, for the format auto");
  settings->AddChoice("kv-rotation", &model.kv_rotation, {"on", "off"},
                      "rotates heads that become integers");
  settings->AddCount("kv-open-blocks", &model.kv_open_blocks, 1, kKvOpenBlocksMax,
                     "blocks that wait together until they are\nquantised: 1, 2, 4 or 8");
  settings->AddChoice("activations", &model.activations, {"int8", "f32"},
                      "how inputs meet quantised weights");
  settings->AddChoice("target", &model.target, {"", "auto", "portable", "avx2", "avx512"},
                      "instruction set");
  settings->AddCount("chunk", &model.chunk_tokens, 1, 8192, "rows computed in one step at most");
  settings->AddCount("sequences", &options->engine.sequence_count_max, 1, 1024,
                     "requests in one batch");
  settings->AddSwitch("prefix-cache", &options->engine.prefix_cache,
                      "keeps what was computed for requests with the\nsame beginning");
  settings->AddText("kv-disk", &options->kv_disk,
                    "directory where that is kept on disk as well,\nand found after a restart");
  settings->AddBytes("kv-disk-bytes", &model.kv_disk_bytes, kDiskCapBytesMin, size_t{1} << 50,
                     "most that it takes there");
  settings->AddNumber(
      "prompt-share", &options->engine.prompt_share, 0, 100,
      "how much longer a step with decodes may take\nbecause prompts are read in it");
  settings->AddNumber("step-ms", &options->engine.step_ms_max, 1, 60'000,
                      "longest step with decodes in it");
  settings->AddCount("queue-tokens", &options->loop.queue_tokens_max, 1, size_t{1} << 40,
                     "prompt tokens that may wait; then 503");
  settings->AddCount("queue-requests", &options->loop.queue_count_max, 1, 1'000'000,
                     "requests that may wait; then 503");
}

void AddListenSettings(ServeOptions* options, Settings* settings) {
  HttpServerOptions& http = options->server.http;
  settings->AddText("host", &http.host, "address to listen on; empty: none");
  settings->AddCount("port", &options->port, 0, 65535, "port to listen on; 0: any free one");
  settings->AddText("unix-socket", &http.unix_socket, "path of a unix socket to listen on");
  settings->AddText("tls-cert", &http.tls_certificate, "PEM file with the certificate chain");
  settings->AddText("tls-key", &http.tls_key, "PEM file with its private key");
  settings->AddText("api-keys", &options->api_key_file, "TOML file with a [[key]] for each tenant");
  settings->AddSwitch("insecure", &options->server.insecure,
                      "may be reached from other machines without\na key");
  settings->AddTexts("cors-origin", &options->server.cors_origins,
                     "origin whose pages may use the API, or *");
  settings->AddTexts("allowed-host", &options->server.allowed_hosts,
                     "name in Host that is served without keys");
}

void AddLimitSettings(ServeOptions* options, Settings* settings) {
  HttpServerOptions& http = options->server.http;
  settings->AddCount("io-threads", &http.io_thread_count, 1, 64, "threads for connections");
  settings->AddCount("worker-threads", &http.worker_thread_count, 1, 64,
                     "threads that read requests");
  settings->AddCount("max-connections", &http.connection_count_max, 1, 1'000'000,
                     "open connections; then 503");
  settings->AddBytes("max-body", &http.limits.body_bytes_max, 1024, size_t{1} << 30,
                     "size of a request");
  settings->AddBytes("max-bodies", &http.body_bytes_total_max, 1024, size_t{1} << 40,
                     "size of all requests being received; then 503");
  settings->AddBytes("max-head", &http.limits.head_bytes_max, 1024, 1 << 20,
                     "size of a request's headers");
  settings->AddBytes("max-stream-queue", &http.stream_queue_bytes_max, 4096, 1 << 26,
                     "unread bytes of a stream; then it is cut");
  settings->AddCount("head-timeout-ms", &http.head_timeout_ms, 1, kDayMs,
                     "for a request's headers to arrive");
  settings->AddCount("body-timeout-ms", &http.body_timeout_ms, 1, kDayMs,
                     "for all of a request to arrive");
  settings->AddCount("idle-timeout-ms", &http.idle_timeout_ms, 1, kDayMs,
                     "between requests of a connection");
  settings->AddCount("write-timeout-ms", &http.write_timeout_ms, 1, kDayMs,
                     "without the client taking a byte");
  settings->AddCount("ping-ms", &http.ping_interval_ms, 1, kDayMs,
                     "of silence before a stream gets a comment");
  settings->AddCount("max-choices", &options->server.choice_count_max, 1, 1024,
                     "answers to one request");
  settings->AddCount("timeout-ms", &options->server.timeout_ms, 0, kDayMs,
                     "deadline of requests that name none; 0: none");
  settings->AddCount("max-timeout-ms", &options->server.timeout_ms_max, 1, kDayMs,
                     "deadline that a request may name");
  settings->AddCount("drain-seconds", &options->drain_seconds, 0, 86'400,
                     "for running answers when told to stop");
  settings->AddSwitch("strict", &options->server.strict, "refuses unknown members of requests");
  settings->AddSwitch("accept-any-model", &options->server.accept_any_model,
                      "whatever model a request names");
  settings->AddChoice("log-format", &options->log_format, {"text", "json", "off"},
                      "a line for each request, on standard error");
}

Status ReadKeyMember(const std::string& member, const Json& value, ApiKey* key) {
  const auto read_text = [&](std::string* target) {
    if (!value.is_string()) return InvalidArgument(member + " must be a text");
    *target = value.get<std::string>();
    return OkStatus();
  };
  const auto read_count = [&](uint64_t* target) {
    if (!value.is_number_integer() || value.get<int64_t>() < 0) {
      return InvalidArgument(member + " must be a whole number");
    }
    *target = value.get<uint64_t>();
    return OkStatus();
  };
  if (member == "name") return read_text(&key->name);
  if (member == "key") return read_text(&key->key);
  if (member == "group") return read_text(&key->group);
  if (member == "requests_per_minute") return read_count(&key->requests_per_minute_max);
  if (member == "concurrent_requests") return read_count(&key->concurrent_requests_max);
  if (member == "admin") {
    if (!value.is_boolean()) return InvalidArgument("admin must be true or false");
    key->admin = value.get<bool>();
    return OkStatus();
  }
  const std::vector<std::string> known = {
      "name", "key", "group", "requests_per_minute", "admin", "concurrent_requests"};
  const std::string nearest = NearestWord(member, known);
  return InvalidArgument("unknown member '" + member + "'" +
                         (nearest.empty() ? "" : "; did you mean " + nearest + "?"));
}

}  // namespace

void AddServeSettings(ServeOptions* options, Settings* settings) {
  AddListenSettings(options, settings);
  AddModelSettings(options, settings);
  AddLimitSettings(options, settings);
}

Result<std::vector<ApiKey>> ParseApiKeys(const std::string& toml, const std::string& name) {
  KVASIR_ASSIGN_OR_RETURN(const Json file, ParseToml(toml, name));
  std::vector<ApiKey> keys;
  for (const auto& [section, list] : file.items()) {
    if (section != "key" || !list.is_array()) {
      return InvalidArgument(name + ": '" + section + "' is not a [[key]] table");
    }
    for (const Json& table : list) {
      const std::string where = name + ": key " + std::to_string(keys.size() + 1);
      if (!table.is_object()) return InvalidArgument(where + " is not a table");
      ApiKey key;
      for (const auto& [member, value] : table.items()) {
        KVASIR_RETURN_IF_ERROR(ReadKeyMember(member, value, &key).WithContext(where));
      }
      keys.push_back(std::move(key));
    }
  }
  return keys;
}

Status FinishServeOptions(const Settings::Environment& environment, ServeOptions* options) {
  ServerOptions& server = options->server;
  server.http.port = static_cast<uint16_t>(options->port);
  server.log_format = options->log_format == "json"  ? LogFormat::kJson
                      : options->log_format == "off" ? LogFormat::kOff
                                                     : LogFormat::kText;
  if (!options->model_path.empty()) options->model.model_path = options->model_path;
  if (!options->kv_disk.empty()) options->model.kv_disk = options->kv_disk;
  if (!options->kv_calibration_path.empty()) {
    options->model.kv_calibration_path = options->kv_calibration_path;
  }
  if (!options->api_key_file.empty()) {
    KVASIR_ASSIGN_OR_RETURN(const std::string text,
                            ReadFile(options->api_key_file, kKeyFileBytesMax));
    KVASIR_ASSIGN_OR_RETURN(server.keys, ParseApiKeys(text, options->api_key_file));
  }
  const auto add_key = [&](const char* variable, const char* name, bool admin) {
    const char* value = environment(variable);
    if (value == nullptr || *value == '\0') return;
    ApiKey key;
    key.name = name;
    key.key = value;
    key.admin = admin;
    server.keys.push_back(std::move(key));
  };
  add_key("KVASIR_API_KEY", "default", /*admin=*/false);
  add_key("KVASIR_ADMIN_KEY", "admin", /*admin=*/true);
  return OkStatus();
}

}  // namespace kvasir
