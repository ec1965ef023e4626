// ServerOptions: the knobs of the server beside those of HTTP itself, each with unit, default and
// bounds. Values.

#ifndef KVASIR_SERVER_SERVER_OPTIONS_H_
#define KVASIR_SERVER_SERVER_OPTIONS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "kvasir/server/access.h"
#include "kvasir/server/http_server.h"
#include "kvasir/server/request_log.h"

namespace kvasir {

struct ServerOptions {
  HttpServerOptions http;
  std::vector<ApiKey> keys;  // none for users: anybody who can connect may ask
  // Listens where others can connect although there is no key for users.
  bool insecure = false;
  bool strict = false;                     // members that are not known are refused, not ignored
  bool accept_any_model = false;           // whatever "model" a request names
  uint64_t choice_count_max = 128;         // answers to one request, 1..1024
  uint64_t timeout_ms = 0;                 // deadline of a request that names none; 0 = none
  uint64_t timeout_ms_max = 3600'000;      // that a request may name
  std::vector<std::string> cors_origins;   // "https://chat.example.org", or "*"
  std::vector<std::string> allowed_hosts;  // names in Host besides this machine's addresses
  LogFormat log_format = LogFormat::kText;
  std::string version;  // of the program
};

// kInvalidArgument when the options would open the server to strangers by mistake, or contradict
// one another.
Status CheckServerOptions(const ServerOptions& options);

}  // namespace kvasir

#endif  // KVASIR_SERVER_SERVER_OPTIONS_H_
