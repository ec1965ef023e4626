#include "kvasir/server/api_error.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace kvasir {

namespace {

constexpr const char* kInvalidRequest = "invalid_request_error";
// openai clients do not wait longer than two minutes.
constexpr double kRetryAfterSecondsMax = 120;

ApiError Make(int status, const char* type, const char* code, std::string param,
              std::string message) {
  ApiError error;
  error.status = status;
  error.type = type;
  error.code = code;
  error.param = std::move(param);
  error.message = std::move(message);
  return error;
}

ApiError MakeBusy(int status, const char* type, const char* code, std::string message,
                  double retry_after_seconds) {
  ApiError error = Make(status, type, code, "", std::move(message));
  error.retry_after_seconds = std::clamp(retry_after_seconds, 1.0, kRetryAfterSecondsMax);
  return error;
}

// What clients sent, short enough to print.
std::string Quote(std::string_view text) {
  constexpr size_t kBytesMax = 128;
  const bool cut = text.size() > kBytesMax;
  return "'" + std::string(text.substr(0, kBytesMax)) + (cut ? "..." : "") + "'";
}

}  // namespace

ApiError InvalidJsonError(std::string message) {
  return Make(400, kInvalidRequest, "invalid_json", "", std::move(message));
}

ApiError InvalidValueError(std::string param, std::string message) {
  return Make(400, kInvalidRequest, "invalid_value", std::move(param), std::move(message));
}

ApiError MissingParameterError(std::string param) {
  std::string message = "the parameter '" + param + "' is missing";
  return Make(400, kInvalidRequest, "missing_required_parameter", std::move(param),
              std::move(message));
}

ApiError UnsupportedError(std::string param, std::string message) {
  return Make(400, kInvalidRequest, "unsupported_parameter", std::move(param), std::move(message));
}

ApiError UnknownMemberError(std::string param) {
  std::string message = "the parameter " + Quote(param) + " is not known";
  return Make(400, kInvalidRequest, "unknown_parameter", std::move(param), std::move(message));
}

ApiError ContextLengthError(std::string param, size_t prompt_tokens, size_t answer_tokens,
                            size_t context_tokens) {
  const std::string asked = std::to_string(prompt_tokens + answer_tokens);
  ApiError error =
      Make(400, kInvalidRequest, "context_length_exceeded", std::move(param),
           "This model's maximum context length is " + std::to_string(context_tokens) +
               " tokens. However, you requested " + asked + " tokens (" +
               std::to_string(prompt_tokens) + " in the prompt, " + std::to_string(answer_tokens) +
               " for the answer). Please shorten the prompt or the answer.");
  error.extra = {{"n_prompt_tokens", prompt_tokens}, {"n_ctx", context_tokens}};
  return error;
}

ApiError ModelNotFoundError(std::string_view model, const std::vector<std::string>& known) {
  std::string listed;
  for (const std::string& name : known) listed += (listed.empty() ? "" : ", ") + name;
  return Make(404, kInvalidRequest, "model_not_found", "model",
              "the model " + Quote(model) + " does not exist here; there is " + listed);
}

ApiError PathNotFoundError(std::string_view path) {
  return Make(404, kInvalidRequest, "not_found", "", "there is nothing at " + Quote(path));
}

ApiError MethodNotAllowedError(std::string_view method, std::string_view allowed) {
  ApiError error =
      Make(405, kInvalidRequest, "method_not_allowed", "",
           "the method " + Quote(method) + " is not allowed here, only " + std::string(allowed));
  error.headers.push_back({"Allow", std::string(allowed)});
  return error;
}

ApiError MediaTypeError(std::string_view media_type) {
  return Make(415, kInvalidRequest, "unsupported_media_type", "",
              "the body must be application/json, not " + Quote(media_type));
}

ApiError InvalidKeyError() {
  ApiError error = Make(401, "authentication_error", "invalid_api_key", "",
                        "a valid API key is needed: Authorization: Bearer KEY");
  error.headers.push_back({"WWW-Authenticate", "Bearer"});
  return error;
}

ApiError PermissionError(std::string message) {
  return Make(403, "permission_error", "permission_denied", "", std::move(message));
}

ApiError OverloadedError(std::string message, double retry_after_seconds) {
  return MakeBusy(503, "overloaded_error", "server_overloaded", std::move(message),
                  retry_after_seconds);
}

ApiError RateLimitError(std::string message, double retry_after_seconds) {
  return MakeBusy(429, "rate_limit_error", "rate_limit_exceeded", std::move(message),
                  retry_after_seconds);
}

ApiError LoadingError() {
  return MakeBusy(503, "unavailable_error", "model_loading", "the model is being loaded", 2);
}

ApiError DrainingError() {
  return MakeBusy(503, "unavailable_error", "shutting_down", "the server is shutting down", 5);
}

ApiError TimeoutError() {
  ApiError error = Make(408, "timeout_error", "timeout", "",
                        "the request's deadline passed before its answer was complete");
  error.retry_is_useless = true;
  return error;
}

ApiError InternalError(std::string_view request_id) {
  return Make(500, "server_error", "internal_error", "",
              "something went wrong here; the request is " + std::string(request_id));
}

ApiError HttpLevelError(const HttpFailure& failure) {
  if (failure.status == 503) return OverloadedError(failure.message, 1);
  ApiError error = Make(failure.status, kInvalidRequest, failure.code.c_str(), "", failure.message);
  error.retry_is_useless = failure.status == 408;
  return error;
}

Json ErrorBody(const ApiError& error, std::string_view request_id) {
  Json object = {{"message", error.message},
                 {"type", error.type},
                 {"param", error.param.empty() ? Json(nullptr) : Json(error.param)},
                 {"code", error.code},
                 {"request_id", request_id}};
  if (error.extra.is_object()) object.update(error.extra);
  if (error.retry_after_seconds > 0) {
    object["retry_after_ms"] = static_cast<int64_t>(error.retry_after_seconds * 1000);
  }
  return {{"error", std::move(object)}};
}

HttpResponse ErrorResponse(const ApiError& error, std::string_view request_id) {
  HttpResponse response;
  response.status = error.status;
  response.headers = error.headers;
  response.headers.push_back({"X-Request-Id", std::string(request_id)});
  if (error.retry_after_seconds > 0) {
    const auto seconds = static_cast<int64_t>(std::ceil(error.retry_after_seconds));
    response.headers.push_back({"Retry-After", std::to_string(seconds)});
  }
  if (error.retry_is_useless) response.headers.push_back({"x-should-retry", "false"});
  response.body = DumpJson(ErrorBody(error, request_id));
  return response;
}

}  // namespace kvasir
