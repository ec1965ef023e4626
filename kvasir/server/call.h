// Call: one request on its way through the server, and ServerContext: what all of them share. A
// call is answered exactly once; with that it is logged, counted, and gives back what it held of
// its tenant's limits. A call may move between threads, the context serves all of them.

#ifndef KVASIR_SERVER_CALL_H_
#define KVASIR_SERVER_CALL_H_

#include <atomic>
#include <chrono>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

#include "kvasir/server/access.h"
#include "kvasir/server/api_error.h"
#include "kvasir/server/http_types.h"
#include "kvasir/server/metrics.h"
#include "kvasir/server/request_log.h"
#include "kvasir/server/served_model.h"
#include "kvasir/server/server_options.h"

namespace kvasir {

struct ServerContext {
  explicit ServerContext(const ServerOptions& server_options)
      : options(server_options), keys(server_options.keys), log(server_options.log_format) {}

  const ServerOptions options;
  const KeyRing keys;
  RateLimiter limiter;
  ServerMetrics metrics;
  RequestLog log;
  std::atomic<ServedModel*> model{nullptr};  // null while it is being loaded
  std::atomic<bool> draining{false};
  std::atomic<size_t> call_count{0};  // that are not answered yet
  const std::chrono::steady_clock::time_point start = std::chrono::steady_clock::now();
  std::atomic<HttpServer*> http{nullptr};  // set before `model`

  double UptimeSeconds() const;
};

class Call {
 public:
  Call(ServerContext& context, std::shared_ptr<const HttpRequest> request,
       std::shared_ptr<ResponseWriter> writer);
  ~Call();
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;

  ServerContext& context() const { return context_; }
  const HttpRequest& request() const { return *request_; }
  ResponseWriter& writer() const { return *writer_; }
  const Tenant* tenant() const { return tenant_; }
  const std::string& id() const { return request_->id; }

  // What the router finds out about it, before a handler runs.
  void set_route(std::string route) { route_ = std::move(route); }
  void set_tenant(const Tenant* tenant) { tenant_ = tenant; }
  // Holds a place among the tenant's concurrent requests from now on.
  void set_limiter_state(const RateLimiter::State& state);

  // The headers that every answer has: X-Request-Id, CORS, x-ratelimit.
  std::vector<HttpHeader> CommonHeaders() const;

  void Respond(HttpResponse response, const GenerationSummary* summary = nullptr);
  void RespondJson(const Json& body);
  void Fail(const ApiError& error, const GenerationSummary* summary = nullptr);
  // The same for a call that may have become a stream meanwhile: then `events` end it.
  void FailOrStream(const ApiError& error, std::string_view events,
                    const GenerationSummary* summary);
  // For an answer that was streamed: only logs and counts. `status` 499: the client left.
  void Done(int status, const GenerationSummary* summary, std::string_view error_code = {});

 private:
  ServerContext& context_;
  const std::shared_ptr<const HttpRequest> request_;
  const std::shared_ptr<ResponseWriter> writer_;
  std::string route_ = "unknown";
  const Tenant* tenant_ = nullptr;
  std::optional<RateLimiter::State> limiter_state_;
  std::atomic<bool> done_{false};

  HttpResponse ErrorReply(const ApiError& error) const;
};

}  // namespace kvasir

#endif  // KVASIR_SERVER_CALL_H_
