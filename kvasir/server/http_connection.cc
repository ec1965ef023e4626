#include "kvasir/server/http_connection.h"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <cstdio>
#include <utility>
#include <vector>

namespace kvasir {

namespace asio = boost::asio;

namespace {

constexpr auto kAwait = asio::as_tuple(asio::use_awaitable);
// A read: large enough that a body of megabytes takes few, small enough to hold for each
// connection.
constexpr size_t kReadBytes = 16 << 10;
// What a client may send ahead while its request is being answered; then reading stops.
constexpr size_t kAheadBytesMax = 64 << 10;
// A write: the clock of write_timeout_ms starts anew for each.
constexpr size_t kWriteBytes = 64 << 10;
// How long, and for how many bytes, a connection is read on after its last answer.
constexpr auto kLingerTime = std::chrono::milliseconds(1000);
constexpr size_t kLingerBytesMax = 64 << 20;
// A connection beyond the limit gets this long to say what it wants.
constexpr auto kRejectTime = std::chrono::milliseconds(2000);
constexpr size_t kRequestIdBytesMax = 64;
constexpr std::string_view kPing = ": ping\n\n";

std::atomic<uint64_t> g_connection_serial{0};

// A client's own id is kept where it cannot confuse a log.
bool IsHarmlessId(std::string_view id) {
  if (id.empty() || id.size() > kRequestIdBytesMax) return false;
  for (const char c : id) {
    const bool fine = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                      c == '-' || c == '_' || c == '.';
    if (!fine) return false;
  }
  return true;
}

// The handler's end of an exchange: its destruction is noticed.
class ExchangeWriter final : public ResponseWriter {
 public:
  explicit ExchangeWriter(std::shared_ptr<Exchange> exchange) : exchange_(std::move(exchange)) {}
  ~ExchangeWriter() override { exchange_->Abandon(); }

  bool Respond(HttpResponse response) override { return exchange_->Respond(std::move(response)); }
  void PrepareStream(HttpResponse head) override { exchange_->PrepareStream(std::move(head)); }
  bool Write(std::string_view bytes) override { return exchange_->Write(bytes); }
  void Finish() override { exchange_->Finish(); }
  void OnGone(std::function<void()> on_gone) override { exchange_->OnGone(std::move(on_gone)); }
  bool gone() const override { return exchange_->gone(); }

 private:
  const std::shared_ptr<Exchange> exchange_;
};

std::string MakeRequestId(uint64_t connection, uint64_t request) {
  // The time makes ids of different runs differ; they are names, not secrets.
  static const auto start = std::chrono::system_clock::now().time_since_epoch().count();
  char id[64];
  std::snprintf(id, sizeof(id), "req-%llx-%llx-%llx", static_cast<unsigned long long>(start >> 10),
                static_cast<unsigned long long>(connection),
                static_cast<unsigned long long>(request));
  return id;
}

}  // namespace

asio::awaitable<void> HttpConnection::Signal::WaitUntil(Clock::time_point deadline) {
  timer_.expires_at(deadline);
  co_await timer_.async_wait(kAwait);
}

HttpConnection::HttpConnection(std::unique_ptr<Transport> transport, ConnectionContext* context,
                               std::string peer, bool rejecting)
    : transport_(std::move(transport)),
      context_(*context),
      peer_(std::move(peer)),
      rejecting_(rejecting),
      serial_(++g_connection_serial),
      input_signal_(transport_->strand()),
      drained_signal_(transport_->strand()),
      output_signal_(transport_->strand()),
      guard_(transport_->strand()) {
  ++context_.connection_count;
}

HttpConnection::~HttpConnection() {
  AccountBody(0);
  --context_.connection_count;
}

void HttpConnection::Start() {
  asio::co_spawn(transport_->strand(), Run(shared_from_this()), asio::detached);
}

void HttpConnection::Stop(bool force) {
  asio::post(transport_->strand(), [self = shared_from_this(), force] {
    self->stop_requested_ = true;
    if (force || self->exchange_ == nullptr) self->Abort();
  });
}

void HttpConnection::WakeWriter() {
  asio::post(transport_->strand(), [self = shared_from_this()] { self->output_signal_.Notify(); });
}

void HttpConnection::Abort() {
  if (std::exchange(aborted_, true)) return;
  transport_->Close();
  input_ended_ = true;
  if (exchange_ != nullptr) exchange_->MarkGone();
  input_signal_.Notify();
  drained_signal_.Notify();
  output_signal_.Notify();
}

asio::awaitable<void> HttpConnection::Run(std::shared_ptr<HttpConnection> self) {
  guard_.expires_after(std::chrono::milliseconds(context_.options.head_timeout_ms));
  guard_.async_wait([self](boost::system::error_code error) {
    if (!error) self->Abort();
  });
  const bool connected = co_await transport_->Handshake();
  guard_.cancel();
  if (connected && !aborted_) {
    asio::co_spawn(transport_->strand(), ReadLoop(self), asio::detached);
    while (co_await ServeOne()) {
    }
    co_await Linger();
  }
  Abort();
}

asio::awaitable<void> HttpConnection::ReadLoop(std::shared_ptr<HttpConnection> self) {
  std::vector<char> buffer(kReadBytes);
  while (!aborted_) {
    if (input_.size() >= kAheadBytesMax) {
      co_await drained_signal_.WaitUntil(Clock::time_point::max());
      continue;
    }
    const size_t count = co_await transport_->Read(buffer);
    if (count == 0) break;
    input_.append(buffer.data(), count);
    input_signal_.Notify();
  }
  input_ended_ = true;
  // A client that will send nothing more has left, even if it still could read.
  if (exchange_ != nullptr) exchange_->MarkGone();
  input_signal_.Notify();
  output_signal_.Notify();
}

asio::awaitable<bool> HttpConnection::WaitForInput(size_t byte_count, Clock::time_point deadline) {
  while (input_.size() <= byte_count && !input_ended_ && !aborted_ && Clock::now() < deadline) {
    co_await input_signal_.WaitUntil(deadline);
  }
  co_return input_.size() > byte_count && !aborted_;
}

asio::awaitable<bool> HttpConnection::ReceiveRequest(RequestParser* parser) {
  const HttpServerOptions& options = context_.options;
  using std::chrono::milliseconds;
  const auto idle_time = rejecting_ ? kRejectTime : milliseconds(options.idle_timeout_ms);
  if (!co_await WaitForInput(0, Clock::now() + idle_time)) co_return false;
  const auto start = Clock::now();
  const auto head_deadline = start + milliseconds(options.head_timeout_ms);
  const auto body_deadline = start + milliseconds(options.body_timeout_ms);
  bool continued = false;
  // Objects that are awaited upon have names: GCC 12 destroys braced temporaries in an await
  // expression twice.
  HttpFailure failure;
  for (;;) {
    const RequestParser::State before = parser->state();
    const RequestParser::State state = parser->Feed(&input_);
    drained_signal_.Notify();
    if (state == RequestParser::State::kDone || state == RequestParser::State::kFailed) {
      co_return true;
    }
    if (state == RequestParser::State::kBody) {
      AccountBody(parser->body_bytes());
      if (context_.body_bytes > options.body_bytes_total_max) {
        failure = {503, "server_overloaded", "the server is receiving too much at once"};
        break;
      }
      if (before == RequestParser::State::kHead && parser->expects_continue() && !continued) {
        continued = true;
        if (!co_await WriteAll("HTTP/1.1 100 Continue\r\n\r\n")) co_return false;
      }
    }
    const bool in_head = state == RequestParser::State::kHead;
    if (co_await WaitForInput(input_.size(), in_head ? head_deadline : body_deadline)) continue;
    if (aborted_) co_return false;
    failure = input_ended_
                  ? HttpFailure{400, "malformed_request", "the request ended too early"}
                  : HttpFailure{408, "request_timeout", "the request did not arrive in time"};
    break;
  }
  co_await SendFailure(failure);
  co_return false;
}

asio::awaitable<bool> HttpConnection::ServeOne() {
  RequestParser parser(context_.options.limits);
  const bool received = co_await ReceiveRequest(&parser);
  AccountBody(0);
  if (!received) co_return false;
  if (parser.state() == RequestParser::State::kFailed) {
    co_await SendFailure(parser.failure());
    co_return false;
  }
  if (rejecting_) {
    const HttpFailure failure{503, "server_overloaded", "the server has too many connections"};
    co_await SendFailure(failure);
    co_return false;
  }
  HttpRequest request = parser.TakeRequest();
  request.peer = peer_;
  request.arrival = Clock::now();
  const std::string_view own_id = request.Header("x-request-id");
  request.id =
      IsHarmlessId(own_id) ? std::string(own_id) : MakeRequestId(serial_, ++request_count_);
  HttpRequest line;  // what the answer depends on: the rest goes to the handler
  line.method = request.method;
  line.minor_version = request.minor_version;
  line.keep_alive = request.keep_alive && !context_.stopping;
  line.id = request.id;
  exchange_ =
      std::make_shared<Exchange>(shared_from_this(), context_.options.stream_queue_bytes_max);
  if (input_ended_) exchange_->MarkGone();
  Dispatch(std::move(request), exchange_);
  const bool keep = co_await SendAnswer(exchange_.get(), line);
  if (!keep) exchange_->MarkGone();
  exchange_.reset();
  co_return keep && !stop_requested_ && !aborted_;
}

void HttpConnection::Dispatch(HttpRequest request, std::shared_ptr<Exchange> exchange) {
  asio::post(*context_.workers, [this, self = shared_from_this(),
                                 shared = std::make_shared<const HttpRequest>(std::move(request)),
                                 exchange = std::move(exchange)]() mutable {
    context_.handler(std::move(shared), std::make_shared<ExchangeWriter>(std::move(exchange)));
  });
}

asio::awaitable<bool> HttpConnection::SendAnswer(Exchange* exchange, const HttpRequest& request) {
  const auto ping_interval = std::chrono::milliseconds(context_.options.ping_interval_ms);
  auto next_ping = Clock::now() + ping_interval;
  bool streaming = false;
  bool keep_alive = request.keep_alive;
  for (;;) {
    if (aborted_ || exchange->gone()) {
      Abort();  // a client that does not read, or is gone, gets nothing more
      co_return false;
    }
    const bool ping = Clock::now() >= next_ping;
    Exchange::Output output = exchange->Take(ping);
    std::string bytes;
    if (output.has_response) {
      keep_alive = keep_alive && !output.head.close;
      bytes = SerializeHead(output.head, request.minor_version, keep_alive, /*stream=*/false);
      if (request.method != "HEAD") bytes += output.head.body;
      co_return co_await WriteAll(bytes) && keep_alive;
    }
    if (output.stream_begins) {
      streaming = true;
      keep_alive = keep_alive && !output.head.close && request.minor_version >= 1;
      bytes = SerializeHead(output.head, request.minor_version, keep_alive, /*stream=*/true);
    }
    if (streaming && ping && output.bytes.empty() && !output.finished) output.bytes = kPing;
    const bool chunked = request.minor_version >= 1;
    bytes += chunked ? SerializeChunk(output.bytes) : output.bytes;
    if (output.finished && chunked) bytes += "0\r\n\r\n";
    if (!bytes.empty() || ping) next_ping = Clock::now() + ping_interval;
    if (!co_await WriteAll(bytes)) co_return false;
    if (output.finished) co_return keep_alive;
    // Waits only when nothing came in the meantime: both run on this strand.
    if (bytes.empty()) co_await output_signal_.WaitUntil(next_ping);
  }
}

asio::awaitable<bool> HttpConnection::SendFailure(const HttpFailure& failure) {
  HttpResponse response =
      context_.render_failure(failure, MakeRequestId(serial_, ++request_count_), peer_);
  response.close = true;
  std::string bytes = SerializeHead(response, 1, /*keep_alive=*/false, /*stream=*/false);
  bytes += response.body;
  co_return co_await WriteAll(bytes);
}

asio::awaitable<bool> HttpConnection::WriteAll(std::string_view bytes) {
  while (!bytes.empty() && !aborted_) {
    guard_.expires_after(std::chrono::milliseconds(context_.options.write_timeout_ms));
    guard_.async_wait([self = shared_from_this()](boost::system::error_code error) {
      if (!error) self->Abort();
    });
    const size_t count = co_await transport_->Write(bytes.substr(0, kWriteBytes));
    guard_.cancel();
    if (count == 0) {
      Abort();
      break;
    }
    bytes.remove_prefix(count);
  }
  co_return !aborted_;
}

asio::awaitable<void> HttpConnection::Linger() {
  if (aborted_) co_return;
  guard_.expires_after(kLingerTime);
  guard_.async_wait([self = shared_from_this()](boost::system::error_code error) {
    if (!error) self->Abort();
  });
  co_await transport_->ShutdownSend();
  for (size_t dropped = 0; !input_ended_ && !aborted_ && dropped < kLingerBytesMax;) {
    dropped += input_.size();
    input_.clear();
    drained_signal_.Notify();
    co_await input_signal_.WaitUntil(Clock::time_point::max());
  }
  guard_.cancel();
}

void HttpConnection::AccountBody(size_t body_bytes) {
  context_.body_bytes += body_bytes;
  context_.body_bytes -= std::exchange(accounted_body_bytes_, body_bytes);
}

}  // namespace kvasir
