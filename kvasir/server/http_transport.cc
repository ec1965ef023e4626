#include "kvasir/server/http_transport.h"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/generic/stream_protocol.hpp>
#include <boost/asio/ssl.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <utility>

#include "kvasir/base/check.h"

namespace kvasir {

namespace asio = boost::asio;
using boost::system::error_code;
using Socket = asio::generic::stream_protocol::socket;

namespace {

constexpr auto kAwait = asio::as_tuple(asio::use_awaitable);
// What the kernel holds for a client that does not read: left alone it would grow to megabytes. The
// kernel doubles it; 128 KiB in flight carry a megabyte a second over 100 ms.
constexpr int kSendBufferBytes = 64 << 10;

class PlainTransport final : public Transport {
 public:
  explicit PlainTransport(Socket socket) : socket_(std::move(socket)) {}

  asio::awaitable<bool> Handshake() override { co_return true; }

  asio::awaitable<size_t> Read(std::span<char> buffer) override {
    const auto [error, count] =
        co_await socket_.async_read_some(asio::buffer(buffer.data(), buffer.size()), kAwait);
    co_return error ? 0 : count;
  }

  asio::awaitable<size_t> Write(std::string_view bytes) override {
    const auto [error, count] =
        co_await socket_.async_write_some(asio::buffer(bytes.data(), bytes.size()), kAwait);
    co_return error ? 0 : count;
  }

  asio::awaitable<void> ShutdownSend() override {
    error_code ignored;
    socket_.shutdown(Socket::shutdown_send, ignored);
    co_return;
  }

  void Close() override {
    error_code ignored;
    socket_.close(ignored);
  }

  asio::any_io_executor strand() override { return socket_.get_executor(); }

 private:
  Socket socket_;
};

class AsioTlsContext final : public TlsContext {
 public:
  asio::ssl::context context{asio::ssl::context::tls_server};
};

class TlsTransport final : public Transport {
 public:
  TlsTransport(Socket socket, asio::ssl::context& context) : stream_(std::move(socket), context) {}

  asio::awaitable<bool> Handshake() override {
    const auto [error] = co_await stream_.async_handshake(asio::ssl::stream_base::server, kAwait);
    co_return !error;
  }

  asio::awaitable<size_t> Read(std::span<char> buffer) override {
    const auto [error, count] =
        co_await stream_.async_read_some(asio::buffer(buffer.data(), buffer.size()), kAwait);
    co_return error ? 0 : count;
  }

  asio::awaitable<size_t> Write(std::string_view bytes) override {
    const auto [error, count] =
        co_await stream_.async_write_some(asio::buffer(bytes.data(), bytes.size()), kAwait);
    co_return error ? 0 : count;
  }

  // Waits for the peer's answer to it: whoever calls this has a clock running.
  asio::awaitable<void> ShutdownSend() override {
    co_await stream_.async_shutdown(kAwait);
    error_code ignored;
    stream_.next_layer().shutdown(Socket::shutdown_send, ignored);
  }

  void Close() override {
    error_code ignored;
    stream_.next_layer().close(ignored);
  }

  asio::any_io_executor strand() override { return stream_.get_executor(); }

 private:
  asio::ssl::stream<Socket> stream_;
};

}  // namespace

Result<std::unique_ptr<TlsContext>> TlsContext::Create(const std::string& certificate_path,
                                                       const std::string& key_path) {
  auto tls = std::make_unique<AsioTlsContext>();
  error_code error;
  tls->context.set_options(asio::ssl::context::default_workarounds | asio::ssl::context::no_sslv2 |
                               asio::ssl::context::no_sslv3 | asio::ssl::context::no_tlsv1 |
                               asio::ssl::context::no_tlsv1_1 | asio::ssl::context::no_compression,
                           error);
  tls->context.use_certificate_chain_file(certificate_path, error);
  if (error) {
    return InvalidArgument("the TLS certificate " + certificate_path +
                           " cannot be used: " + error.message());
  }
  tls->context.use_private_key_file(key_path, asio::ssl::context::pem, error);
  if (error) {
    return InvalidArgument("the TLS key " + key_path + " cannot be used: " + error.message());
  }
  return std::unique_ptr<TlsContext>(std::move(tls));
}

std::unique_ptr<Transport> MakeTransport(asio::ip::tcp::socket socket, TlsContext* tls) {
  error_code ignored;
  socket.set_option(asio::ip::tcp::no_delay(true), ignored);
  socket.set_option(asio::socket_base::send_buffer_size(kSendBufferBytes), ignored);
  Socket generic(std::move(socket));
  if (tls == nullptr) return std::make_unique<PlainTransport>(std::move(generic));
  return std::make_unique<TlsTransport>(std::move(generic),
                                        static_cast<AsioTlsContext*>(tls)->context);
}

std::unique_ptr<Transport> MakeTransport(asio::local::stream_protocol::socket socket) {
  return std::make_unique<PlainTransport>(Socket(std::move(socket)));
}

}  // namespace kvasir
