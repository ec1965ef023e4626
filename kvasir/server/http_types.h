// HttpRequest, HttpResponse and ResponseWriter: the server's own HTTP types, so that handlers and
// tests know nothing of the library that parses HTTP (http_parser.cc) or of the one that does the
// I/O (http_transport.cc, http_connection.cc, http_server.cc). Requests and responses are values;
// a ResponseWriter may be called from any thread.

#ifndef KVASIR_SERVER_HTTP_TYPES_H_
#define KVASIR_SERVER_HTTP_TYPES_H_

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace kvasir {

struct HttpHeader {
  std::string name;  // of a request: lower case
  std::string value;
};

struct HttpRequest {
  std::string id;      // ours, or the client's X-Request-Id where that is harmless
  std::string method;  // "GET"
  std::string path;    // percent-decoded, without the query
  std::string query;   // as it came, without '?'
  std::vector<HttpHeader> headers;
  std::string body;
  std::string peer;  // "127.0.0.1:40312", "unix"
  int minor_version = 1;
  bool keep_alive = true;
  std::chrono::steady_clock::time_point arrival;  // of the first byte

  // The value of the header `name` (lower case), empty when there is none.
  std::string_view Header(std::string_view name) const;
};

struct HttpResponse {
  int status = 200;
  std::string content_type = "application/json";
  std::vector<HttpHeader> headers = {};
  std::string body = {};
  bool close = false;  // the connection ends behind it
};

// Why a request never reached a handler.
struct HttpFailure {
  int status = 400;
  std::string code;     // "malformed_request"
  std::string message;  // one sentence
};

// The answer to one request, whole or in pieces. Exactly one of Respond and PrepareStream is
// called. A writer that is destroyed before its answer was complete answers 500 for whoever forgot
// it.
class ResponseWriter {
 public:
  virtual ~ResponseWriter() = default;

  // The whole answer. After PrepareStream only as long as nothing of the stream was sent: returns
  // false then, and when the client is gone.
  virtual bool Respond(HttpResponse response) = 0;

  // Announces a stream of server-sent events: `head` (without a body) goes out with the first
  // Write, or earlier, with a comment, when nothing was written for the server's ping interval. May
  // be called again with a better head as long as none was sent.
  virtual void PrepareStream(HttpResponse head) = 0;
  // Queues bytes of the stream. False when the client is gone, or reads so slowly that the queue is
  // full: nothing is sent any more then.
  virtual bool Write(std::string_view bytes) = 0;
  // The end of the stream.
  virtual void Finish() = 0;

  // `on_gone` is called once, on an I/O thread or at once, when the client leaves or is given up
  // before the answer is complete. It may be called while Respond, Write or Finish run elsewhere.
  virtual void OnGone(std::function<void()> on_gone) = 0;
  virtual bool gone() const = 0;
};

// Called on a worker thread for each well-formed request; may answer later, from any thread.
using HttpHandler =
    std::function<void(std::shared_ptr<const HttpRequest>, std::shared_ptr<ResponseWriter>)>;

// "Not Found"; "Status" for a number without a name.
std::string_view HttpReason(int status);

// Decodes %XX; what is no valid escape stays as it is. '+' is left alone.
std::string PercentDecode(std::string_view text);

// The head of `response` as bytes: status line, its headers, Content-Type and what follows from
// `chunked`: a Transfer-Encoding or the Content-Length of its body.
std::string SerializeHead(const HttpResponse& response, int minor_version, bool keep_alive,
                          bool stream);

// `bytes` as one chunk of a chunked body; empty for no bytes, because an empty chunk ends a body.
std::string SerializeChunk(std::string_view bytes);

}  // namespace kvasir

#endif  // KVASIR_SERVER_HTTP_TYPES_H_
