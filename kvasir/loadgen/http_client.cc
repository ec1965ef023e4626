#include "kvasir/loadgen/http_client.h"

#include <algorithm>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <utility>

namespace kvasir {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;
using asio::ip::tcp;
using boost::system::error_code;

namespace {

constexpr auto kAwait = asio::as_tuple(asio::use_awaitable);
// A read: an event of a stream is a few hundred bytes.
constexpr size_t kReadBytes = 16 << 10;

HttpFailure FailureOf(const error_code& error) {
  if (error == beast::error::timeout) return {"timeout", "the reply took longer than allowed"};
  if (error == http::error::end_of_stream || error == http::error::partial_message ||
      error == asio::error::eof || error == asio::error::connection_reset ||
      error == asio::error::broken_pipe) {
    return {"disconnected", "the connection ended before the reply did"};
  }
  if (error.category() == make_error_code(http::error::bad_version).category()) {
    return {"bad_http", "the reply is no HTTP: " + error.message()};
  }
  return {"disconnected", error.message()};
}

}  // namespace

class HttpClient::Connection {
 public:
  explicit Connection(asio::io_context& io) : stream_(io) {}

  asio::awaitable<error_code> Connect(const std::vector<tcp::endpoint>& endpoints,
                                      Clock::time_point deadline) {
    stream_.expires_at(deadline);
    const auto [error, endpoint] = co_await stream_.async_connect(endpoints, kAwait);
    if (!error) {
      error_code ignored;
      stream_.socket().set_option(tcp::no_delay(true), ignored);
    }
    co_return error;
  }

  asio::awaitable<HttpFailure> Exchange(const http::request<http::string_body>& request,
                                        Clock::time_point deadline, const HttpSink& sink) {
    keep_ = false;
    heard_ = false;
    stream_.expires_at(deadline);
    const auto [write_error, written] = co_await http::async_write(stream_, request, kAwait);
    // A server that refuses early answers and closes while we still write: its reply is read.
    http::response_parser<http::buffer_body> parser;
    parser.body_limit(boost::none);
    const auto [head_error, head_bytes] =
        co_await http::async_read_header(stream_, buffer_, parser, kAwait);
    if (head_error) co_return FailureOf(write_error ? write_error : head_error);
    heard_ = true;
    const auto& head = parser.get();
    const HttpHead seen{static_cast<int>(head.result_int()),
                        std::string(head[http::field::content_type]),
                        std::string(head[http::field::retry_after])};
    sink.on_head(seen);
    char bytes[kReadBytes];
    while (!parser.is_done()) {
      parser.get().body().data = bytes;
      parser.get().body().size = sizeof(bytes);
      parser.get().body().more = true;
      auto [error, count] = co_await http::async_read_some(stream_, buffer_, parser, kAwait);
      if (error == http::error::need_buffer) error = {};
      const size_t got = sizeof(bytes) - parser.get().body().size;
      if (got > 0 && !sink.on_body({bytes, got})) co_return HttpFailure();
      if (error) co_return FailureOf(error);
    }
    keep_ = parser.get().keep_alive() && !write_error;
    co_return HttpFailure();
  }

  // Whether the server will take another request, and whether it began to answer this one.
  bool keep() const { return keep_; }
  bool heard() const { return heard_; }

 private:
  beast::tcp_stream stream_;
  beast::flat_buffer buffer_;
  bool keep_ = false;
  bool heard_ = false;
};

HttpClient::HttpClient(asio::io_context* io, ServerUrl url, std::string api_key,
                       std::chrono::milliseconds connect_timeout)
    : io_(*io),
      url_(std::move(url)),
      api_key_(std::move(api_key)),
      connect_timeout_(connect_timeout) {}

HttpClient::~HttpClient() = default;

Result<std::unique_ptr<HttpClient>> HttpClient::Create(asio::io_context* io, ServerUrl url,
                                                       std::string api_key,
                                                       std::chrono::milliseconds connect_timeout) {
  std::unique_ptr<HttpClient> client(
      new HttpClient(io, std::move(url), std::move(api_key), connect_timeout));
  tcp::resolver resolver(*io);
  error_code error;
  for (const auto& entry : resolver.resolve(client->url_.host, client->url_.port, error)) {
    client->endpoints_.push_back(entry.endpoint());
  }
  if (error || client->endpoints_.empty()) {
    return IoError(client->url_.Text() + ": the host has no address: " + error.message());
  }
  return client;
}

asio::awaitable<HttpFailure> HttpClient::Exchange(HttpCall call, Clock::time_point deadline,
                                                  HttpSink sink) {
  http::request<http::string_body> request;
  request.version(11);
  request.method_string(call.method);
  request.target(url_.path + call.path);
  request.set(http::field::host, url_.host + ":" + url_.port);
  request.set(http::field::accept, "*/*");
  request.set(http::field::user_agent, "kvasir-bench-serve");
  if (!api_key_.empty()) request.set(http::field::authorization, "Bearer " + api_key_);
  if (!call.body.empty()) request.set(http::field::content_type, "application/json");
  request.body() = std::move(call.body);
  request.prepare_payload();

  for (;;) {
    std::unique_ptr<Connection> connection;
    const bool is_kept = !kept_.empty();
    if (is_kept) {
      connection = std::move(kept_.back());
      kept_.pop_back();
    } else {
      connection = std::make_unique<Connection>(io_);
      const Clock::time_point connect_deadline =
          std::min(deadline, Clock::now() + connect_timeout_);
      const error_code error = co_await connection->Connect(endpoints_, connect_deadline);
      if (error) {
        const bool late = error == beast::error::timeout;
        const HttpFailure failure{
            "connect",
            late ? "no connection within " + std::to_string(connect_timeout_.count()) + " ms"
                 : error.message()};
        co_return failure;
      }
    }
    const HttpFailure failure = co_await connection->Exchange(request, deadline, sink);
    if (failure.failed() && is_kept && !connection->heard() && failure.kind == "disconnected") {
      kept_.clear();  // the others have idled as long
      continue;
    }
    if (!failure.failed() && connection->keep()) kept_.push_back(std::move(connection));
    co_return failure;
  }
}

}  // namespace kvasir
