#include "kvasir/server/call.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace kvasir {

namespace {

constexpr int kClientLeft = 499;  // as nginx logs it

Json Rounded(double seconds) { return std::round(seconds * 1e6) / 1e3; }

}  // namespace

double ServerContext::UptimeSeconds() const {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

Call::Call(ServerContext& context, std::shared_ptr<const HttpRequest> request,
           std::shared_ptr<ResponseWriter> writer)
    : context_(context), request_(std::move(request)), writer_(std::move(writer)) {
  ++context_.call_count;
}

Call::~Call() {
  // Nobody answered: a bug of ours, which the client must not wait for.
  if (!done_) Fail(InternalError(id()));
  --context_.call_count;
}

void Call::set_limiter_state(const RateLimiter::State& state) { limiter_state_ = state; }

std::vector<HttpHeader> Call::CommonHeaders() const {
  std::vector<HttpHeader> headers = {{"X-Request-Id", id()}};
  const std::string_view origin = request_->Header("origin");
  if (!origin.empty()) {
    for (const std::string& allowed : context_.options.cors_origins) {
      if (allowed != "*" && allowed != origin) continue;
      headers.push_back({"Access-Control-Allow-Origin", allowed});
      headers.push_back({"Access-Control-Expose-Headers", "X-Request-Id, Retry-After"});
      if (allowed != "*") headers.push_back({"Vary", "Origin"});
      break;
    }
  }
  if (tenant_ != nullptr && tenant_->requests_per_minute_max > 0 && limiter_state_) {
    headers.push_back(
        {"x-ratelimit-limit-requests", std::to_string(tenant_->requests_per_minute_max)});
    headers.push_back(
        {"x-ratelimit-remaining-requests", std::to_string(limiter_state_->remaining)});
  }
  return headers;
}

void Call::Respond(HttpResponse response, const GenerationSummary* summary) {
  const int status = response.status;
  for (HttpHeader& header : CommonHeaders()) {
    const bool present =
        std::any_of(response.headers.begin(), response.headers.end(),
                    [&](const HttpHeader& own) { return own.name == header.name; });
    if (!present) response.headers.push_back(std::move(header));
  }
  if (context_.draining) response.close = true;
  // Counted and given back before the client can come again.
  Done(status, summary);
  writer_->Respond(std::move(response));
}

void Call::RespondJson(const Json& body) {
  HttpResponse response;
  response.body = DumpJson(body);
  Respond(std::move(response));
}

HttpResponse Call::ErrorReply(const ApiError& error) const {
  HttpResponse response = ErrorResponse(error, id());
  for (HttpHeader& header : CommonHeaders()) {
    if (header.name != "X-Request-Id") response.headers.push_back(std::move(header));
  }
  response.close = context_.draining;
  return response;
}

void Call::Fail(const ApiError& error, const GenerationSummary* summary) {
  HttpResponse response = ErrorReply(error);
  Done(error.status, summary, error.code);
  writer_->Respond(std::move(response));
}

void Call::FailOrStream(const ApiError& error, std::string_view events,
                        const GenerationSummary* summary) {
  HttpResponse response = ErrorReply(error);
  Done(error.status, summary, error.code);
  if (writer_->Respond(std::move(response))) return;
  writer_->Write(events);
  writer_->Finish();
}

void Call::Done(int status, const GenerationSummary* summary, std::string_view error_code) {
  if (done_.exchange(true)) return;
  if (limiter_state_ && limiter_state_->admitted) context_.limiter.Release(*tenant_);
  const auto now = std::chrono::steady_clock::now();
  const double seconds = std::chrono::duration<double>(now - request_->arrival).count();
  context_.metrics.CountResponse(route_, status);
  if (summary != nullptr) context_.metrics.ObserveGeneration(*summary, seconds);
  if (route_ == "/health/live" || route_ == "/health/ready" || route_ == "/metrics") return;
  Json line = {{"id", id()},
               {"peer", request_->peer},
               {"method", request_->method},
               {"path", request_->path},
               {"status", status},
               {"code", error_code.empty() ? Json(nullptr) : Json(error_code)},
               {"tenant", tenant_ == nullptr ? Json(nullptr) : Json(tenant_->name)}};
  if (summary != nullptr) {
    line["prompt_tokens"] = summary->prompt_tokens;
    line["cached_tokens"] = summary->cached_tokens;
    line["disk_tokens"] = summary->disk_tokens;
    line["completion_tokens"] = summary->completion_tokens;
    line["finish"] = status == kClientLeft ? "client_left" : summary->finish_reason;
    line["queue_ms"] = Rounded(summary->queue_seconds);
    line["first_token_ms"] = Rounded(summary->first_token_seconds);
  }
  line["total_ms"] = Rounded(seconds);
  context_.log.Write("request", line);
}

}  // namespace kvasir
