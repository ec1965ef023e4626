// ApiError: the one body that every failure has, whatever its status, and the failures themselves:
// one function for each row of the error table in docs/server.md. Clients decide by the status
// whether to try again, so that a mistake of theirs is never a 5xx and an overload always says
// when to come back. Values; any thread.

#ifndef KVASIR_SERVER_API_ERROR_H_
#define KVASIR_SERVER_API_ERROR_H_

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "kvasir/base/json.h"
#include "kvasir/base/status.h"
#include "kvasir/server/http_types.h"

namespace kvasir {

struct ApiError {
  int status = 0;  // HTTP; 0 = no error
  std::string type;
  std::string code;
  std::string param;  // JSON path of the member at fault; empty: null
  std::string message;
  Json extra = nullptr;            // further members of the error object
  double retry_after_seconds = 0;  // above 0: a Retry-After header
  bool retry_is_useless = false;   // tells openai clients not to try again by themselves
  std::vector<HttpHeader> headers = {};

  bool failed() const { return status != 0; }
};

ApiError InvalidJsonError(std::string message);
ApiError InvalidValueError(std::string param, std::string message);
ApiError MissingParameterError(std::string param);
// Well-formed, known, and not offered here: images, tools, best_of ...
ApiError UnsupportedError(std::string param, std::string message);
ApiError UnknownMemberError(std::string param);  // with --strict
ApiError ContextLengthError(std::string param, size_t prompt_tokens, size_t answer_tokens,
                            size_t context_tokens);
ApiError ModelNotFoundError(std::string_view model, const std::vector<std::string>& known);
ApiError PathNotFoundError(std::string_view path);
ApiError MethodNotAllowedError(std::string_view method, std::string_view allowed);
ApiError MediaTypeError(std::string_view media_type);
ApiError InvalidKeyError();
ApiError PermissionError(std::string message);
ApiError OverloadedError(std::string message, double retry_after_seconds);
ApiError RateLimitError(std::string message, double retry_after_seconds);
ApiError LoadingError();
ApiError DrainingError();
ApiError TimeoutError();
ApiError InternalError(std::string_view request_id);

// The failure of a request that HTTP itself refused (http_types.h).
ApiError HttpLevelError(const HttpFailure& failure);

// {"error": {...}}, as in answers and in the events of a stream.
Json ErrorBody(const ApiError& error, std::string_view request_id);
HttpResponse ErrorResponse(const ApiError& error, std::string_view request_id);

}  // namespace kvasir

#endif  // KVASIR_SERVER_API_ERROR_H_
