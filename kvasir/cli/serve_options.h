// ServeOptions: everything that `kvasir serve` can be told, as Settings, and the API keys, which
// come from a file or the environment, never from flags: other users can read those. Main thread.

#ifndef KVASIR_CLI_SERVE_OPTIONS_H_
#define KVASIR_CLI_SERVE_OPTIONS_H_

#include <string>
#include <vector>

#include "kvasir/base/status.h"
#include "kvasir/cli/model_options.h"
#include "kvasir/cli/settings.h"
#include "kvasir/engine/engine_loop.h"
#include "kvasir/engine/engine_options.h"
#include "kvasir/server/server_options.h"

namespace kvasir {

struct ServeOptions {
  ModelOptions model;
  std::string model_path;
  std::string kv_calibration_path;
  std::string kv_disk;  // as in ModelOptions
  std::vector<std::string> model_names;
  EngineOptions engine;  // what the model options do not say
  EngineLoopOptions loop;
  ServerOptions server;
  std::string log_format = "text";
  std::string api_key_file;
  size_t port = 8080;
  uint32_t drain_seconds = 30;
};

// Registers every field of `options`, which must outlive `settings`.
void AddServeSettings(ServeOptions* options, Settings* settings);

// After Settings::Apply: fills in what follows from the settings, and reads the API keys from
// api_key_file, KVASIR_API_KEY and KVASIR_ADMIN_KEY.
Status FinishServeOptions(const Settings::Environment& environment, ServeOptions* options);

// The keys of a file with a table [[key]] for each. kInvalidArgument names the key and the member.
Result<std::vector<ApiKey>> ParseApiKeys(const std::string& toml, const std::string& name);

}  // namespace kvasir

#endif  // KVASIR_CLI_SERVE_OPTIONS_H_
