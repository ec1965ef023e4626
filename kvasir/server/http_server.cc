#include "kvasir/server/http_server.h"

#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <mutex>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "kvasir/server/http_connection.h"
#include "kvasir/server/http_transport.h"

namespace kvasir {

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;
using LocalProtocol = asio::local::stream_protocol;

namespace {

constexpr auto kAwait = asio::as_tuple(asio::use_awaitable);
// Connections beyond the limit that are told so; further ones are closed at once.
constexpr size_t kRejectedCountMax = 1024;
// After an accept that failed for want of descriptors: others may close some meanwhile.
constexpr auto kAcceptPause = std::chrono::milliseconds(50);

// A descriptor for each connection, and some for files and listeners.
void RaiseDescriptorLimit(size_t connection_count) {
  rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  const rlim_t wanted = connection_count + kRejectedCountMax + 256;
  if (limit.rlim_cur >= wanted) return;
  limit.rlim_cur = std::min<rlim_t>(wanted, limit.rlim_max);
  setrlimit(RLIMIT_NOFILE, &limit);
}

std::string PeerName(const tcp::socket& socket) {
  error_code error;
  const tcp::endpoint peer = socket.remote_endpoint(error);
  if (error) return "gone";
  const std::string address = peer.address().to_string();
  const std::string host = peer.address().is_v6() ? "[" + address + "]" : address;
  return host + ":" + std::to_string(peer.port());
}

std::string PeerName(const LocalProtocol::socket&) { return "unix"; }

class AsioHttpServer final : public HttpServer {
 public:
  AsioHttpServer(const HttpServerOptions& options, HttpHandler handler, FailureRenderer render)
      : workers_(options.worker_thread_count),
        io_(static_cast<int>(options.io_thread_count)),
        work_(asio::make_work_guard(io_)),
        tcp_(io_),
        local_(io_) {
    context_.options = options;
    context_.handler = std::move(handler);
    context_.render_failure = std::move(render);
    context_.workers = &workers_;
  }

  ~AsioHttpServer() override {
    Stop(/*force=*/true, /*patience_ms=*/2000);
    work_.reset();
    io_.stop();
    for (std::thread& thread : threads_) thread.join();
    workers_.join();
  }

  Status Open() {
    const HttpServerOptions& options = context_.options;
    RaiseDescriptorLimit(options.connection_count_max);
    if (!options.tls_certificate.empty()) {
      KVASIR_ASSIGN_OR_RETURN(tls_, TlsContext::Create(options.tls_certificate, options.tls_key));
    }
    if (!options.host.empty()) KVASIR_RETURN_IF_ERROR(OpenTcp());
    if (!options.unix_socket.empty()) KVASIR_RETURN_IF_ERROR(OpenLocal());
    if (tcp_.is_open()) asio::co_spawn(io_, Accept<tcp>(tcp_), asio::detached);
    if (local_.is_open()) asio::co_spawn(io_, Accept<LocalProtocol>(local_), asio::detached);
    for (size_t i = 0; i < options.io_thread_count; ++i) {
      threads_.emplace_back([this] { io_.run(); });
    }
    return OkStatus();
  }

  bool Stop(bool force, uint32_t patience_ms) override {
    context_.stopping = true;
    asio::post(io_, [this] {
      error_code ignored;
      tcp_.close(ignored);
      local_.close(ignored);
    });
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::milliseconds(patience_ms);
    for (;;) {
      for (const auto& connection : Living()) connection->Stop(force);
      if (context_.connection_count == 0) break;
      if (std::chrono::steady_clock::now() >= deadline) break;
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    if (!context_.options.unix_socket.empty() && std::exchange(owns_socket_file_, false)) {
      unlink(context_.options.unix_socket.c_str());
    }
    return context_.connection_count == 0;
  }

  void Defer(std::function<void()> task) override { asio::post(workers_, std::move(task)); }

  uint16_t port() const override { return port_; }
  size_t connection_count() const override { return context_.connection_count; }

 private:
  Status OpenTcp() {
    const HttpServerOptions& options = context_.options;
    error_code error;
    const std::string host = options.host == "localhost" ? "127.0.0.1" : options.host;
    const auto address = asio::ip::make_address(host, error);
    if (error) {
      return InvalidArgument("the host '" + options.host +
                             "' is neither a numeric address nor localhost");
    }
    const tcp::endpoint endpoint(address, options.port);
    tcp_.open(endpoint.protocol(), error);
    if (!error) tcp_.set_option(tcp::acceptor::reuse_address(true), error);
    if (!error) tcp_.bind(endpoint, error);
    if (!error) tcp_.listen(asio::socket_base::max_listen_connections, error);
    if (error) {
      return IoError("cannot listen on " + options.host + ":" + std::to_string(options.port) +
                     ": " + error.message());
    }
    port_ = tcp_.local_endpoint(error).port();
    return OkStatus();
  }

  Status OpenLocal() {
    const std::string& path = context_.options.unix_socket;
    if (path.size() >= sizeof(sockaddr_un::sun_path)) {
      return InvalidArgument("the path of the unix socket has " + std::to_string(path.size()) +
                             " bytes, at most " +
                             std::to_string(sizeof(sockaddr_un::sun_path) - 1) + " are possible");
    }
    RemoveStaleSocket(path);
    error_code error;
    local_.open(LocalProtocol(), error);
    if (!error) local_.bind(LocalProtocol::endpoint(path), error);
    if (!error) local_.listen(asio::socket_base::max_listen_connections, error);
    if (error) return IoError("cannot listen on " + path + ": " + error.message());
    owns_socket_file_ = true;
    return OkStatus();
  }

  // A server that died leaves its socket behind: one that nobody answers on may go.
  void RemoveStaleSocket(const std::string& path) {
    struct stat info;
    if (lstat(path.c_str(), &info) != 0 || !S_ISSOCK(info.st_mode)) return;
    LocalProtocol::socket probe(io_);
    error_code error;
    probe.connect(LocalProtocol::endpoint(path), error);
    if (error == asio::error::connection_refused) unlink(path.c_str());
  }

  template <typename Protocol>
  asio::awaitable<void> Accept(asio::basic_socket_acceptor<Protocol>& acceptor) {
    asio::steady_timer pause(io_);
    while (acceptor.is_open()) {
      auto [error, socket] = co_await acceptor.async_accept(asio::make_strand(io_), kAwait);
      if (error) {
        pause.expires_after(kAcceptPause);
        co_await pause.async_wait(kAwait);
        continue;
      }
      const size_t count = context_.connection_count;
      const size_t count_max = context_.options.connection_count_max;
      if (count >= count_max + kRejectedCountMax || context_.stopping) continue;
      typename Protocol::socket accepted(std::move(socket));
      std::string peer = PeerName(accepted);
      std::unique_ptr<Transport> transport;
      if constexpr (std::is_same_v<Protocol, tcp>) {
        transport = MakeTransport(std::move(accepted), tls_.get());
      } else {
        transport = MakeTransport(std::move(accepted));
      }
      auto connection = std::make_shared<HttpConnection>(std::move(transport), &context_,
                                                         std::move(peer), count >= count_max);
      Remember(connection);
      connection->Start();
    }
  }

  void Remember(const std::shared_ptr<HttpConnection>& connection) {
    std::lock_guard lock(mutex_);
    // Forgets the dead ones whenever they may be the majority.
    if (connections_.size() >= 2 * living_count_ + 64) {
      std::erase_if(connections_, [](const auto& c) { return c.expired(); });
      living_count_ = connections_.size();
    }
    connections_.push_back(connection);
  }

  std::vector<std::shared_ptr<HttpConnection>> Living() {
    std::lock_guard lock(mutex_);
    std::vector<std::shared_ptr<HttpConnection>> living;
    for (const auto& connection : connections_) {
      if (auto alive = connection.lock()) living.push_back(std::move(alive));
    }
    return living;
  }

  ConnectionContext context_;
  asio::thread_pool workers_;
  asio::io_context io_;
  asio::executor_work_guard<asio::io_context::executor_type> work_;
  tcp::acceptor tcp_;
  LocalProtocol::acceptor local_;
  std::unique_ptr<TlsContext> tls_;
  std::vector<std::thread> threads_;
  std::mutex mutex_;
  std::vector<std::weak_ptr<HttpConnection>> connections_;
  size_t living_count_ = 0;  // when the dead were last forgotten
  uint16_t port_ = 0;
  bool owns_socket_file_ = false;
};

}  // namespace

Result<std::unique_ptr<HttpServer>> HttpServer::Start(const HttpServerOptions& options,
                                                      HttpHandler handler,
                                                      FailureRenderer render_failure) {
  auto server =
      std::make_unique<AsioHttpServer>(options, std::move(handler), std::move(render_failure));
  KVASIR_RETURN_IF_ERROR(server->Open());
  return std::unique_ptr<HttpServer>(std::move(server));
}

}  // namespace kvasir
