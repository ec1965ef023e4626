// HttpServer: listens, accepts, and hands well-formed requests to a handler. A few I/O threads
// carry thousands of connections; handlers run on worker threads of their own, so that a long
// prompt that is being tokenised stops nobody's stream. Boost.Asio stays behind this header. Start
// and Stop are for one thread.

#ifndef KVASIR_SERVER_HTTP_SERVER_H_
#define KVASIR_SERVER_HTTP_SERVER_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "kvasir/base/status.h"
#include "kvasir/server/http_parser.h"
#include "kvasir/server/http_types.h"

namespace kvasir {

struct HttpServerOptions {
  std::string host = "127.0.0.1";  // a numeric address or "localhost"; empty: no TCP
  uint16_t port = 8080;            // 0 = any free one
  std::string unix_socket;         // path; empty: none
  std::string tls_certificate;     // PEM files; both or neither; for TCP
  std::string tls_key;
  size_t io_thread_count = 2;      // 1..64
  size_t worker_thread_count = 2;  // 1..64
  HttpLimits limits;
  size_t connection_count_max = 4096;         // beyond it: 503
  size_t body_bytes_total_max = 256 << 20;    // of all requests being received: then 503
  size_t stream_queue_bytes_max = 128 << 10;  // of one client that does not read
  uint32_t head_timeout_ms = 10'000;          // from the first byte to the end of the head
  uint32_t body_timeout_ms = 60'000;
  uint32_t idle_timeout_ms = 75'000;   // between requests
  uint32_t write_timeout_ms = 30'000;  // without the client taking a single byte
  uint32_t ping_interval_ms = 15'000;  // a comment on silent streams
};

// Makes the answer to a request that never became one, and logs it.
using FailureRenderer = std::function<HttpResponse(
    const HttpFailure& failure, const std::string& request_id, const std::string& peer)>;

class HttpServer {
 public:
  // Binds, listens and starts its threads. kInvalidArgument names a bad address or TLS file,
  // kIoError an address that is taken.
  static Result<std::unique_ptr<HttpServer>> Start(const HttpServerOptions& options,
                                                   HttpHandler handler,
                                                   FailureRenderer render_failure);
  virtual ~HttpServer() = default;

  // Closes the listeners and every connection that waits for a request; with `force` the others
  // too. Returns when no connection is left or after `patience_ms`, and says whether none is.
  virtual bool Stop(bool force, uint32_t patience_ms) = 0;

  // Runs `task` on a worker thread, soon.
  virtual void Defer(std::function<void()> task) = 0;

  virtual uint16_t port() const = 0;  // that TCP listens on; 0 without TCP
  virtual size_t connection_count() const = 0;
};

}  // namespace kvasir

#endif  // KVASIR_SERVER_HTTP_SERVER_H_
