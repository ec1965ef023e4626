// Server: HTTP over an engine: the OpenAI API and what operators need. Listens at once, answers 503
// until it gets its model, and stops in order: no new requests, the running ones to their end, then
// the engine, then the connections. All methods are for one thread, the main one; the work happens
// on I/O, worker and engine threads.

#ifndef KVASIR_SERVER_SERVER_H_
#define KVASIR_SERVER_SERVER_H_

#include <chrono>
#include <cstddef>
#include <memory>

#include "kvasir/base/status.h"
#include "kvasir/server/http_server.h"
#include "kvasir/server/served_model.h"
#include "kvasir/server/server_options.h"

namespace kvasir {

struct ServerContext;

class Server {
 public:
  // kInvalidArgument as CheckServerOptions, kIoError when it cannot listen.
  static Result<std::unique_ptr<Server>> Start(const ServerOptions& options);
  ~Server();

  // From now on requests are served. Once.
  void SetModel(std::unique_ptr<ServedModel> model);

  // Readiness becomes 503, new generations are refused, the others go on.
  void BeginDrain();
  // Whether the answers of all calls are on their way.
  bool idle() const;
  // Ends what still runs and closes everything; part of the destructor, too.
  void Stop();

  uint16_t port() const;

 private:
  explicit Server(const ServerOptions& options);

  std::unique_ptr<ServerContext> context_;
  std::unique_ptr<HttpServer> http_;
  std::unique_ptr<ServedModel> model_;
};

}  // namespace kvasir

#endif  // KVASIR_SERVER_SERVER_H_
