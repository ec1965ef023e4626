// ServerUrl: where a server of the OpenAI API listens. A value.

#ifndef KVASIR_LOADGEN_SERVER_URL_H_
#define KVASIR_LOADGEN_SERVER_URL_H_

#include <string>
#include <string_view>

#include "kvasir/base/status.h"

namespace kvasir {

struct ServerUrl {
  std::string host;
  std::string port;
  std::string path;  // in front of /v1, without a slash at its end; mostly empty

  // "http://127.0.0.1:8080"
  std::string Text() const;
};

// "http://host:port", with or without a path, a slash or /v1 at the end. kInvalidArgument names
// what is wrong with it; https is kUnimplemented.
Result<ServerUrl> ParseServerUrl(std::string_view text);

}  // namespace kvasir

#endif  // KVASIR_LOADGEN_SERVER_URL_H_
