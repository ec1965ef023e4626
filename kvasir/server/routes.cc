#include "kvasir/server/routes.h"

#include <algorithm>
#include <exception>
#include <new>
#include <utility>

namespace kvasir {

namespace {

constexpr Route kRoutes[] = {
    {"POST", "/v1/chat/completions", RouteAccess::kUser, true, HandleChatCompletions},
    {"POST", "/v1/completions", RouteAccess::kUser, true, HandleCompletions},
    {"GET", "/v1/models", RouteAccess::kUser, false, HandleModels},
    {"GET", "/v1/models/", RouteAccess::kUser, false, HandleModel},
    {"POST", "/tokenize", RouteAccess::kUser, false, HandleTokenize},
    {"POST", "/detokenize", RouteAccess::kUser, false, HandleDetokenize},
    {"POST", "/apply-template", RouteAccess::kUser, false, HandleApplyTemplate},
    {"GET", "/health", RouteAccess::kOpen, false, HandleReady},
    {"GET", "/health/live", RouteAccess::kOpen, false, HandleLive},
    {"GET", "/health/ready", RouteAccess::kOpen, false, HandleReady},
    {"GET", "/metrics", RouteAccess::kUser, false, HandleMetrics},
    {"GET", "/version", RouteAccess::kOpen, false, HandleVersion},
    {"GET", "/openapi.json", RouteAccess::kOpen, false, HandleOpenApi},
    {"GET", "/v1/kv/stats", RouteAccess::kAdmin, false, HandleCacheStats},
    {"POST", "/v1/kv/lookup", RouteAccess::kAdmin, false, HandleCacheLookup},
    {"POST", "/v1/kv/warm", RouteAccess::kAdmin, false, HandleCacheWarm},
    {"GET", "/v1/kv/prefixes", RouteAccess::kAdmin, false, HandleCacheList},
    {"DELETE", "/v1/kv/prefixes", RouteAccess::kAdmin, false, HandleCacheDropAll},
    {"DELETE", "/v1/kv/prefixes/", RouteAccess::kAdmin, false, HandleCacheDrop},
    {"POST", "/v1/kv/pins", RouteAccess::kAdmin, false, HandleCachePin},
    {"DELETE", "/v1/kv/pins/", RouteAccess::kAdmin, false, HandleCacheUnpin},
};

bool PathMatches(const Route& route, std::string_view path) {
  if (!route.path.ends_with("/")) return path == route.path;
  return path.starts_with(route.path) && path.size() > route.path.size();
}

bool IsAddress(std::string_view host) {
  return !host.empty() && (host.find(':') != std::string_view::npos ||
                           host.find_first_not_of("0123456789.") == std::string_view::npos);
}

// A web page that a browser shows may send requests to this machine under a name of its own
// (DNS rebinding): without keys, only names that nobody else can give are served.
bool HostIsAllowed(const ServerContext& context, const HttpRequest& request) {
  const ServerOptions& options = context.options;
  if (context.keys.anonymous() == nullptr || options.insecure || request.peer == "unix")
    return true;
  const std::string_view host = HostName(request.Header("host"));
  if (host.empty() || host == "localhost" || host.ends_with(".localhost") || IsAddress(host)) {
    return true;
  }
  return std::find(options.allowed_hosts.begin(), options.allowed_hosts.end(), host) !=
         options.allowed_hosts.end();
}

// Pages of other origins may read and write only where the operator says so.
bool OriginIsAllowed(const ServerContext& context, const HttpRequest& request) {
  const std::string_view origin = request.Header("origin");
  if (origin.empty()) return true;
  for (const std::string& allowed : context.options.cors_origins) {
    if (allowed == "*" || allowed == origin) return true;
  }
  // The server's own pages.
  const size_t scheme = origin.find("://");
  return scheme != std::string_view::npos && origin.substr(scheme + 3) == request.Header("host");
}

// A browser's question before a request from another origin.
void AnswerPreflight(Call& call) {
  if (call.request().Header("origin").empty() || !OriginIsAllowed(call.context(), call.request())) {
    return call.Fail(PermissionError("requests of this origin are not allowed"));
  }
  HttpResponse response;
  response.status = 204;
  response.headers.push_back({"Access-Control-Allow-Methods", "GET, POST, DELETE"});
  response.headers.push_back(
      {"Access-Control-Allow-Headers", "Authorization, Content-Type, x-api-key"});
  response.headers.push_back({"Access-Control-Max-Age", "600"});
  call.Respond(std::move(response));
}

// Finds out who calls. False after answering 401 or 403.
bool Authenticate(Call& call, RouteAccess access) {
  const KeyRing& keys = call.context().keys;
  const HttpRequest& request = call.request();
  const std::string_view key =
      PresentedKey(request.Header("authorization"), request.Header("x-api-key"));
  const Tenant* tenant = key.empty() ? nullptr : keys.Find(key);
  // Clients send some key even where none is needed: without keys for users, any will do.
  if (tenant == nullptr && access != RouteAccess::kAdmin) tenant = keys.anonymous();
  if (access == RouteAccess::kOpen) return true;
  if (access == RouteAccess::kAdmin && !keys.has_admin()) {
    call.Fail(
        PermissionError("this needs an admin key, and the server has none (KVASIR_ADMIN_KEY)"));
    return false;
  }
  if (tenant == nullptr) {
    call.Fail(InvalidKeyError());
    return false;
  }
  call.set_tenant(tenant);
  if (access == RouteAccess::kAdmin && !tenant->admin) {
    call.Fail(PermissionError("this needs an admin key"));
    return false;
  }
  return true;
}

// False after answering 503 or 429.
bool Admit(Call& call) {
  if (call.context().draining) {
    call.Fail(DrainingError());
    return false;
  }
  const RateLimiter::State state =
      call.context().limiter.Acquire(*call.tenant(), RateLimiter::Clock::now());
  call.set_limiter_state(state);
  if (state.admitted) return true;
  call.context().metrics.CountRefusal("rate_limit");
  call.Fail(RateLimitError(state.too_many_at_once
                               ? "this key has as many requests under way as it may have"
                               : "this key has made as many requests as it may for now",
                           state.retry_after_seconds));
  return false;
}

void RouteCall(std::shared_ptr<Call> call) {
  const HttpRequest& request = call->request();
  ServerContext& context = call->context();
  if (!HostIsAllowed(context, request)) {
    return call->Fail(PermissionError("the name in the Host header is not served here"));
  }
  const bool is_head = request.method == "HEAD";
  std::string allowed;
  const Route* route = FindRoute(is_head ? "GET" : request.method, request.path, &allowed);
  if (route == nullptr && allowed.empty()) return call->Fail(PathNotFoundError(request.path));
  if (request.method == "OPTIONS" && !request.Header("origin").empty()) {
    return AnswerPreflight(*call);
  }
  if (route == nullptr) return call->Fail(MethodNotAllowedError(request.method, allowed));
  call->set_route(std::string(route->path));
  if (!OriginIsAllowed(context, request)) {
    return call->Fail(PermissionError("requests of this origin are not allowed"));
  }
  if (!Authenticate(*call, route->access)) return;
  if (route->generates && !Admit(*call)) return;
  route->handler(std::move(call));
}

}  // namespace

const Route* FindRoute(std::string_view method, std::string_view path, std::string* allowed) {
  allowed->clear();
  for (const Route& route : kRoutes) {
    if (!PathMatches(route, path)) continue;
    if (route.method == method) return &route;
    *allowed += (allowed->empty() ? "" : ", ") + std::string(route.method);
  }
  return nullptr;
}

void HandleRequest(ServerContext& context, std::shared_ptr<const HttpRequest> request,
                   std::shared_ptr<ResponseWriter> writer) {
  auto call = std::make_shared<Call>(context, std::move(request), std::move(writer));
  try {
    RouteCall(call);
  } catch (const std::bad_alloc&) {
    call->Fail(OverloadedError("the server has no memory for this request", 1));
  } catch (const std::exception& error) {
    // A library's exception that got this far is a mistake of ours; what it says is for the log.
    context.log.Write("exception", {{"id", call->id()}, {"message", error.what()}});
    call->Fail(InternalError(call->id()));
  }
}

std::string_view HostName(std::string_view host_header) {
  if (host_header.starts_with("[")) {
    const size_t end = host_header.find(']');
    return end == std::string_view::npos ? host_header : host_header.substr(1, end - 1);
  }
  return host_header.substr(0, host_header.find(':'));
}

}  // namespace kvasir
