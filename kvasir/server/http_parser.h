// RequestParser: the bytes of a connection -> one HttpRequest, strictly: framing that two servers
// could read differently (request smuggling) is refused, sizes are bounded while they arrive. Wraps
// Boost.Beast's parser, which no other file knows. One per request, one thread at a time.

#ifndef KVASIR_SERVER_HTTP_PARSER_H_
#define KVASIR_SERVER_HTTP_PARSER_H_

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

#include "kvasir/server/http_types.h"

namespace kvasir {

struct HttpLimits {
  size_t head_bytes_max = 16 << 10;  // request line and headers
  size_t body_bytes_max = 8 << 20;
};

class RequestParser {
 public:
  enum class State {
    kHead,    // more bytes of the head are needed
    kBody,    // the head is here, more bytes of the body are needed
    kDone,    // TakeRequest() may be called
    kFailed,  // failure() says why; the connection cannot be read any further
  };

  explicit RequestParser(const HttpLimits& limits);
  ~RequestParser();

  // Takes what belongs to this request off the front of `input`.
  State Feed(std::string* input);
  State state() const { return state_; }

  // Whether the client waits for "100 Continue". REQUIRES a state beyond kHead.
  bool expects_continue() const;
  // Of the body, so far. REQUIRES a state beyond kHead.
  size_t body_bytes() const;

  const HttpFailure& failure() const { return failure_; }  // REQUIRES kFailed
  HttpRequest TakeRequest();                               // REQUIRES kDone, once

 private:
  struct Rep;

  void Fail(int status, std::string code, std::string message);
  void CheckHead();

  std::unique_ptr<Rep> rep_;
  State state_ = State::kHead;
  HttpFailure failure_;
};

// Splits a request target into path and query. "*" and targets with a scheme are understood; false
// when it is none of the forms that HTTP allows.
bool SplitTarget(std::string_view target, std::string* path, std::string* query);

}  // namespace kvasir

#endif  // KVASIR_SERVER_HTTP_PARSER_H_
