// HttpConnection: one connection from its first byte to its last. Reads requests, hands them to the
// handler, writes the answers, and notices at any moment that the client left. Every wait has a
// limit: for the head, the body, the next request, and for a client that does not read. What is
// queued for a client is bounded. Internal to the http_ files: it shows Boost.Asio. A connection
// keeps itself alive; all of it runs on its transport's strand, except Exchange, which bridges to
// the threads that answer.

#ifndef KVASIR_SERVER_HTTP_CONNECTION_H_
#define KVASIR_SERVER_HTTP_CONNECTION_H_

#include <atomic>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/thread_pool.hpp>
#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>

#include "kvasir/server/http_parser.h"
#include "kvasir/server/http_server.h"
#include "kvasir/server/http_transport.h"
#include "kvasir/server/http_types.h"

namespace kvasir {

// What all connections of a server share. Outlives them.
struct ConnectionContext {
  HttpServerOptions options;
  HttpHandler handler;
  FailureRenderer render_failure;
  boost::asio::thread_pool* workers = nullptr;
  std::atomic<size_t> connection_count{0};
  std::atomic<size_t> body_bytes{0};  // of requests that are being received
  std::atomic<bool> stopping{false};  // no further request is read
};

class HttpConnection;

// The answer to one request, between the threads that write it and the connection that sends it.
class Exchange {
 public:
  Exchange(std::shared_ptr<HttpConnection> connection, size_t queue_bytes_max);

  // For ResponseWriter; any thread.
  bool Respond(HttpResponse response);
  void PrepareStream(HttpResponse head);
  bool Write(std::string_view bytes);
  void Finish();
  void OnGone(std::function<void()> on_gone);
  bool gone() const;
  void Abandon();  // the writer is destroyed

  // For the connection; on its strand.
  struct Output {
    bool has_response = false;  // `head` is the whole answer
    bool stream_begins = false;
    HttpResponse head;
    std::string bytes;
    bool finished = false;
    bool overflowed = false;
  };
  // What is to be sent now. With `for_ping` a prepared stream begins even without bytes.
  Output Take(bool for_ping);
  // The client left; calls on_gone unless the answer was complete.
  void MarkGone();

 private:
  void Wake();

  const std::shared_ptr<HttpConnection> connection_;
  const size_t queue_bytes_max_;
  mutable std::mutex mutex_;
  std::function<void()> on_gone_;
  HttpResponse head_;
  std::string pending_;
  bool responded_ = false, prepared_ = false, begun_ = false, finished_ = false;
  bool head_taken_ = false;  // of the stream
  bool taken_ = false;       // the end was taken: the answer is complete
  bool overflowed_ = false, gone_ = false, wake_posted_ = false;
};

class HttpConnection : public std::enable_shared_from_this<HttpConnection> {
 public:
  // `rejecting`: answers the first request with 503 and closes.
  HttpConnection(std::unique_ptr<Transport> transport, ConnectionContext* context, std::string peer,
                 bool rejecting);
  ~HttpConnection();

  void Start();
  // Any thread: closes at once when `force`, else as soon as no answer is under way.
  void Stop(bool force);
  // Any thread: the exchange has something to send.
  void WakeWriter();

 private:
  using Clock = std::chrono::steady_clock;
  template <typename T>
  using Awaitable = boost::asio::awaitable<T>;

  // A condition variable of one strand.
  class Signal {
   public:
    explicit Signal(boost::asio::any_io_executor executor) : timer_(std::move(executor)) {}
    void Notify() { timer_.cancel(); }
    // Returns at Notify or at `deadline`; the caller looks at its condition again.
    Awaitable<void> WaitUntil(Clock::time_point deadline);

   private:
    boost::asio::steady_timer timer_;
  };

  Awaitable<void> Run(std::shared_ptr<HttpConnection> self);
  Awaitable<void> ReadLoop(std::shared_ptr<HttpConnection> self);
  // One request and its answer. False when the connection must end.
  Awaitable<bool> ServeOne();
  // False when nothing can be answered any more (end of the stream, timeout between requests).
  Awaitable<bool> ReceiveRequest(RequestParser* parser);
  // Until more than `byte_count` bytes are in input_. False at the deadline and at the end.
  Awaitable<bool> WaitForInput(size_t byte_count, Clock::time_point deadline);
  Awaitable<bool> SendAnswer(Exchange* exchange, const HttpRequest& request);
  Awaitable<bool> SendFailure(const HttpFailure& failure);
  Awaitable<bool> WriteAll(std::string_view bytes);
  // Lets the client read the last answer before the socket dies: unread input would reset it.
  Awaitable<void> Linger();
  void Dispatch(HttpRequest request, std::shared_ptr<Exchange> exchange);
  void AccountBody(size_t body_bytes);
  void Abort();

  std::unique_ptr<Transport> transport_;
  ConnectionContext& context_;
  const std::string peer_;
  const bool rejecting_;
  const uint64_t serial_;  // of the process: for request ids
  uint64_t request_count_ = 0;
  std::string input_;
  bool input_ended_ = false, stop_requested_ = false, aborted_ = false;
  size_t accounted_body_bytes_ = 0;
  Signal input_signal_, drained_signal_, output_signal_;
  boost::asio::steady_timer guard_;
  std::shared_ptr<Exchange> exchange_;  // of the request that is being answered
};

}  // namespace kvasir

#endif  // KVASIR_SERVER_HTTP_CONNECTION_H_
