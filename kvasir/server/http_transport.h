// Transport: a connected byte stream, over TCP or a unix socket, with or without TLS, behind one
// interface, so that the code of a connection exists once. Internal to the http_ files: it shows
// Boost.Asio. Everything of one transport runs on its strand.

#ifndef KVASIR_SERVER_HTTP_TRANSPORT_H_
#define KVASIR_SERVER_HTTP_TRANSPORT_H_

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "kvasir/base/status.h"

namespace kvasir {

class Transport {
 public:
  virtual ~Transport() = default;

  // The TLS handshake; true at once without TLS.
  virtual boost::asio::awaitable<bool> Handshake() = 0;
  // The number of bytes read; 0 at the end of the stream and after any error.
  virtual boost::asio::awaitable<size_t> Read(std::span<char> buffer) = 0;
  // Bytes written, at least one; 0 after any error. One Read and one Write may run at a time.
  virtual boost::asio::awaitable<size_t> Write(std::string_view bytes) = 0;
  // Says that nothing more will be sent, TLS included.
  virtual boost::asio::awaitable<void> ShutdownSend() = 0;
  // Ends what runs; further calls fail.
  virtual void Close() = 0;

  virtual boost::asio::any_io_executor strand() = 0;
};

// Certificate and private key of a TLS server. Shared by its connections.
class TlsContext {
 public:
  virtual ~TlsContext() = default;
  // kInvalidArgument names the file that cannot be used, and why.
  static Result<std::unique_ptr<TlsContext>> Create(const std::string& certificate_path,
                                                    const std::string& key_path);
};

// `tls` may be null and must outlive the transport.
std::unique_ptr<Transport> MakeTransport(boost::asio::ip::tcp::socket socket, TlsContext* tls);
std::unique_ptr<Transport> MakeTransport(boost::asio::local::stream_protocol::socket socket);

}  // namespace kvasir

#endif  // KVASIR_SERVER_HTTP_TRANSPORT_H_
