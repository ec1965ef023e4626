// HttpClient: requests to one server over plain HTTP/1.1, with connections that are kept and used
// again, and with replies that are handed on as their bytes arrive. Boost.Asio and Beast end here
// and in load_client.cc. Everything runs on the one thread that runs the io_context.

#ifndef KVASIR_LOADGEN_HTTP_CLIENT_H_
#define KVASIR_LOADGEN_HTTP_CLIENT_H_

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "kvasir/base/status.h"
#include "kvasir/loadgen/server_url.h"

namespace kvasir {

struct HttpCall {
  std::string method = "POST";
  std::string path;  // behind the URL's own
  std::string body;  // JSON; empty: none
};

struct HttpHead {
  int status = 0;
  std::string content_type;
  std::string retry_after;
};

// Why there is no whole reply, for counting and for people.
struct HttpFailure {
  std::string kind;  // "connect", "timeout", "disconnected", "bad_http"; empty: there is one
  std::string detail;

  bool failed() const { return !kind.empty(); }
};

// Where a reply goes, as it comes.
struct HttpSink {
  std::function<void(const HttpHead&)> on_head;
  // False: the rest is not wanted, and the connection is closed.
  std::function<bool(std::string_view)> on_body;
};

class HttpClient {
 public:
  using Clock = std::chrono::steady_clock;

  // Looks the host up. kIoError when it has no address.
  static Result<std::unique_ptr<HttpClient>> Create(boost::asio::io_context* io, ServerUrl url,
                                                    std::string api_key,
                                                    std::chrono::milliseconds connect_timeout);
  ~HttpClient();

  // One exchange, to its end or until `deadline`. When a kept connection turns out to have been
  // closed before a byte of the reply came, a new one is tried.
  boost::asio::awaitable<HttpFailure> Exchange(HttpCall call, Clock::time_point deadline,
                                               HttpSink sink);

  const ServerUrl& url() const { return url_; }

 private:
  class Connection;

  HttpClient(boost::asio::io_context* io, ServerUrl url, std::string api_key,
             std::chrono::milliseconds connect_timeout);

  boost::asio::io_context& io_;
  const ServerUrl url_;
  const std::string api_key_;
  const std::chrono::milliseconds connect_timeout_;
  std::vector<boost::asio::ip::tcp::endpoint> endpoints_;
  std::vector<std::unique_ptr<Connection>> kept_;
};

}  // namespace kvasir

#endif  // KVASIR_LOADGEN_HTTP_CLIENT_H_
