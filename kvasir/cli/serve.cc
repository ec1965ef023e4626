// kvasir serve: the model behind an OpenAI-compatible HTTP server, until told to stop.

#include <sys/prctl.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "kvasir/cli/command.h"
#include "kvasir/cli/flags.h"
#include "kvasir/cli/serve_options.h"
#include "kvasir/cli/settings.h"
#include "kvasir/cli/stop_signals.h"
#include "kvasir/cli/version.h"
#include "kvasir/formats/kv_codec.h"
#include "kvasir/server/server.h"

namespace kvasir {

namespace {

constexpr const char* kFooter =
    "Every setting may also stand in a TOML file (--config, or KVASIR_CONFIG) as max_connections, "
    "or in\n"
    "the environment as KVASIR_MAX_CONNECTIONS; a flag is stronger than the environment, and that "
    "is\n"
    "stronger than the file. API keys come from KVASIR_API_KEY, KVASIR_ADMIN_KEY or --api-keys.\n"
    "\n"
    "Examples:\n"
    "  kvasir serve\n"
    "  kvasir serve --model llama.gguf --port 9000 --sequences 32\n"
    "  KVASIR_API_KEY=long-secret kvasir serve --host 0.0.0.0\n"
    "  kvasir serve --config kvasir.toml --print-config";

struct ServeCommand {
  ServeOptions options;
  Settings settings;
  std::optional<std::string> config_path;
  bool print_config = false;
};

// "models/SmolLM2-135M-Instruct.Q4_1.gguf" -> "SmolLM2-135M-Instruct.Q4_1": what people who started
// the server know; the names inside files are all sorts of things.
std::string NameForClients(const std::string& path) {
  std::filesystem::path name(path);
  if (!name.has_filename()) name = name.parent_path();
  return name.extension() == ".gguf" ? name.stem().string() : name.filename().string();
}

Result<std::unique_ptr<ServedModel>> LoadServedModel(const ServeOptions& options) {
  const size_t sequence_count = options.engine.sequence_count_max;
  KVASIR_ASSIGN_OR_RETURN(LoadedModel loaded, LoadModelFor(options.model, sequence_count));
  const ModelSpec& spec = loaded.model->spec();
  KVASIR_ASSIGN_OR_RETURN(EngineOptions engine_options,
                          EngineOptionsFor(options.model, loaded, sequence_count));
  engine_options.prefix_cache = options.engine.prefix_cache;
  engine_options.prompt_share = options.engine.prompt_share;
  engine_options.step_ms_max = options.engine.step_ms_max;
  KVASIR_ASSIGN_OR_RETURN(auto engine, Engine::Create(*loaded.model, engine_options));
  const EngineStats stats = engine->stats();
  ServedModel::Parts parts;
  parts.names = options.model_names;
  if (parts.names.empty()) parts.names.push_back(NameForClients(loaded.path));
  parts.created_s = std::chrono::duration_cast<std::chrono::seconds>(
                        std::chrono::system_clock::now().time_since_epoch())
                        .count();
  parts.details = {{"family", spec.family},
                   {"weights", loaded.weights_label},
                   {"n_ctx_train", spec.context_length},
                   {"kv_format", options.model.kv_format},
                   {"kv_bits_per_element", stats.kv_bits_per_element},
                   {"kv_rotation", stats.kv_rotated ? kKvRotationName : "none"},
                   {"kv_bytes", stats.kv_bytes}};
  parts.tokenizer = std::move(loaded.tokenizer);
  parts.chat_template = loaded.chat_template;
  KVASIR_ASSIGN_OR_RETURN(parts.loop, EngineLoop::Create(std::move(engine), options.loop));
  parts.resources = std::make_shared<LoadedModel>(std::move(loaded));
  return ServedModel::Create(std::move(parts));
}

// "int8, 8.27 bits, rotation hadamard".
std::string KvDescription(const EngineStats& stats) {
  char bits[32];
  std::snprintf(bits, sizeof(bits), "%.2f", stats.kv_bits_per_element);
  return stats.kv_format + ", " + bits + " bits, rotation " +
         (stats.kv_rotated ? std::string(kKvRotationName) : "none");
}

void PrintReady(const Server& server, const ServedModel& model, const ServeOptions& options) {
  const HttpServerOptions& http = options.server.http;
  const std::string scheme = http.tls_certificate.empty() ? "http" : "https";
  const std::string host =
      http.host.find(':') == std::string::npos ? http.host : "[" + http.host + "]";
  const std::string url = scheme + "://" + host + ":" + std::to_string(server.port());
  std::fprintf(stderr,
               "kvasir: %s is ready, %zu tokens of context, %zu at once, keys and values in %s\n",
               model.id().c_str(), model.context_tokens(), options.engine.sequence_count_max,
               KvDescription(model.loop().stats()).c_str());
  if (http.host.empty()) return;
  std::fprintf(stderr,
               "kvasir: try  curl %s/v1/chat/completions -H 'Content-Type: application/json' -d "
               "'{\"messages\": [{\"role\": \"user\", \"content\": \"Hello\"}]}'\n",
               url.c_str());
}

// Until the running answers have ended, the patience is over, or somebody signals again.
void Drain(Server& server, StopSignals& signals, uint32_t drain_seconds) {
  constexpr int kPollMs = 50;
  const size_t seen = signals.count();
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(drain_seconds);
  server.BeginDrain();
  std::fprintf(stderr, "kvasir: stopping; running answers have %u s, a second signal ends them\n",
               drain_seconds);
  while (!server.idle() && signals.count() == seen && std::chrono::steady_clock::now() < deadline) {
    signals.Wait(seen, kPollMs);
  }
}

Status Serve(ServeCommand& command) {
  const auto environment = [](const char* name) -> const char* { return std::getenv(name); };
  const char* config_variable = std::getenv("KVASIR_CONFIG");
  const std::string config_path =
      command.config_path.value_or(config_variable == nullptr ? "" : config_variable);
  KVASIR_RETURN_IF_ERROR(command.settings.Apply(config_path, environment));
  if (command.print_config) {
    std::fputs(command.settings.Print().c_str(), stdout);
    return OkStatus();
  }
  ServeOptions& options = command.options;
  KVASIR_RETURN_IF_ERROR(FinishServeOptions(environment, &options));
  options.server.version = std::string(kKvasirVersion);
  for (const std::string& name : command.settings.UnknownVariables(environ)) {
    std::fprintf(stderr, "kvasir: the variable %s is no setting and is ignored\n", name.c_str());
  }
  // Keys are in memory: no core dump may hold them.
  if (!options.server.keys.empty()) prctl(PR_SET_DUMPABLE, 0);

  KVASIR_ASSIGN_OR_RETURN(const auto server, Server::Start(options.server));
  if (!options.server.http.host.empty()) {
    std::fprintf(stderr, "kvasir: listening on %s port %u\n", options.server.http.host.c_str(),
                 server->port());
  }
  KVASIR_ASSIGN_OR_RETURN(auto model, LoadServedModel(options));
  StopSignals signals;
  PrintReady(*server, *model, options);
  server->SetModel(std::move(model));
  signals.Wait(0, -1);
  Drain(*server, signals, options.drain_seconds);
  server->Stop();
  return OkStatus();
}

}  // namespace

CommandFunction AddServeCommand(CLI::App& parent) {
  auto command = std::make_shared<ServeCommand>();
  CLI::App& app = AddCommand(parent, "serve", "Answer over HTTP, as OpenAI's API does", kFooter);
  AddServeSettings(&command->options, &command->settings);
  AddTextFlag(app, "--config", &command->config_path, "FILE", "TOML file with settings");
  AddSwitch(app, "--print-config", &command->print_config,
            "prints all settings, where they came from, and ends");
  command->settings.AddFlags(app);
  return [command] { return Serve(*command); };
}

}  // namespace kvasir
